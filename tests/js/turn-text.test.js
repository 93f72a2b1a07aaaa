import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { badgeOf, estimateLineCount, isCode, metaOf, waitText } from "../../client/page/turn-text.js";

const texts = JSON.parse(readFileSync(new URL("../../client/page/strings.json", import.meta.url), "utf8"));

/** What strings.js exports in a page of this language. */
const strings = (language) => ({
  language,
  translate: (name, values = {}) => texts[language][name].replace(/\{(\w+)\}/g, (_, placeholder) => values[placeholder]),
  translateReason: (reason) => texts[language][`reason_${reason}`] ?? reason,
  translateError: ({ code, message }) => texts[language][`error_${code}`] ?? message,
});

const turn = (more) => ({ answer: "빛✨".repeat(10), model: "m-1", reason: "stop", timing: { queued: 0, first_token: 250, total: 2250 }, usage: null, ...more });
const meta = (more, language = "en") => metaOf(turn(more), strings(language));

test("what an answer took is told in the provider's tokens", () => {
  const usage = { input_tokens: 9, output_tokens: 4000 };
  assert.deepEqual(meta({ usage }), ["0.25 s to first token", "2,000 tokens/s", "4,000 tokens", "m-1"]);
  assert.deepEqual(meta({ usage }, "ko"), ["첫 토큰까지 0.25 s", "초당 토큰 2,000개", "토큰 4,000개", "m-1"]);
});

test("without the provider's count there are characters, and it says so", () => {
  assert.deepEqual(meta(), ["0.25 s to first token", "10 characters/s", "m-1"]);
});

test("nothing is told that nobody knows", () => {
  assert.deepEqual(metaOf({ answer: "x" }, strings("en")), []);
  assert.deepEqual(meta({ timing: { queued: 0, first_token: null, total: 10 }, model: null }), []);
  assert.deepEqual(meta({ timing: { queued: 0, first_token: 20, total: 20 } }), ["0.02 s to first token", "m-1"]);
});

test("what an answer lacks is said, and of an error what it was", () => {
  const badge = (row) => badgeOf(row, strings("en"));
  assert.equal(badge(turn()), "");
  assert.equal(badge({ reason: null }), "");
  assert.equal(badge({ reason: null, isOffline: true }), "Will be sent when the connection is back");
  assert.equal(badge({ reason: "length" }), "Cut off at the length limit");
  assert.equal(badge({ reason: "error", error: { code: "upstream_stalled", message: "x" } }), "The model stopped answering.");
  assert.equal(badge({ reason: "error", error: { code: "new_code", message: "Something new." } }), "Something new.");
  assert.equal(badge({ reason: "error" }), "Failed");
  assert.equal(badge({ reason: "new_reason" }), "new_reason");
  assert.equal(badge({ reason: "interrupted", answer: "Half" }), "It broke off: the server went away.");
  assert.equal(badge({ reason: "cancelled", answer: "Half" }), "Stopped");
  assert.equal(badge({ reason: "stop", isOffline: true, pending: "retry" }), "Will be done when the connection is back");
});

test("an answer that waits says how many come before it, then for how long it does", () => {
  const said = (row, seconds = 0) => waitText({ status: "waiting", ...row }, seconds, strings("en"));
  assert.equal(said({ before: 1 }), "Next in line");
  assert.equal(said({ before: 2 }), "In line, 2 before it");
  assert.equal(said({}), "");
  assert.equal(said({}, 3), "Waiting… 3 s");
  assert.equal(said({ status: "answering" }, 3), "");
});

test("a question's lines are counted as they are broken, and code is told from prose", () => {
  assert.equal(estimateLineCount("one\n\nthree"), 3);
  assert.equal(estimateLineCount("x".repeat(161)), 3);
  const code = ["def f(x):\n    return x\n\nprint(f(1))", "const a = 1;\nif (a) {\n}", "$ ls -l\n# cd /\n> out", "a -> b\nb -> c\nc -> d"];
  for (const text of code) assert.equal(isCode(text), true, text);
  const prose = ["Why?", "One.\nTwo.\nThree.", "Dear you,\nthis is a letter (a long one).\nYours,\nme", "f(x)"];
  for (const text of prose) assert.equal(isCode(text), false, text);
});
