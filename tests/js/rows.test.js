import assert from "node:assert/strict";
import { test } from "node:test";
import { rows, running } from "../../client/rows.js";
import { client, Log, openedClient } from "./fakes.js";

test("questions that the log does not have yet stand after its turns, until it has them", async () => {
  const { chat, socket } = client();
  const log = new Log();
  socket.deliver(log.ready(), log.question("t1", "One?"), log.token("t1", "1"), await log.done("t1"));
  const [two, three] = [chat.ask("Two?"), chat.ask("Three?")];
  const drawn = () => rows(chat).map(({ turn, question, status }) => [turn, question, status]);
  assert.deepEqual(drawn(), [["t1", "One?", "ended"], [null, "Two?", "sending"], [null, "Three?", "sending"]]);
  assert.deepEqual(rows(chat).map(({ id }) => id).slice(1), [two.id, three.id]);
  socket.deliver(log.question("t2", "Two?", { id: two.id }));
  assert.deepEqual(drawn().slice(1), [["t2", "Two?", "waiting"], [null, "Three?", "sending"]]);
});

test("what a retry replaces is not drawn, and a retry that is on its way is no question", async () => {
  const { chat, socket } = client();
  const log = new Log();
  socket.deliver(log.ready(), log.question("t1", "One?"), await log.done("t1"));
  chat.retry("t1");
  assert.deepEqual(rows(chat).map(({ turn }) => turn), ["t1"]);
  socket.deliver(log.question("t2", "One?", { replaces: "t1" }));
  assert.deepEqual(rows(chat).map(({ turn }) => turn), ["t2"]);
});

test("what runs is the first turn without an end, else the question that was asked last", async () => {
  const { chat, socket } = client();
  const log = new Log();
  socket.deliver(log.ready(), log.question("t1"), await log.done("t1"));
  assert.equal(running(chat), undefined);
  chat.ask("Two?");
  const three = chat.ask("Three?");
  assert.equal(running(chat), three.id);
  socket.deliver(log.question("t2"), log.question("t3"));
  assert.equal(running(chat), "t2");
});

/** A client with two turns that have ended. */
async function answeredClient() {
  const all = openedClient();
  for (const turn of ["t1", "t2"]) all.socket.deliver(all.log.question(turn), await all.log.done(turn));
  return all;
}
const pendingOf = (chat) => rows(chat).map(({ pending }) => pending);

test("a row says which command about its turn has no answer yet, with a connection or without", async () => {
  const commands = {
    retry: (chat) => chat.retry("t1"),
    edit: (chat) => chat.edit("t1", "What?", { id: "e1" }),
    fork: (chat) => chat.fork("t1"),
  };
  for (const [type, act] of Object.entries(commands))
    for (const isOffline of [false, true]) {
      const { chat, socket } = await answeredClient();
      if (isOffline) socket.closeWith();
      assert.deepEqual(pendingOf(chat), [null, null]);
      const { id } = act(chat);
      assert.deepEqual(pendingOf(chat).slice(0, 2), [type, null]);
      if (isOffline) chat.close();
      else socket.deliver({ type: "error", code: "busy", message: "", retryable: true, id });
      assert.deepEqual(pendingOf(chat), [null, null]);
    }
});

test("a retry that names no turn is about the last one, until its question is in the log", async () => {
  const { chat, socket, log } = await answeredClient();
  const { id } = chat.retry();
  chat.history();
  chat.forget("s9");
  chat.ask("Next?");
  assert.deepEqual(pendingOf(chat), [null, "retry", null]);
  socket.deliver(log.question("t3", "Why?", { id, replaces: "t2" }));
  assert.deepEqual(pendingOf(chat), [null, null, null]);
});

test("a turn that is being stopped says so until it has ended", async () => {
  const { chat, socket, log } = openedClient();
  socket.deliver(log.question("t1"));
  chat.cancel();
  socket.deliver(log.token("t1", "So"));
  assert.deepEqual(pendingOf(chat), ["cancel"]);
  socket.deliver(await log.done("t1", { reason: "cancelled" }));
  assert.deepEqual(pendingOf(chat), [null]);
});

test("a row that has not changed is the same object", async () => {
  const { chat, socket, log } = await answeredClient();
  const before = rows(chat);
  chat.retry("t2");
  socket.deliver(log.question("t3"));
  const after = rows(chat);
  assert.deepEqual(before.map((row, place) => row === after[place]), [true, false]);
  assert.equal(rows(chat)[1], after[1]);
});

test("rows of what has no requests have nothing pending", async () => {
  const { view } = (await answeredClient()).chat;
  assert.deepEqual(pendingOf({ view, pending: () => [] }), [null, null]);
});
