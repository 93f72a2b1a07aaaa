/** A user's conversations, what they are called, and whose they are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rows, running } from "../../client/rows.js";
import { empty, view } from "../../client/view.js";
import { collectEvents, Log, openedClient } from "./fakes.js";

const title = (log, text) => log.add({ type: "title", text });

test("sessions resolves to a page of the user's conversations, and the next one begins where that ended", async () => {
  const { chat, socket } = openedClient();
  const asked = chat.sessions({ before: "opaque", limit: 5 });
  assert.deepEqual(socket.sent, [{ type: "sessions", id: asked.id, before: "opaque", limit: 5 }]);
  const page = { type: "sessions", id: asked.id, sessions: [{ session: "s1", title: "Why?" }], more: null };
  socket.deliver(page);
  assert.deepEqual(await asked, page);
  assert.equal(chat.view.turns.length, 0);
});

test("an anonymous client is refused its conversations, and may go on", async () => {
  const { chat, socket } = openedClient();
  const asked = chat.sessions();
  socket.deliver({ type: "error", id: asked.id, code: "forbidden", message: "Nobody is signed in." });
  await assert.rejects(asked, { code: "forbidden" });
  assert.equal(chat.state, "open");
});

test("a title is in the view once it is in the log, and that ends the request", async () => {
  const { chat, socket, log } = openedClient();
  const heard = collectEvents(chat, "frame");
  socket.deliver(log.question("t1"));
  const named = chat.title("Colours");
  assert.deepEqual(socket.sent, [{ type: "title", id: named.id, text: "Colours" }]);
  assert.equal(chat.view.title, undefined);
  socket.deliver(title(log, "Another's"));
  assert.equal(chat.view.title, "Another's");
  socket.deliver(title(log, "Colours"));
  await named;
  assert.deepEqual([chat.view.title, chat.requests(), heard.at(-1).type], ["Colours", [], "title"]);
  socket.deliver(title(log, ""));
  assert.equal(chat.view.title, null);
  assert.equal(chat.view.seq, log.seq);
});

test("two titles that follow one another are two", () => {
  const { chat, socket, log } = openedClient();
  socket.deliver(title(log, "a"), title(log, "b"));
  assert.deepEqual([chat.view.title, chat.view.seq], ["b", 2]);
});

test("a title of one's own request is sent again on a new connection, and refused where nothing was asked", async () => {
  const { chat, sockets, timers, log } = openedClient();
  const named = chat.title("Colours");
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready());
  assert.equal(sockets[1].sent[0].id, named.id);
  sockets[1].deliver({ type: "error", id: named.id, code: "turn_not_found", message: "Nothing was asked." });
  await assert.rejects(named, { code: "turn_not_found" });
});

test("a title is no question: none is unsent for it, and none is given back where it is refused or left", async () => {
  const { chat, socket, log } = openedClient();
  const errors = collectEvents(chat, "error");
  socket.deliver(log.question("t1"));
  const refused = chat.title("Colours");
  assert.deepEqual([chat.pending(), rows(chat).length, running(chat)], [[], 1, "t1"]);
  socket.deliver({ type: "error", id: refused.id, code: "turn_not_found", message: "Nothing was asked." });
  await assert.rejects(refused, { code: "turn_not_found", text: undefined });
  const left = chat.title("Sounds");
  chat.fresh();
  await assert.rejects(left, { code: "closed", text: undefined });
  assert.deepEqual(errors.map(({ code, text }) => [code, text]), [["turn_not_found", undefined]]);
});

test("titles up to the head of ready change nothing but the position: ready has said what it is called", () => {
  const log = new Log();
  title(log, "old");
  log.question("t1");
  let shown = view(empty, log.ready(0, { title: "new", user: "anna" }));
  for (const event of log.events) shown = view(shown, event);
  assert.deepEqual([shown.title, shown.user, shown.seq], ["new", "anna", 2]);
  shown = view(shown, title(log, "newest"));
  assert.equal(shown.title, "newest");
  assert.equal(view(shown, { ...title(log, "x"), seq: 9 }).gap, true);
});

test("chat.user says whose the conversation is; null: nobody's who is signed in", () => {
  const { chat, socket, log } = openedClient();
  assert.equal(chat.user, undefined);
  for (const user of ["anna", null]) {
    socket.deliver(log.ready(0, { user }));
    assert.deepEqual([chat.user, chat.view.user], [user, user]);
  }
});
