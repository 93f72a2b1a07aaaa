import assert from "node:assert/strict";
import { test } from "node:test";
import { rows, running } from "../../client/rows.js";
import { client, Log } from "./fakes.js";

test("questions that the log does not have yet stand after its turns, until it has them", async () => {
  const { bot, socket } = client();
  const log = new Log();
  socket.says(log.ready(), log.question("t1", "One?"), log.token("t1", "1"), await log.done("t1"));
  const [two, three] = [bot.ask("Two?"), bot.ask("Three?")];
  const drawn = () => rows(bot).map(({ turn, question, status }) => [turn, question, status]);
  assert.deepEqual(drawn(), [["t1", "One?", "ended"], [null, "Two?", "sending"], [null, "Three?", "sending"]]);
  assert.deepEqual(rows(bot).map(({ id }) => id).slice(1), [two.id, three.id]);
  socket.says(log.question("t2", "Two?", { id: two.id }));
  assert.deepEqual(drawn().slice(1), [["t2", "Two?", "waiting"], [null, "Three?", "sending"]]);
});

test("what a retry replaces is not drawn, and a retry that is on its way is no question", async () => {
  const { bot, socket } = client();
  const log = new Log();
  socket.says(log.ready(), log.question("t1", "One?"), await log.done("t1"));
  bot.retry("t1");
  assert.deepEqual(rows(bot).map(({ turn }) => turn), ["t1"]);
  socket.says(log.question("t2", "One?", { replaces: "t1" }));
  assert.deepEqual(rows(bot).map(({ turn }) => turn), ["t2"]);
});

test("what runs is the first turn without an end, else the question that was asked last", async () => {
  const { bot, socket } = client();
  const log = new Log();
  socket.says(log.ready(), log.question("t1"), await log.done("t1"));
  assert.equal(running(bot), undefined);
  bot.ask("Two?");
  const three = bot.ask("Three?");
  assert.equal(running(bot), three.id);
  socket.says(log.question("t2"), log.question("t3"));
  assert.equal(running(bot), "t2");
});
