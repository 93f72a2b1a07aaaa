import assert from "node:assert/strict";
import { test } from "node:test";
import { PendingRequests, requestError, toHex } from "../../client/requests.js";

test("bytes are written as lower-case hexadecimal digits", () => {
  assert.equal(toHex([0, 10, 255]), "000aff");
  assert.equal(toHex(new Uint8Array([1, 2]).buffer), "0102");
});

test("an error has the code as its message where it has no other", () => {
  const error = requestError({ code: "closed" });
  assert.ok(error instanceof Error);
  assert.deepEqual([error.code, error.message, error.retryable], ["closed", "closed", undefined]);
  const refused = requestError({ code: "rate_limited", message: "Slow down.", retryable: true, retry_after: 3000 });
  assert.deepEqual([refused.message, refused.retryable, refused.retryAfter], ["Slow down.", true, 3000]);
});

test("each request has an id of its own, and is pending in its order until it has an answer", async () => {
  const requests = new PendingRequests();
  const one = requests.add({ type: "ask", text: "One?" });
  const two = requests.add({ type: "cancel" });
  assert.match(one.frame.id, /^[0-9a-f]{32}$/);
  assert.notEqual(one.frame.id, two.frame.id);
  assert.deepEqual(requests.frames(), [one.frame, two.frame]);
  assert.deepEqual([requests.typeOf(one.frame.id), requests.typeOf("unknown")], ["ask", undefined]);
  requests.resolve(one.frame.id, 1);
  assert.equal(await one.result, 1);
  assert.deepEqual([requests.has(one.frame.id), requests.has(two.frame.id)], [false, true]);
  requests.reject(two.frame.id, requestError({ code: "closed" }));
  await assert.rejects(two.result, { code: "closed" });
  assert.deepEqual(requests.frames(), []);
});

test("an id that is not known is ignored, and a rejection that nobody handles is no crash", async () => {
  const requests = new PendingRequests();
  const { frame } = requests.add({ type: "ask" });
  requests.resolve("unknown", 1);
  requests.reject(undefined, new Error("unknown"));
  assert.ok(requests.has(frame.id));
  requests.reject(frame.id, requestError({ code: "closed" }));
  await new Promise((resolve) => setTimeout(resolve, 1));
});
