import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { offlineText } from "../../client/page/connection-text.js";

const { en } = JSON.parse(readFileSync(new URL("../../client/page/strings.json", import.meta.url), "utf8"));
const translate = (name, values = {}) => en[name].replace(/\{(\w+)\}/g, (_, placeholder) => values[placeholder]);
const strings = { translate, translateCause: ({ code, message }) => en[`cause_${code}`] ?? message, language: "en" };
const NOW = new Date(2026, 10, 28, 12, 30).getTime();
const WAITING = { state: "waiting", cause: { code: "unreachable" }, tries: 3, since: NOW - 60_000, nextTry: NOW + 4200 };

/** Returns what is said, with the space that a time has before AM and PM as any other. */
const said = (changes) => offlineText({ ...WAITING, ...changes }, NOW, strings).replaceAll("\u202f", " ");

test("a connection that is not there is described: since when, why, how often it was tried, when it is next", () => {
  assert.equal(said({}), "Offline since 12:29 PM. The server cannot be reached. 3 tries so far. Next try in 5 s.");
  assert.equal(
    said({ state: "connecting", nextTry: null, tries: 1, cause: { code: "overloaded", message: "Busy." } }),
    "Offline since 12:29 PM. Busy. 1 try so far. Trying now…",
  );
  assert.match(said({ since: NOW - 86_400_000 }), /^Offline since Nov 27, 12:30 PM\./);
});

test("nothing is said of one that is there, or closed, or has only just been lost", () => {
  for (const state of ["open", "closed"]) assert.equal(said({ state }), "");
  assert.equal(said({ since: NOW - 500, tries: 1 }), "");
  assert.notEqual(said({ since: NOW - 500, tries: 2 }), "");
});
