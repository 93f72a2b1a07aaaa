import assert from "node:assert/strict";
import { test } from "node:test";
import { labelOf } from "../../client/thinking.js";

const label = (turn, now = 0) => labelOf({ answer: "", ...turn }, (name, seconds) => `${name} ${seconds}`, now);

test("while a turn thinks, whole seconds are counted from the first thinking that was seen", () => {
  const turn = { status: "thinking", thinkingSince: 50_000 };
  assert.equal(label(turn, 50_999), "thinking 0");
  assert.equal(label(turn, 51_000), "thinking_time 1");
  assert.equal(label(turn, 62_900), "thinking_time 12");
  assert.equal(label(turn, 40_000), "thinking 0", "the clock was set back");
  assert.equal(label({ status: "thinking", thinkingSince: null }, 62_900), "thinking 0");
});

test("thinking in the middle of an answer is not counted", () => {
  assert.equal(label({ status: "thinking", thinkingSince: 1, thinkingTime: 12_000, answer: "One" }, 62_900), "thinking 0");
});

test("once a turn answers or has ended, it says how long it thought, or nothing of that", () => {
  assert.equal(label({ status: "answering", thinkingTime: 12_400 }), "thought_time 12");
  assert.equal(label({ status: "ended", thinkingTime: 100 }), "thought_time 1");
  assert.equal(label({ status: "ended", thinkingTime: null }), "thought 0");
  assert.equal(label({ status: "ended" }), "thought 0");
});
