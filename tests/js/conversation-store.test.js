import assert from "node:assert/strict";
import { test } from "node:test";
import { ConversationStore, titleOf } from "../../client/page/conversation-store.js";
import { Storage } from "./fakes.js";

class Full extends Storage {
  room = Infinity;
  setItem = (key, value) => {
    const others = [...this.kept].reduce((sum, [name, text]) => sum + (name === key ? 0 : text.length), 0);
    if (others + value.length > this.room) throw new Error("QuotaExceededError");
    this.kept.set(key, value);
  };
}

/** A storage whose keys are its own properties, as a browser's are. */
class Listed {
  getItem(key) {
    return this[key] ?? null;
  }

  setItem(key, value) {
    this[key] = value;
  }

  removeItem(key) {
    delete this[key];
  }
}

const createStore = (storage = new Storage()) => new ConversationStore(() => storage);
const titles = (conversations) => conversations.map(({ title }) => title);

test("a conversation is called by the first line of its question, or what fits of it", () => {
  assert.equal(titleOf("  One?\nTwo?"), "One?");
  assert.equal(titleOf("x".repeat(200)).length, 80);
});

test("the last used conversation comes first, and a time that is past moves none", () => {
  const store = createStore();
  store.recordUse("a", { title: "A", used: 2 });
  store.recordUse("b", { title: "B", used: 3 });
  store.recordUse("a", { title: "A", used: 1 });
  assert.deepEqual(titles(store.all()), ["B", "A"]);
  store.recordUse("a", { title: "A", used: 4 });
  assert.deepEqual(titles(store.all()), ["A", "B"]);
});

test("a name that the reader gave stays, whatever the conversation's first question becomes", () => {
  const store = createStore();
  assert.equal(store.recordUse("a", { title: "A", used: 1 }), true);
  assert.equal(store.recordUse("a", { title: "Edited", used: 1 }), false);
  assert.equal(store.find("a").title, "Edited");
  store.rename("a", " Mine ");
  store.recordUse("a", { title: "Other", used: 2 });
  assert.equal(store.find("a").title, "Mine");
});

test("what one tab puts there, another finds", () => {
  const storage = new Storage();
  const [one, two] = [createStore(storage), createStore(storage)];
  one.recordUse("a", { title: "A", used: 1 });
  two.recordUse("b", { title: "B", used: 2 });
  one.rename("a", "First");
  assert.deepEqual(titles(two.all()), ["B", "First"]);
});

test("a deleted conversation leaves nothing but that the server is to be told", () => {
  const storage = new Storage();
  const store = createStore(storage);
  store.recordUse("a", { title: "A", used: 1 });
  store.saveSearchText("a", "text");
  store.saveEdit("a", "t1", "edited");
  store.outbox("a").keep([{ id: "1", text: "One?" }]);
  store.saveLastSession("a");
  store.markDeleted("a");
  assert.deepEqual(store.deletedSessions(), ["a"]);
  assert.equal(store.recordUse("a", { title: "A", used: 9 }), false); // a late answer doesn't bring it back
  store.saveSearchText("a", "text");
  assert.deepEqual([...storage.kept.keys()].sort(), ["askbot.gone", "askbot.list"]);
  assert.deepEqual(store.all(), []);
  store.confirmDeleted("a");
  assert.deepEqual(store.deletedSessions(), []);
});

test("all words of a search have to be in the title or the text, in any case, however they are composed", () => {
  const store = createStore();
  store.recordUse("a", { title: "Über das Meer", used: 1 });
  store.saveSearchText("a", `${"vorher ".repeat(20)}Caf\u0065\u0301 am STRAND ${"nachher ".repeat(20)}`);
  store.recordUse("b", { title: "Sand", used: 2 });
  assert.deepEqual(titles(store.search("strand")), ["Über das Meer"]);
  assert.deepEqual(titles(store.search("ÜBER café")), ["Über das Meer"]);
  assert.deepEqual(titles(store.search("meer sand")), []);
  assert.deepEqual(titles(store.search("  ")), ["Sand", "Über das Meer"]);
  assert.equal(store.search("meer")[0].excerpt, null);
  const [before, found, after] = store.search("meer strand")[0].excerpt;
  assert.equal(found, "STRAND");
  assert.match(before, /^…[\s\S]{1,41}$/);
  assert.match(after, /^ nachher[\s\S]{1,33}…$/);
});

test("where storage is full, the texts of what was used least recently make room, and no question is lost", () => {
  const storage = new Full();
  const store = createStore(storage);
  for (const place of [1, 2, 3]) {
    store.recordUse(`${place}`, { title: `${place}`, used: place });
    store.saveSearchText(`${place}`, `${place}`.repeat(1000));
  }
  storage.room = 3300;
  store.saveEdit("3", "t1", "d".repeat(300));
  assert.deepEqual(store.edits("3"), { t1: "d".repeat(300) });
  assert.deepEqual(["111", "222", "333"].map((text) => store.search(text).length), [0, 1, 1]);
  storage.room = 0;
  store.saveEdit("3", "t1", "more");
  assert.deepEqual(store.edits("3"), { t1: "more" }); // as long as the page lasts
});

test("where storage is forbidden, the page has its list as long as it lasts", () => {
  const store = new ConversationStore(() => {
    throw new Error("SecurityError");
  });
  store.recordUse("a", { title: "A", used: 1 });
  store.saveEdit("a", "t1", "edited");
  assert.deepEqual(titles(store.all()), ["A"]);
  assert.deepEqual(store.edits("a"), { t1: "edited" });
  store.saveEdit("a", "t1", null);
  assert.deepEqual(store.edits("a"), {});
});

test("the last session is the tab's own, and a new tab shows what was shown last", () => {
  const storage = new Storage();
  const [one, two] = [new Storage(), new Storage()].map((tab) => new ConversationStore(() => storage, { tabStorage: () => tab }));
  one.saveLastSession("a");
  assert.equal(two.lastSession(), "a");
  two.saveLastSession("b");
  assert.deepEqual([one.lastSession(), two.lastSession()], ["a", "b"]);
  one.remove("a");
  assert.equal(one.lastSession(), "b");
});

test("each tab has its own texts in edit forms, and takes none of another tab away", () => {
  const storage = new Storage();
  const open = (tab) => new ConversationStore(() => storage, { tabStorage: () => tab });
  const tabs = [new Storage(), new Storage()];
  const [one, two] = tabs.map(open);
  one.saveEdit("a", "t1", "one");
  two.saveEdit("a", "t2", "two");
  two.saveEdit("a", "t1", "other");
  one.saveEdit("a", "t3", "three");
  one.saveEdit("a", "t3", null);
  assert.deepEqual(open(tabs[0]).edits("a"), { t1: "one", t2: "two" });
  assert.deepEqual(open(tabs[1]).edits("a"), { t1: "other", t2: "two" });
  assert.deepEqual(open(new Storage()).edits("a"), { t1: "other", t2: "two" });
});

test("what is not sent is kept by conversation, a new one's too", () => {
  const storage = new Storage();
  const store = createStore(storage);
  for (const session of ["a", null]) store.outbox(session).keep([{ id: "1", text: "One?" }]);
  assert.deepEqual([...storage.kept.keys()], ["askbot.unsent.a", "askbot.unsent.a owner", "askbot.unsent", "askbot.unsent owner"]);
});

test("servers under two paths of one origin share nothing", () => {
  const storage = new Storage();
  for (const path of ["/", "/a/", "/b/"]) {
    const store = new ConversationStore(() => storage, { path });
    assert.deepEqual(store.all(), []);
    store.recordUse("s", { title: path, used: 1 });
  }
  assert.deepEqual([...storage.kept.keys()], ["askbot.list", "askbot/a.list", "askbot/b.list"]);
});

test("what somebody else has written there harms nobody", () => {
  for (const value of ["", "{", "null", "7", '"text"', "{}"]) {
    const storage = new Storage();
    storage.setItem("askbot.list", value);
    storage.setItem("askbot.gone", value);
    const store = createStore(storage);
    assert.deepEqual(store.all(), []);
    store.recordUse("a", { title: "A", used: 1 });
    assert.deepEqual(titles(store.all()), ["A"]);
  }
});

test("what is kept for one user is not another's, nor anybody's", () => {
  const storage = new Storage();
  const stores = ["ann", "ann.b", "ann/b", null].map((user) => new ConversationStore(() => storage, { path: "/a/", user }));
  for (const [place, store] of stores.entries()) store.recordUse(`s${place}`, { title: `T${place}`, used: place });
  for (const [place, store] of stores.entries()) assert.deepEqual(titles(store.all()), [`T${place}`]);
  const keys = [...storage.kept.keys()];
  assert.equal(keys.filter((key) => key.startsWith("askbot/a@ann.")).length, 1, "no user's keys begin as another's do");
});

test("a part of the server's list takes the place of what was used in that time here", () => {
  const store = createStore();
  for (const used of [1, 2, 3, 4, 5]) store.recordUse(`s${used}`, { title: `T${used}`, used });
  store.markUnconfirmed("s3");
  store.markDeleted("s5");
  const found = [{ session: "s5", title: "T5", used: 5 }, { session: "s2", title: "Two", used: 6 }, { session: "new", title: "New", used: 2 }];
  store.merge(found, { from: 2, until: Infinity, shown: "s4" });
  assert.deepEqual(titles(store.all()), ["Two", "T4", "T3", "New", "T1"]);
  store.merge([], { from: -Infinity, until: 2, shown: "s4" });
  assert.deepEqual(titles(store.all()), ["Two", "T4", "T3", "New"]);
});

test("what is typed in a conversation outlasts a page of the server's list that lacks it", () => {
  const store = createStore();
  for (const used of [1, 2, 3]) store.recordUse(`s${used}`, { title: `T${used}`, used });
  store.outbox("s1").keep([{ text: "A draft", isDraft: true }]);
  store.saveEdit("s2", "t1", "edited");
  assert.equal(store.merge([], { from: -Infinity, until: Infinity, shown: null }), true);
  assert.deepEqual(titles(store.all()), ["T2", "T1"]);
  assert.deepEqual(store.edits("s2"), { t1: "edited" });
  assert.equal(store.merge([], { from: -Infinity, until: Infinity, shown: null }), false);
});

test("what is not sent, in whatever conversation, is known before all is removed", () => {
  const store = createStore(new Listed());
  assert.equal(store.hasUnsent, false);
  store.recordUse("a", { title: "A", used: 1 });
  store.outbox("a").keep([{ text: "A draft", isDraft: true }]);
  assert.equal(store.hasUnsent, true);
  store.clear();
  assert.equal(store.hasUnsent, false);
  store.outbox(null).keep([{ id: "1", text: "One?" }]);
  assert.equal(store.hasUnsent, true);
});

test("who has signed in again in another tab loses nothing there", () => {
  const [storage, tab] = [new Listed(), new Listed()];
  const late = new ConversationStore(() => storage, { tabStorage: () => tab, user: "anna" });
  const other = new ConversationStore(() => storage, { tabStorage: () => new Storage(), user: "anna" });
  late.recordVisit();
  late.saveEdit("a", "t1", "old");
  other.clear();
  other.recordVisit();
  other.recordUse("a", { title: "A", used: 1 });
  late.clear({ isOthersKept: true });
  assert.deepEqual([titles(other.all()), Object.keys(tab).length], [["A"], 0]);
  other.clear();
  late.recordUse("b", { title: "B", used: 2 });
  late.clear({ isOthersKept: true });
  assert.deepEqual(Object.keys(storage), []);
});

test("all that is not sent of a conversation is known: what was asked, typed, and edited", () => {
  const store = createStore();
  store.outbox("a").keep([{ id: "1", text: "One?" }, { text: "A draft", isDraft: true }]);
  store.saveEdit("a", "t1", "edited");
  assert.deepEqual([store.unsentTexts("a"), store.unsentTexts("b")], [["One?", "A draft", "edited"], []]);
});

test("what is not to be taken along is remembered", () => {
  const store = createStore();
  store.decline(["a"]);
  store.decline(["b", "c"]);
  assert.deepEqual(store.declined(), ["a", "b", "c"]);
});
