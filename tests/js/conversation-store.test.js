import assert from "node:assert/strict";
import { test } from "node:test";
import { fileName, jsonOf, markdownOf } from "../../client/page/export.js";
import { Shelf, titleOf } from "../../client/page/conversation-store.js";
import { Storage } from "./fakes.js";

class Full extends Storage {
  room = Infinity;
  setItem = (key, value) => {
    const others = [...this.kept].reduce((sum, [name, text]) => sum + (name === key ? 0 : text.length), 0);
    if (others + value.length > this.room) throw new Error("QuotaExceededError");
    this.kept.set(key, value);
  };
}

const shelf = (storage = new Storage()) => new Shelf(() => storage);
const names = (entries) => entries.map(({ title }) => title);

test("a conversation is called by the first line of its question, or what fits of it", () => {
  assert.equal(titleOf("  One?\nTwo?"), "One?");
  assert.equal(titleOf("x".repeat(200)).length, 80);
});

test("the last used conversation comes first, and a time that is past moves none", () => {
  const kept = shelf();
  kept.note("a", { title: "A", used: 2 });
  kept.note("b", { title: "B", used: 3 });
  kept.note("a", { title: "A", used: 1 });
  assert.deepEqual(names(kept.all()), ["B", "A"]);
  kept.note("a", { title: "A", used: 4 });
  assert.deepEqual(names(kept.all()), ["A", "B"]);
});

test("a name that the reader gave stays, whatever the conversation's first question becomes", () => {
  const kept = shelf();
  assert.equal(kept.note("a", { title: "A", used: 1 }), true);
  assert.equal(kept.note("a", { title: "Edited", used: 1 }), false);
  assert.equal(kept.find("a").title, "Edited");
  kept.rename("a", " Mine ");
  kept.note("a", { title: "Other", used: 2 });
  assert.equal(kept.find("a").title, "Mine");
});

test("what one tab puts there, another finds", () => {
  const storage = new Storage();
  const [one, two] = [shelf(storage), shelf(storage)];
  one.note("a", { title: "A", used: 1 });
  two.note("b", { title: "B", used: 2 });
  one.rename("a", "First");
  assert.deepEqual(names(two.all()), ["B", "First"]);
});

test("a deleted conversation leaves nothing but that the server is to be told", () => {
  const storage = new Storage();
  const kept = shelf(storage);
  kept.note("a", { title: "A", used: 1 });
  kept.remember("a", "text");
  kept.keepDraft("a", "draft");
  kept.keepLast("a");
  kept.remove("a");
  assert.deepEqual(kept.gone(), ["a"]);
  assert.equal(kept.note("a", { title: "A", used: 9 }), false); // a late answer doesn't bring it back
  kept.remember("a", "text");
  assert.deepEqual([...storage.kept.keys()].sort(), ["askbot.gone", "askbot.list"]);
  assert.deepEqual(kept.all(), []);
  kept.forgotten("a");
  assert.deepEqual(kept.gone(), []);
});

test("all words of a search have to be in the title or the text, in any case, however they are composed", () => {
  const kept = shelf();
  kept.note("a", { title: "Über das Meer", used: 1 });
  kept.remember("a", `${"vorher ".repeat(20)}Caf\u0065\u0301 am STRAND ${"nachher ".repeat(20)}`);
  kept.note("b", { title: "Sand", used: 2 });
  assert.deepEqual(names(kept.search("strand")), ["Über das Meer"]);
  assert.deepEqual(names(kept.search("ÜBER café")), ["Über das Meer"]);
  assert.deepEqual(names(kept.search("meer sand")), []);
  assert.deepEqual(names(kept.search("  ")), ["Sand", "Über das Meer"]);
  assert.equal(kept.search("meer")[0].excerpt, null);
  const [before, found, after] = kept.search("meer strand")[0].excerpt;
  assert.equal(found, "STRAND");
  assert.match(before, /^…[\s\S]{1,41}$/);
  assert.match(after, /^ nachher[\s\S]{1,33}…$/);
});

test("where storage is full, the texts of what was used least recently make room, and no question is lost", () => {
  const storage = new Full();
  const kept = shelf(storage);
  for (const place of [1, 2, 3]) {
    kept.note(`${place}`, { title: `${place}`, used: place });
    kept.remember(`${place}`, `${place}`.repeat(1000));
  }
  storage.room = 3300;
  kept.keepDraft("3", "d".repeat(300));
  assert.equal(kept.draft("3"), "d".repeat(300));
  assert.deepEqual(["111", "222", "333"].map((text) => kept.search(text).length), [0, 1, 1]);
  storage.room = 0;
  kept.keepDraft("3", "more");
  assert.equal(kept.draft("3"), "more"); // as long as the page lasts
});

test("where storage is forbidden, the page has its list as long as it lasts", () => {
  const kept = new Shelf(() => {
    throw new Error("SecurityError");
  });
  kept.note("a", { title: "A", used: 1 });
  kept.keepDraft(null, "draft");
  assert.deepEqual(names(kept.all()), ["A"]);
  assert.equal(kept.draft(null), "draft");
  kept.keepDraft(null, "");
  assert.equal(kept.draft(null), "");
});

test("what somebody else has written there harms nobody", () => {
  for (const value of ["", "{", "null", "7", '"text"', "{}"]) {
    const storage = new Storage();
    storage.setItem("askbot.list", value);
    storage.setItem("askbot.gone", value);
    const kept = shelf(storage);
    assert.deepEqual(kept.all(), []);
    kept.note("a", { title: "A", used: 1 });
    assert.deepEqual(names(kept.all()), ["A"]);
  }
});

// --- as a file -------------------------------------------------------------------------------------------------------

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
