import assert from "node:assert/strict";
import { test } from "node:test";
import { PendingRequests, REQUESTS, requestError, toHex } from "../../client/requests.js";
import { Timers } from "./fakes.js";

function pendingRequests() {
  const timers = new Timers();
  const late = [];
  return { timers, late, requests: new PendingRequests(timers, ({ frame }) => late.push(frame.text)) };
}

test("bytes are written as lower-case hexadecimal digits", () => {
  assert.equal(toHex([0, 10, 255]), "000aff");
  assert.equal(toHex(new Uint8Array([1, 2]).buffer), "0102");
});

test("an error has the code as its message where it has no other", () => {
  const error = requestError({ code: "closed" });
  assert.ok(error instanceof Error);
  assert.deepEqual([error.code, error.message, error.retryable], ["closed", "closed", undefined]);
  const refused = requestError({ code: "rate_limited", message: "Slow down.", retryable: true, retry_after: 3000, id: "q1" }, "Why?");
  assert.deepEqual([refused.message, refused.retryable, refused.retryAfter], ["Slow down.", true, 3000]);
  assert.deepEqual([refused.id, refused.text], ["q1", "Why?"]);
});

test("each request has an id of its own, and is pending in its order until it has ended", async () => {
  const { requests } = pendingRequests();
  const one = requests.add({ type: "ask", text: "One?" });
  const two = requests.add({ type: "cancel", turn: "t1" });
  assert.match(one.frame.id, /^[0-9a-f]{32}$/);
  assert.notEqual(one.frame.id, two.frame.id);
  assert.deepEqual([...requests.values()], [one, two]);
  assert.deepEqual([requests.get(one.frame.id), requests.get("unknown")], [one, undefined]);
  requests.remove(one);
  assert.deepEqual([requests.has(one.frame.id), requests.has(two.frame.id)], [false, true]);
  requests.remove(two);
  assert.deepEqual([...requests.values()], []);
});

test("a request is settled by whoever removes it, and a rejection that nobody handles is no crash", async () => {
  const { requests } = pendingRequests();
  const request = requests.add({ type: "ask" });
  request.reject(requestError({ code: "closed" }));
  await new Promise((resolve) => setTimeout(resolve, 1));
  await assert.rejects(request.result, { code: "closed" });
});

test("a frame is encoded once, with an id that may be given, and its bytes are those of UTF-8", () => {
  const { requests } = pendingRequests();
  const { frame, data, bytes } = requests.add({ type: "ask", id: "한", text: "🙂" });
  assert.deepEqual([frame, JSON.parse(data)], [{ type: "ask", id: "한", text: "🙂" }, frame]);
  assert.equal(bytes, Buffer.byteLength(data));
  assert.equal(requests.add({ type: "ask", id: "🙂".repeat(64) }).fault, undefined);
});

for (const [what, fields, message] of [
  ["half an emoji", { text: "Why \ud83d?" }, /half an emoji/],
  ["half an emoji in its id", { id: "\udc00" }, /half an emoji/],
  ["an empty id", { id: "" }, /1 to 64/],
  ["too long an id", { id: "x".repeat(65) }, /1 to 64/],
  ["a number that JSON does not have", { max_tokens: 5n }, /BigInt/],
  ["a symbol", { model: Symbol("m") }, /Symbol/],
])
  test(`a frame with ${what} cannot be sent, and says why`, () => {
    const { fault } = pendingRequests().requests.add({ type: "ask", ...fields });
    assert.match(fault, message);
  });

test("a request that was sent has 60 s on one connection, a question until it is acknowledged", () => {
  const { timers, requests, late } = pendingRequests();
  const [lost, acknowledged, ended, offline] = ["lost", "acknowledged", "ended", "offline"].map((text) => requests.add({ type: "ask", text }));
  for (const request of [lost, acknowledged, ended]) requests.onSent(request);
  requests.onAcknowledged(acknowledged, { turn: "t1" });
  requests.remove(ended);
  timers.advance(59_999);
  requests.onLost();
  assert.deepEqual([...requests.values()].map(({ isSent }) => Boolean(isSent)), [false, false, false]);
  timers.advance(1e6);
  assert.deepEqual(late, []);
  assert.deepEqual(requests.unacknowledged(), [lost, offline]);
  requests.onSent(lost);
  timers.advance(59_999);
  assert.deepEqual(late, []);
  timers.advance(1);
  assert.deepEqual(late, ["lost"]);
});

test("the table has every request that a client sends", () => {
  assert.deepEqual(Object.keys(REQUESTS), ["ask", "retry", "edit", "cancel", "history", "forget", "fork"]);
  assert.deepEqual(Object.keys(REQUESTS).filter((type) => REQUESTS[type].isSentOnce), ["fork"]);
});
