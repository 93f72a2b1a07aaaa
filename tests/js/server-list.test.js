/** The list of a user's conversations, as the server has it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConversationStore } from "../../client/page/conversation-store.js";
import { ServerList } from "../../client/page/server-list.js";
import { flushPromises, Storage } from "./fakes.js";

/** A list over a server that has these conversations, by when they were used: two a page. */
function listOf(server) {
  const storage = new Storage();
  const store = new ConversationStore(() => storage);
  const asked = [];
  const chat = {
    session: "shown",
    sessions({ before, limit }) {
      asked.push(before ?? "newest");
      assert.equal(limit, 50);
      if (server.error) return Object.assign(Promise.reject(server.error), { id: "r1" });
      const all = [...server.used].sort((one, other) => other - one).filter((used) => !before || used < Number(before));
      const page = all.slice(0, 2).map((used) => ({ session: `s${used}`, title: server.title?.(used), updated: new Date(used).toISOString() }));
      return Object.assign(Promise.resolve({ sessions: page, more: all.length > 2 ? String(all[1]) : null }), { id: "r1" });
    },
  };
  let changes = 0;
  const list = new ServerList(store, { chat: () => chat, onChange: () => (changes += 1) });
  return { list, store, asked, shown: () => store.all().map(({ used }) => used), changes: () => changes };
}

test("the newest page is in the store, and the others as they are asked for", async () => {
  const { list, shown, changes } = listOf({ used: [1, 2, 3, 4, 5] });
  assert.equal(list.hasMore, false);
  await list.refresh();
  assert.deepEqual([shown(), list.hasMore, changes()], [[5, 4], true, 1]);
  assert.equal(await list.showMore(), true);
  assert.deepEqual(shown(), [5, 4, 3, 2]);
  await list.showMore();
  assert.deepEqual([shown(), list.hasMore, await list.showMore()], [[5, 4, 3, 2, 1], false, false]);
});

test("what another device deletes, names or begins is seen when it is asked for again", async () => {
  const server = { used: [1, 2, 3, 4], title: (used) => `T${used}` };
  const { list, store, shown } = listOf(server);
  await list.refresh();
  await list.showMore();
  server.used = [1, 2, 4, 6];
  server.title = () => "Named\nand more";
  await list.refresh();
  assert.deepEqual([shown(), list.hasMore], [[6, 4, 3, 2, 1], false]);
  assert.equal(store.find("s4").title, "Named");
  server.used = [1, 6];
  await list.refresh();
  assert.deepEqual(shown(), [6, 1]);
});

test("where there may be others between the newest and those that are known, it goes on from there", async () => {
  const server = { used: [1, 2] };
  const { list, shown } = listOf(server);
  await list.refresh();
  assert.equal(list.hasMore, false);
  server.used = [1, 2, 5, 6, 7, 8];
  await list.refresh();
  assert.deepEqual([shown(), list.hasMore], [[8, 7, 2, 1], true]);
  await list.showMore();
  assert.deepEqual(shown(), [8, 7, 6, 5, 2, 1]);
});

test("one that is used while the list is read on is among the newest then, and not gone", async () => {
  const server = { used: [1, 2, 3, 4] };
  const { list, shown, asked } = listOf(server);
  await list.refresh();
  await list.showMore();
  server.used = [1, 2, 3, 4, 7, 8, 9];
  await list.refresh();
  assert.equal(list.hasMore, true);
  server.used = [1, 2, 4, 7, 8, 9, 10]; // the one of 3 was used at 10, on another device
  await list.showMore();
  await list.showMore();
  await flushPromises();
  assert.equal(asked.at(-1), "newest");
  assert.equal(shown()[0], 10);
});

test("however often it is asked for meanwhile, it is asked for once more", async () => {
  const { list, asked } = listOf({ used: [1] });
  for (let time = 0; time < 5; time += 1) list.refresh();
  await flushPromises();
  assert.deepEqual(asked, ["newest", "newest"]);
});

test("a refusal changes nothing, is not said, and can be repeated", async () => {
  const server = { used: [1], error: new Error("forbidden") };
  const { list, shown, asked } = listOf(server);
  await list.refresh();
  assert.deepEqual([shown(), list.isOwnRequest("r1"), list.isOwnRequest("r2"), list.isOwnRequest(undefined)], [[], true, false, false]);
  server.error = undefined;
  await list.refresh();
  assert.deepEqual([shown(), asked.length], [[1], 2]);
});
