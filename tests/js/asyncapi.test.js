/** The AsyncAPI document, read by the specification's own parser. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { Parser } from "@asyncapi/parser";

const WARNING = 1;
const source = await readFile(new URL("../../docs/asyncapi.json", import.meta.url), "utf8");
const { document, diagnostics } = await new Parser().parse(source);

test("the document is valid", () => {
  const worse = diagnostics.filter(({ severity }) => severity <= WARNING);
  assert.deepEqual(worse, []);
});

test("it has a message for each frame, with examples that its schema takes", () => {
  const messages = document.channels().get("chat").messages().all();
  assert.equal(messages.length, 26);
  for (const message of messages) {
    assert.ok(message.examples().length > 0, message.id());
    assert.ok(message.payload().required().includes("type"), message.id());
  }
});

test("the server receives what clients send, and sends what happens", () => {
  const names = (operations) => operations.map((operation) => operation.id()).sort();
  const operations = document.operations();
  assert.deepEqual(names(operations.filterBySend()), ["tell"]);
  assert.deepEqual(
    names(operations.filterByReceive()),
    "ask attach auth cancel detach edit forget fork history ping retry sessions title".split(" "),
  );
});
