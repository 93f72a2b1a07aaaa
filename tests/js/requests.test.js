import assert from "node:assert/strict";
import { test } from "node:test";
import { createRequest, END_BY_REQUEST_TYPE, requestError, toHex } from "../../client/requests.js";

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

test("each request has an id of its own", () => {
  const [one, two] = [createRequest({ type: "ask", text: "One?" }), createRequest({ type: "cancel", turn: "t1" })];
  assert.match(one.frame.id, /^[0-9a-f]{32}$/);
  assert.notEqual(one.frame.id, two.frame.id);
});

test("a request is settled by a result or an error, and a rejection that nobody handles is no crash", async () => {
  const [answered, refused] = [createRequest({ type: "history" }), createRequest({ type: "ask" })];
  answered.settle("a result");
  refused.settle(requestError({ code: "closed" }));
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(await answered.result, "a result");
  await assert.rejects(refused.result, { code: "closed" });
});

test("a frame is encoded once, with an id that may be given, and its bytes are those of UTF-8", () => {
  const { frame, data, bytes } = createRequest({ type: "ask", id: "한", text: "🙂" });
  assert.deepEqual([frame, JSON.parse(data)], [{ type: "ask", id: "한", text: "🙂" }, frame]);
  assert.equal(bytes, Buffer.byteLength(data));
  assert.equal(createRequest({ type: "ask", id: "🙂".repeat(64) }).fault, undefined);
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
    assert.match(createRequest({ type: "ask", ...fields }).fault, message);
  });

test("no question ends with a frame of its own", () => {
  assert.deepEqual(Object.keys(END_BY_REQUEST_TYPE), ["cancel", "fork", "history", "forget", "sessions", "title"]);
});
