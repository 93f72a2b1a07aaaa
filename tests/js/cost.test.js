/** What the client costs, as ratios of this thread's processor time, of which each is the least of a few rounds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rows } from "../../client/rows.js";
import { empty, shown, view } from "../../client/view.js";
import { client, cpuMilliseconds, Log } from "./fakes.js";

const QUADRUPLE = 4; // what is linear costs this much for four times as much, what is quadratic four times that
const LIMIT = 2 * QUADRUPLE;
const WORDS = [" the", " answer", ",", " 한국", "\n", " token", "s", "er", " 🙂"];

const REPEATS = 200; // the clock of a thread's time may tick each 4 ms

/** Returns the least processor time that an action takes, many times over, in a few rounds, in milliseconds. */
function timeOf(action) {
  const times = Array.from({ length: 3 }, () => {
    const start = cpuMilliseconds();
    for (let count = 0; count < REPEATS; count += 1) action();
    return cpuMilliseconds() - start;
  });
  return Math.min(...times);
}

function assertLinear(few, many) {
  assert.ok(many < LIMIT * few, `${few} ms, then ${many} ms`);
}

/** Returns the question t1 and the slices of its answer, as they are received. */
function answerFrames(count, id = "a1") {
  const log = new Log();
  log.question("t1", "Why?", { id });
  for (let number = 0; number < count; number += 1) log.token("t1", WORDS[number % WORDS.length]);
  return log.events.map((event) => JSON.stringify(event));
}

/** Returns a view of so many turns, of which each replaces the one before, or none does. */
function turnsOf(count, { replacing = false } = {}) {
  const log = new Log();
  const frames = [log.ready()];
  for (let number = 0; number < count; number += 1) {
    const replaces = replacing && number ? `t${number - 1}` : null;
    frames.push(log.question(`t${number}`, "Why?", { replaces }), { ...log.add({ type: "done", turn: `t${number}` }), reason: "stop" });
  }
  return frames.reduce((state, frame) => view(state, frame), empty);
}

test("an answer that is iterated a token at a time takes time in proportion to its length", async () => {
  async function iterate(count) {
    const { chat, socket } = client();
    socket.deliver(new Log().ready());
    const asked = chat.ask("Why?");
    const frames = answerFrames(count, asked.id);
    let pieces = 0;
    const reading = (async () => {
      for await (const text of asked) pieces += text ? 1 : 0;
    })();
    const start = cpuMilliseconds();
    for (const data of frames) {
      socket.onmessage({ data });
      await new Promise(setImmediate);
    }
    const took = cpuMilliseconds() - start;
    assert.equal(pieces, count, "a token at a time");
    chat.close();
    await assert.rejects(reading, { code: "closed" });
    return took;
  }
  assertLinear(await iterate(15_000), await iterate(QUADRUPLE * 15_000));
});

test("the turns to show are found in time in proportion to all, where each replaces the one before", () => {
  const chatOf = (count) => ({ view: turnsOf(count, { replacing: true }), pending: () => [] });
  const [few, many] = [chatOf(1000), chatOf(QUADRUPLE * 1000)];
  assert.equal(rows(many).length, 1);
  for (const read of [(chat) => shown(chat.view.turns), rows]) assertLinear(timeOf(() => read(few)), timeOf(() => read(many)));
});

test("a page of history is merged in time in proportion to the turns", () => {
  const records = Array.from({ length: 20 }, (_, place) => ({ turn: `old${place}`, text: "?", from: place - 100, seq: place - 98, reason: "stop" }));
  const frame = { type: "history", session: "s1", turns: records, more: true };
  const [few, many] = [turnsOf(1000), turnsOf(QUADRUPLE * 1000)];
  assertLinear(timeOf(() => view(few, frame)), timeOf(() => view(many, frame)));
});

/** Returns an action that gives frames to a client which has a number of turns, and returns the time that this takes. */
function receiver(frames, { turns = 0 } = {}) {
  return () => {
    const { chat, socket } = client({ keep: Infinity });
    const before = turnsOf(turns);
    const records = before.turns.map(({ question, ...turn }) => ({ ...turn, turn: `old ${turn.turn}`, text: question, from: turn.from - 1e6 }));
    socket.deliver(new Log().ready(), { type: "history", session: "s1", turns: records, more: false });
    const start = cpuMilliseconds();
    for (const data of frames) socket.onmessage({ data });
    const took = cpuMilliseconds() - start;
    assert.equal(chat.view.turns.length, turns + 1);
    chat.close();
    return took;
  };
}

test("a token costs at most twice what a client takes that only parses its frame", () => {
  const frames = answerFrames(50_000);
  const parse = () => {
    let answer = "";
    const start = cpuMilliseconds();
    for (const data of frames) {
      const frame = JSON.parse(data);
      if (frame.type === "token") answer += frame.text;
    }
    const took = cpuMilliseconds() - start;
    assert.ok(answer);
    return took;
  };
  const receive = receiver(frames);
  const rounds = Array.from({ length: 7 }, () => [parse(), receive()]);
  const [parsed, received] = [0, 1].map((place) => Math.min(...rounds.map((round) => round[place])));
  assert.ok(received < 2 * parsed, `${received} ms, ${parsed} ms of parsing`);
});

test("a token costs as much in a long conversation as in a short one", () => {
  const frames = answerFrames(30_000);
  const leastTime = (turns) => Math.min(...Array.from({ length: 5 }, receiver(frames, { turns })));
  const [short, long] = [leastTime(10), leastTime(5000)];
  assert.ok(long < 3 * short, `${short} ms, then ${long} ms`);
});

test("frames that come quickly restart no timer each", () => {
  let started = 0;
  const timers = { setTimeout: () => (started += 1), clearTimeout() {} };
  const { socket } = client({ timers });
  const log = new Log();
  socket.deliver(log.ready(), log.question("t1"));
  started = 0;
  for (let count = 0; count < 100; count += 1) socket.deliver(log.token("t1", "a"), { type: "alive" });
  assert.ok(started <= 1, `${started} timers`);
});
