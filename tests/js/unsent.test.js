import assert from "node:assert/strict";
import { test } from "node:test";
import { Draft, keep, take, unsentKey, unsentOf, withdraw } from "../../client/unsent.js";
import { client, Log, Storage } from "./fakes.js";

const ONE = { id: "1", text: "One?" };
const TWO = { id: "2", text: "Two?" };

function draftOf(value = "") {
  const field = { value };
  return { field, draft: new Draft(field) };
}

test("what is given back stands before what is typed, in the order in which it was asked, and once", () => {
  const { field, draft } = draftOf("next");
  draft.add([ONE]);
  draft.add([TWO, ONE]);
  assert.equal(field.value, "One?\n\nTwo?\n\nnext");
  assert.deepEqual(draft.items, [ONE, TWO, { text: "next" }]);
  assert.equal(draft.hasQuestion, true);
});

test("a question that is in the log leaves the field, unless somebody has edited it", () => {
  const { field, draft } = draftOf("next");
  draft.add([ONE, TWO]);
  assert.equal(draft.removeLogged([{ id: "1" }, { id: "3" }]), true);
  assert.equal(field.value, "Two?\n\nnext");
  assert.equal(draft.removeLogged([{ id: "1" }]), false);
  field.value = "Two, please?";
  assert.equal(draft.removeLogged([{ id: "2" }]), false);
  assert.equal(field.value, "Two, please?");
  assert.equal(draft.hasQuestion, false);
});

test("what failed is given back, but not what was cancelled, or is in the log", () => {
  const { field, draft } = draftOf();
  draft.addFailed({ code: "closed", ...ONE });
  draft.addFailed({ code: "cancelled", ...TWO });
  draft.addFailed({ code: "closed", id: "3" });
  assert.equal(field.value, "One?");
});

test("a question that was given back is asked under its id, one that was edited under a new one", () => {
  const { field, draft } = draftOf();
  draft.add([ONE]);
  assert.deepEqual(draft.submit(), { text: "One?", options: { id: "1" } });
  assert.equal(field.value, "");
  draft.add([TWO]);
  field.value = " Two, please? ";
  assert.deepEqual(draft.submit(), { text: "Two, please?", options: {} });
});

test("a question that was given back is the same one, whatever space is around it and however the field ends its lines", () => {
  const field = {
    text: "",
    get value() {
      return this.text;
    },
    set value(text) {
      this.text = text.replaceAll("\r\n", "\n"); // as a <textarea> does
    },
  };
  const draft = new Draft(field);
  const question = { id: "1", text: " One,\r\ntwo? " };
  draft.add([question]);
  assert.deepEqual([draft.hasQuestion, draft.items], [true, [question]]);
  assert.deepEqual(draft.submit(), { text: question.text, options: { id: "1" } });
  draft.add([question]);
  assert.equal(draft.removeLogged([{ id: "1" }]), true);
  assert.equal(field.value, "");
});

test("what is not in the log is unsent, whether it was sent or not", () => {
  const { chat, socket } = client();
  const log = new Log();
  const asked = chat.ask("One?");
  socket.deliver(log.ready());
  assert.deepEqual(unsentOf(chat), [{ id: asked.id, text: "One?" }]);
  socket.deliver(log.question("t1", "One?", { id: asked.id }));
  assert.deepEqual(unsentOf(chat), []);
  chat.close();
});

test("what several pages have kept is taken once, and a page that comes back withdraws its own", () => {
  const storage = new Storage();
  keep(storage, "key", [ONE, { text: "typed" }]);
  keep(storage, "key", [TWO]);
  withdraw(storage, "key", [ONE, { text: "typed" }]);
  assert.deepEqual(take(storage, "key"), [TWO]);
  assert.deepEqual(take(storage, "key"), []);
  assert.deepEqual([...storage.kept], []);
});

test("a storage that is forbidden, or has something else in it, is one that has nothing", () => {
  for (const value of ["", "{", "null", "7", "{}", "[null, 7, {}, { \"text\": 7 }]"]) {
    const storage = new Storage();
    storage.setItem("key", value);
    assert.deepEqual(take(storage, "key"), []);
    keep(storage, "key", [ONE]);
    assert.deepEqual(take(storage, "key"), [ONE]);
  }
  for (const storage of [{}, undefined]) { // in Node, there is no localStorage
    keep(storage, "key", [ONE]);
    withdraw(storage, "key", [ONE]);
    assert.deepEqual(take(storage, "key"), []);
  }
});

test("servers differ by host and path, conversations at one by name, and no key has a credential", () => {
  const keys = ["wss://x/a/v1/chat", "wss://x/b/v1/chat", "wss://x:8/a/v1/chat"].map((url) => unsentKey(url));
  assert.equal(new Set([...keys, unsentKey("wss://x/a/v1/chat", "name")]).size, 4);
  assert.equal(unsentKey("wss://user:secret@x/a/v1/chat?ticket=1#token=2"), keys[0]);
});
