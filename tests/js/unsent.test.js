import assert from "node:assert/strict";
import { test } from "node:test";
import { Draft, Outbox, resend, unsentKey, unsentOf } from "../../client/unsent.js";
import { client, flushPromises, Log, Storage } from "./fakes.js";

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

test("typed texts that come into one field are one text from then on, in the order in which they stand there", () => {
  const field = { value: "" };
  const draft = new Draft(field);
  const question = { id: "1", text: "One?" };
  field.value = "third";
  draft.add([{ text: "second" }]);
  draft.add([question, { text: "first" }]);
  assert.equal(field.value, "One?\n\nfirst\n\nsecond\n\nthird");
  assert.deepEqual(draft.items, [question, { text: "first\n\nsecond\n\nthird" }]);
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

test("an edit, and a question with options, are asked again as they were", () => {
  const { chat } = client();
  const frames = () => chat.pending().map(({ type, id, text, turn, model }) => ({ type, id, text, turn, model }));
  chat.ask("One?", { id: "1", model: "large" });
  chat.edit("t1", "Two?", { id: "2" });
  const [items, before] = [unsentOf(chat), frames()];
  chat.cancel("1");
  chat.cancel("2");
  assert.deepEqual(frames(), []);
  for (const item of items) resend(chat, item);
  assert.deepEqual(frames(), before);
  chat.close();
});

/** The locks of a browser, of which one is held at a time under a name. */
class Locks {
  #queues = new Map();
  #requests = new Map(); // how many there are, by name

  request(name, ...rest) {
    const [{ signal, ifAvailable }, action] = rest.length > 1 ? rest : [{}, rest[0]];
    const before = this.#queues.get(name) ?? Promise.resolve();
    if (ifAvailable && this.#requests.get(name)) return Promise.resolve(action(null));
    this.#requests.set(name, (this.#requests.get(name) ?? 0) + 1);
    const granted = before.then(async () => {
      if (!signal?.aborted) await action({ name });
      this.#requests.set(name, this.#requests.get(name) - 1);
      signal?.throwIfAborted();
    });
    this.#queues.set(name, granted.catch(() => {}));
    return granted;
  }
}

/** Pages that share a storage, each with the items that it was given. */
function pagesOf(locks = new Locks()) {
  const storage = new Storage();
  const open = (key = "key", tabStorage = new Storage()) => {
    const taken = [];
    const outbox = new Outbox(key, { storage, tabStorage, locks });
    outbox.takeOver((item) => taken.push(item));
    return { outbox, taken };
  };
  return { storage, open };
}

test("what a page has asked is kept at once, and another one takes it over when the page is gone, not before", async () => {
  const { storage, open } = pagesOf();
  const one = open();
  one.outbox.keep([ONE]);
  assert.equal(JSON.parse(storage.getItem("key"))[0].text, "One?");
  const [two, three] = [open(), open()];
  await flushPromises();
  assert.deepEqual([two.taken, three.taken], [[], []]);
  one.outbox.release();
  await flushPromises();
  assert.deepEqual([two.taken, three.taken], [[ONE], []]);
  two.outbox.release(); // it had no answer either
  await flushPromises();
  const four = open();
  await flushPromises();
  assert.deepEqual(four.taken, [ONE]);
  four.outbox.keep([]);
  assert.deepEqual([...storage.kept], []);
});

test("a page that ends before another one is gone takes nothing", async () => {
  const { open } = pagesOf();
  const one = open();
  one.outbox.keep([ONE, { ...TWO, isDraft: true }]);
  const two = open();
  two.outbox.release();
  one.outbox.release();
  await flushPromises();
  assert.deepEqual(two.taken, []);
  const three = open();
  await flushPromises();
  assert.deepEqual(three.taken, [ONE, { ...TWO, isDraft: true }]);
});

test("what was typed comes back to its tab, or to one that is opened later, not into the middle of another", async () => {
  const { open } = pagesOf();
  const tab = new Storage();
  const draft = { text: "typed", isDraft: true };
  const one = open("key", tab);
  one.outbox.keep([ONE, draft]);
  const other = open();
  await flushPromises();
  const reloaded = open("key", tab); // before the page that was there has ended
  one.outbox.release();
  await flushPromises();
  assert.deepEqual([...other.taken, ...reloaded.taken], [ONE, draft]);
  assert.deepEqual(other.taken.filter(({ isDraft }) => isDraft), []);
  for (const page of [other, reloaded]) page.outbox.release();
  await flushPromises();
  const later = open();
  await flushPromises();
  assert.deepEqual(later.taken, [ONE, draft]);
});

test("a page that is shown again has its items as before", async () => {
  const { storage, open } = pagesOf();
  const one = open();
  one.outbox.keep([ONE]);
  one.outbox.release();
  one.outbox.hold();
  await flushPromises();
  const two = open();
  await flushPromises();
  assert.deepEqual(two.taken, []);
  assert.equal(JSON.parse(storage.getItem("key")).length, 1);
});

test("items move with their conversation to its key", async () => {
  const { storage, open } = pagesOf();
  const [one, other] = [open("new"), open("new")];
  one.outbox.keep([ONE]);
  other.outbox.keep([TWO]);
  one.outbox.move("session");
  assert.deepEqual(["new", "session"].map((key) => JSON.parse(storage.getItem(key)).map(({ id }) => id)), [["2"], ["1"]]);
  one.outbox.release();
  const two = open("session");
  await flushPromises();
  assert.deepEqual(two.taken, [ONE]);
});

test("without locks, and of what has no owner, all is taken at once", () => {
  const { storage, open } = pagesOf(null);
  open().outbox.keep([ONE]);
  assert.deepEqual(open().taken, [ONE]);
  storage.setItem("key", JSON.stringify([TWO]));
  assert.deepEqual(open().taken, [TWO]);
});

test("a page that may not even look at its storages has an outbox that keeps nothing", () => {
  for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(globalThis, name, { configurable: true, get: () => { throw new DOMException(name, "SecurityError"); } });
  try {
    const outbox = new Outbox("key", { locks: null });
    outbox.keep([ONE]);
    outbox.takeOver(assert.fail);
    outbox.release();
  } finally {
    for (const name of ["localStorage", "sessionStorage"]) delete globalThis[name];
  }
});

test("a storage that is forbidden, or has something else in it, is one that has nothing", () => {
  for (const value of ["", "{", "null", "7", "{}", "[null, 7, {}, { \"text\": 7 }]"]) {
    const { storage, open } = pagesOf(null);
    storage.setItem("key", value);
    const { outbox, taken } = open();
    assert.deepEqual(taken, []);
    outbox.keep([ONE]);
    assert.deepEqual(open().taken, [ONE]);
  }
  const forbidden = { configurable: true, get: () => assert.fail("SecurityError") };
  Object.defineProperty(globalThis, "sessionStorage", forbidden); // in Node, there is no localStorage either
  for (const options of [{ storage: {} }, {}]) {
    const outbox = new Outbox("key", { ...options, locks: null });
    outbox.keep([ONE]);
    outbox.takeOver(() => assert.fail());
  }
  delete globalThis.sessionStorage;
});

test("servers differ by host and path, conversations at one by name, and no key has a credential", () => {
  const keys = ["wss://x/a/v1/chat", "wss://x/b/v1/chat", "wss://x:8/a/v1/chat"].map((url) => unsentKey(url));
  assert.equal(new Set([...keys, unsentKey("wss://x/a/v1/chat", "name")]).size, 4);
  assert.equal(unsentKey("wss://user:secret@x/a/v1/chat?ticket=1#token=2"), keys[0]);
});
