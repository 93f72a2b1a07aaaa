/** The dialogues of tests/wire, which the server and the Python client play too: here their frames become a view. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { empty, shown, view } from "../../client/view.js";

const folder = new URL("../wire/", import.meta.url);
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".jsonl")).sort() : [];

/** "$any" stands for whatever; of an object, what is named. */
function assertLike(actual, expected, where) {
  if (expected === "$any") return;
  if (Array.isArray(expected)) {
    assert.equal(actual?.length, expected.length, `${where}: length`);
    expected.forEach((value, place) => assertLike(actual[place], value, `${where}[${place}]`));
  } else if (expected && typeof expected === "object")
    for (const [key, value] of Object.entries(expected)) assertLike(actual?.[key], value, `${where}.${key}`);
  else assert.deepEqual(actual, expected, where);
}

const turnsOf = (state) =>
  shown(state.turns).map(({ turn, question, answer, reason }) => ({ turn, text: question, answer, reason }));

for (const name of names)
  test(`wire: ${name}`, () => {
    const lines = readFileSync(new URL(name, folder), "utf8").split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
    const states = new Map(); // a connection may have several sessions attached: one view each
    let session;
    for (const line of lines) {
      const frame = line["<"];
      if (frame?.type === "ready") session ??= frame.session;
      if (frame?.session) states.set(frame.session, view(states.get(frame.session) ?? empty, frame));
      if (line.view) assertLike(turnsOf(states.get(session) ?? empty), line.view.turns, "view");
    }
  });
