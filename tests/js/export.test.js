import assert from "node:assert/strict";
import { test } from "node:test";
import { fileName, jsonOf, markdownOf } from "../../client/page/export.js";

const TURNS = [
  { turn: "t1", question: "One?\n\nor two?", answer: "Two.", reason: "stop", model: "m", created: "2026-01-02T03:04:05Z" },
  { turn: "t2", question: "Replaced?", answer: "Yes.", reason: "stop", model: "m", created: "2026-01-02T03:05:05Z" },
  { turn: "t3", question: "Instead?", answer: "", reason: "cancelled", model: null, created: "2026-01-02T03:06:05Z", replaces: "t2" },
];

test("a conversation in Markdown is what one reads", () => {
  assert.equal(
    markdownOf("Title", TURNS, ({ reason }) => (reason === "cancelled" ? "Stopped" : "")),
    "# Title\n\n> One?\n>\n> or two?\n\nTwo.\n\n*m · 2026-01-02 03:04*\n\n---\n\n> Instead?\n\n*Stopped · 2026-01-02 03:06*\n",
  );
});

test("a conversation in JSON is all of it", () => {
  assert.deepEqual(JSON.parse(jsonOf("s", "Title", TURNS)), { session: "s", title: "Title", turns: TURNS });
});

test("a file has a name that every system takes", () => {
  assert.equal(fileName('a/b\\c:d*e?f"g<h>i|j\nk. ', "md"), "a b c d e f g h i j k.md");
  assert.equal(fileName("../..", "md"), "askbot.md");
  assert.equal(fileName("하늘은 왜?", "json"), "하늘은 왜.json");
  assert.equal(fileName("", "json"), "askbot.json");
  assert.equal(fileName("x".repeat(300), "md").length, 63);
});
