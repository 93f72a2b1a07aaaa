import assert from "node:assert/strict";
import { test } from "node:test";
import { rows, running } from "../../client/rows.js";
import { client, Log } from "./fakes.js";

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
