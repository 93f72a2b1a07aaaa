import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchAllTurns } from "../../client/page/background-connection.js";
import { Log } from "./fakes.js";

/** A server's socket that has a page of history for each request. */
function socketOf(pages, sent) {
  return class {
    constructor() {
      const log = new Log();
      log.question("t9", "Nine?");
      queueMicrotask(() => this.deliver({ ...log.ready(0), earlier: true, from: 5, seq: 6 }, { ...log.events[0], seq: 6 }));
    }

    deliver(...frames) {
      for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
    }

    send(data) {
      const { id } = JSON.parse(data);
      const turns = pages[sent.push(id) - 1] ?? [];
      queueMicrotask(() => this.deliver({ type: "history", session: "s1", id, turns, more: sent.length < pages.length }));
    }

    close() {}
  };
}

const record = (turn, from) => ({ turn, text: `${turn}?`, answer: "", reason: "stop", from, seq: from + 1, created: "" });
const fetchWith = (pages, sent) =>
  fetchAllTurns({ url: "ws://test/v1/chat", session: "s1", WebSocket: socketOf(pages, sent), page: new EventTarget(), timers: globalThis });

test("all turns are fetched, page by page", async () => {
  const turns = await fetchWith([[record("t2", 2)], [record("t1", 0)]], []);
  assert.deepEqual(turns.map(({ turn }) => turn), ["t1", "t2", "t9"]);
});

test("a server that says that there are more turns, but has none, is not asked again and again", async () => {
  const sent = [];
  await assert.rejects(fetchWith(Array(50).fill([]), sent), /no earlier turns/);
  assert.equal(sent.length, 1);
});
