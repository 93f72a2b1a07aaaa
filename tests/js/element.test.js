import assert from "node:assert/strict";
import { test } from "node:test";
import { offlineText } from "../../client/element-connection.js";
import { KOREAN } from "../../client/element-ko.js";
import { ENGLISH } from "../../client/element-texts.js";

const VALUES = /\{\w+\}/g;
const NOW = new Date(2026, 10, 28, 13, 5).getTime();

test("the element says the same things in Korean as in English, with the same values in them", () => {
  assert.deepEqual(Object.keys(KOREAN), Object.keys(ENGLISH));
  const valuesOf = (texts) => Object.values(texts).map((text) => text.match(VALUES)?.sort());
  assert.deepEqual(valuesOf(KOREAN), valuesOf(ENGLISH));
});

test("a connection that is not there is said to be so after a second, with its time, its cause and its tries", () => {
  const translate = (name, values) => (ENGLISH[name] ?? name).replace(VALUES, (key) => values[key.slice(1, -1)]);
  const text = (connection) => offlineText({ state: "waiting", cause: null, tries: 1, nextTry: null, ...connection }, NOW, translate);
  const cause = { code: "unreachable", message: "" };
  const said = (start, rest) => new RegExp(`^Offline since ${start}\\. ${rest}$`);
  assert.equal(text({ since: NOW - 900 }), "");
  assert.equal(text({ since: NOW - 9000, state: "open" }), "");
  assert.equal(text({ since: NOW - 9000, state: "closed" }), "");
  assert.match(text({ since: NOW - 900, tries: 2 }), said("1:04\\sPM", "Tries so far: 2\\. Trying now…"));
  assert.match(
    text({ since: NOW - 86_400_000, cause, nextTry: NOW + 1200 }),
    said("Nov 27, 2026, 1:05\\sPM", "The server cannot be reached\\. Tries so far: 1\\. Next try in 2 s\\."),
  );
  assert.match(text({ since: NOW - 9000, cause: { code: "quota", message: "No." } }), said("1:04\\sPM", "No\\. Tries so far: 1\\. Trying now…"));
});
