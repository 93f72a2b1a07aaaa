import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { KOREAN } from "../../client/element-ko.js";

test("the element says the same things in Korean as in English", () => {
  const [, english] = /const ENGLISH = \{(.*?)\n\};/s.exec(readFileSync(new URL("../../client/element.js", import.meta.url), "utf8"));
  assert.deepEqual(Object.keys(KOREAN), Array.from(english.matchAll(/(\w+): "/g), ([, name]) => name));
});
