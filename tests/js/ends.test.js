/** How requests end: each once, by its answer, an error, the end of the conversation or its time limit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertEndsWith, client, collect, collectEvents, flushPromises, Log, openedClient, Storage } from "./fakes.js";

const MINUTE = 60_000;
const refusal = (id, code, more) => ({ type: "error", code, message: code, retryable: false, id, ...more });
const codesOf = (errors) => errors.map(({ code }) => code);

process.on("unhandledRejection", (reason) => {
  throw new Error("a rejection that nobody handles is reported", { cause: reason });
});

/** All calls that make a request, on a client that has asked one thing. */
const CALLS = {
  ask: (chat) => chat.ask("Why?"),
  retry: (chat) => chat.retry("t1"),
  edit: (chat) => chat.edit("t1", "What?"),
  fork: (chat) => chat.fork("t1"),
  cancel: (chat) => chat.cancel("t1"),
  "cancel without a turn": (chat) => chat.cancel(),
  history: (chat) => chat.history(),
  forget: (chat) => chat.forget(),
  "forget of another session": (chat) => chat.forget("s9"),
};
const isQuestion = (call) => ["ask", "retry", "edit"].includes(call);

/** A client with a turn that runs, which somebody else has asked. */
function busyClient() {
  const all = openedClient();
  all.socket.deliver(all.log.question("t1"));
  return all;
}

// --- after the end ---------------------------------------------------------------------------------------------------

for (const [call, act] of Object.entries(CALLS))
  for (const [code, end] of [["closed", ({ chat }) => chat.close()], ["unauthorized", ({ socket }) => socket.closeWith(4401)], ["forbidden", ({ socket }) => socket.closeWith(4403)]])
    test(`${call}, before and after the end (${code}), rejects with that code`, async () => {
      const all = busyClient();
      const before = act(all.chat);
      end(all);
      await assert.rejects(before, { code });
      const after = act(all.chat);
      await assert.rejects(after, { code });
      if (isQuestion(call)) await Promise.all([assertEndsWith(before, code), assertEndsWith(after, code)]);
      assert.deepEqual(all.chat.pending(), []);
      all.timers.advance(1e7);
      assert.equal(all.sockets.length, 1);
    });

test("fresh after the end changes nothing, and a second close neither", () => {
  const { chat, sockets } = openedClient();
  const states = collectEvents(chat, "state");
  chat.close();
  chat.fresh();
  chat.close();
  assert.deepEqual([states, sockets.length, chat.state], [["closed"], 1, "closed"]);
});

test("no timer is left after the end, whenever it comes", async () => {
  const events = ["state", "change", "frame", "error"];
  const moments = {
    "a frame": ({ socket, log }) => socket.deliver(log.question("t1")),
    "a second ready": ({ socket, log }) => socket.deliver(log.ready(0, { log: "two" }), log.ready(0, { log: "three" })),
    "going_away": ({ socket }) => socket.deliver({ type: "going_away", reconnect_after: 1000 }),
    "retry_after": ({ socket }) => socket.deliver(refusal(undefined, "overloaded", { retry_after: 1000 })),
    "a lost connection": ({ socket }) => socket.closeWith(),
    "a frame that is refused": ({ socket }) => socket.closeWith(1009),
    "a session that is gone": ({ socket }) => socket.closeWith(4404),
    "another conversation": ({ chat }) => chat.fresh(),
    "a wake-up": ({ page }) => page.dispatchEvent(new Event("online")),
  };
  for (const [moment, act] of Object.entries(moments))
    for (const event of events) {
      const all = openedClient();
      const requests = [all.chat.ask("Why?"), all.chat.history(), all.chat.forget("s9"), all.chat.cancel("t1")];
      all.chat.addEventListener(event, all.chat.close);
      act(all);
      all.chat.close();
      assert.deepEqual([all.chat.state, all.timers.count], ["closed", 0], `${event} after ${moment}`);
      for (const request of requests) await assert.rejects(request);
    }
});

// --- time limits -----------------------------------------------------------------------------------------------------

for (const [call, act] of Object.entries(CALLS))
  test(`${call} has 60 s on an open connection, each time from the beginning`, async () => {
    const all = busyClient();
    const { chat, timers, sockets, log } = all;
    const errors = collectEvents(chat, "error");
    const keepAlive = (milliseconds) => {
      for (const step of [30_000, milliseconds - 30_000]) timers.advance(step), sockets.at(-1).deliver({ type: "alive" });
    };
    const request = act(chat);
    let isOver = false;
    request.catch(() => (isOver = true));
    keepAlive(MINUTE - 1);
    sockets[0].closeWith();
    timers.advance(500);
    timers.advance(40_000); // offline
    sockets.at(-1).deliver(log.ready(1));
    keepAlive(MINUTE - 1);
    await flushPromises();
    assert.equal(isOver, false);
    timers.advance(1);
    await assert.rejects(request, { code: "timeout" });
    if (isQuestion(call)) await assertEndsWith(request, "timeout");
    assert.deepEqual(codesOf(errors), ["timeout"]);
    sockets.at(-1).closeWith();
    timers.advance(30_000);
    sockets.at(-1).deliver(log.ready(1));
    assert.deepEqual(sockets.at(-1).sent, [], "it is not sent again");
  });

test("what is sent again on the same connection, to another history, has its 60 s anew", async () => {
  const { chat, timers, socket, log } = openedClient();
  const asked = chat.ask("Why?");
  timers.advance(40_000);
  socket.deliver(log.ready(0, { log: "another" }));
  assert.deepEqual(socket.sent.map(({ id }) => id), [asked.id, asked.id]);
  timers.advance(40_000);
  socket.deliver({ type: "alive" });
  timers.advance(19_999);
  assert.equal(chat.pending().length, 1);
  timers.advance(1);
  await assertEndsWith(asked, "timeout");
});

test("a question that timed out is cancelled if it gets into the log after all", async () => {
  const { chat, timers, socket, log } = openedClient();
  const asked = chat.ask("Why?");
  timers.advance(30_000);
  socket.deliver({ type: "alive" });
  timers.advance(30_000);
  await assert.rejects(asked, { code: "timeout" });
  socket.deliver(log.question("t1", "Why?", { id: asked.id }));
  assert.deepEqual(socket.sent.slice(1).map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
});

test("an answer may take as long as it takes", async () => {
  const { chat, timers, socket, log } = openedClient();
  const asked = chat.ask("Why?");
  socket.deliver(log.question("t1", "Why?", { id: asked.id }));
  for (let minute = 0; minute < 100; minute += 1) timers.advance(30_000), socket.deliver({ type: "alive" });
  socket.deliver(await log.done("t1"));
  assert.equal((await asked).reason, "stop");
});

// --- questions -------------------------------------------------------------------------------------------------------

test("half an emoji is told at once, and nothing is sent", async () => {
  const { chat, socket } = openedClient();
  const errors = collectEvents(chat, "error");
  for (const asked of [chat.ask("Why \ud83d?"), chat.edit("t1", "\udc00"), chat.retry("t\ud83d"), chat.ask("Why?", { model: "\ud83d" })]) {
    await assertEndsWith(asked, "invalid_frame");
    await assert.rejects(asked, /half an emoji/);
  }
  assert.deepEqual([socket.sent, chat.pending(), errors.length], [[], [], 4]);
  assert.equal(errors[0].text, "Why \ud83d?");
  chat.ask("Why 🙂?");
  assert.equal(socket.sent.length, 1);
});

test("a frame that JSON does not have is told at once", async () => {
  const { chat, socket } = openedClient();
  for (const before of [NaN, Infinity]) await assert.rejects(chat.history({ before }), { code: "invalid_frame" });
  await assertEndsWith(chat.ask("Why?", { max_tokens: 5n }), "invalid_frame");
  await assert.rejects(chat.history({ limit: 5n }), { code: "invalid_frame" });
  assert.deepEqual(socket.sent, []);
});

test("an id that is given is used, by ask, retry and edit", () => {
  const { chat, socket } = openedClient();
  const asked = [chat.ask("Why?", { id: "q1" }), chat.retry("t1", { id: "q2" }), chat.edit("t1", "What?", { id: "🙂".repeat(64) })];
  assert.deepEqual(socket.sent.map(({ id }) => id), ["q1", "q2", "🙂".repeat(64)]);
  assert.deepEqual(asked.map(({ id }) => id), ["q1", "q2", "🙂".repeat(64)]);
  assert.match(chat.ask("Why?", { id: undefined }).id, /^[0-9a-f]{32}$/);
});

test("an id of no characters, of too many, or that is no text is told at once", async () => {
  const { chat, socket } = openedClient();
  for (const id of ["", "x".repeat(65), 5, {}, ["q1"], Symbol("q1")]) await assertEndsWith(chat.ask("Why?", { id }), "invalid_frame");
  assert.deepEqual(socket.sent, []);
});

test("null is no id: each question has one of its own", async () => {
  const { chat, socket, log } = openedClient();
  const asked = ["Why?", "What?"].map((text) => chat.ask(text, { id: null }));
  assert.deepEqual(socket.sent.map(({ text }) => text), ["Why?", "What?"]);
  for (const { id } of socket.sent) assert.match(id, /^[0-9a-f]{32}$/);
  for (const [place, { id, text }] of socket.sent.entries()) {
    socket.deliver(log.question(`t${place}`, text, { id }));
    socket.deliver(await log.done(`t${place}`));
  }
  assert.deepEqual((await Promise.all(asked)).map(({ turn }) => turn), ["t0", "t1"]);
});

test("an id that is pending is that same request", async () => {
  const { chat, socket, log } = openedClient();
  const asked = chat.ask("Why?", { id: "q1" });
  assert.equal(chat.ask("Why?", { id: "q1" }), asked);
  socket.deliver(log.question("t1", "Why?", { id: "q1" }));
  assert.equal(chat.ask("Why?", { id: "q1" }), asked);
  assert.equal(socket.sent.length, 1);
});

test("an id that is in the view already settles from there", async () => {
  const { chat, socket, log } = openedClient();
  socket.deliver(log.question("t1", "Why?", { id: "q1" }), log.token("t1", "So."), await log.done("t1"));
  socket.deliver(log.question("t2", "What?", { id: "q2" }), log.token("t2", "Th"));
  const ended = chat.ask("Why?", { id: "q1" });
  const running = chat.ask("What?", { id: "q2" });
  assert.deepEqual(chat.pending(), []);
  assert.deepEqual([(await ended).turn, await collect(ended)], ["t1", ["So."]]);
  const pieces = collect(running);
  await flushPromises();
  socket.deliver(log.token("t2", "is."), await log.done("t2"));
  assert.equal((await running).answer, "This.");
  assert.equal((await pieces).join(""), "This.");
  assert.deepEqual(socket.sent, []);
});

test("a question that was withdrawn may be asked again with its id", async () => {
  const { chat, socket, log } = openedClient();
  const first = chat.ask("Why?", { id: "q1" });
  await chat.cancel("q1");
  const second = chat.ask("Why?", { id: "q1" });
  assert.notEqual(first, second);
  socket.deliver(log.question("t1", "Why?", { id: "q1" }));
  socket.deliver(await log.done("t1"));
  assert.equal((await second).turn, "t1");
  await assert.rejects(first, { code: "cancelled" });
  assert.deepEqual(socket.sent.map(({ type }) => type), ["ask", "ask"]);
});

// --- the same command again ------------------------------------------------------------------------------------------

for (const [call, act] of Object.entries(CALLS))
  test(`${call} that is made again before it has ended is ${call === "ask" ? "another one" : "the same one, and sent once"}`, async () => {
    for (const isOffline of [false, true]) {
      const all = busyClient();
      if (isOffline) all.socket.closeWith();
      const [first, second] = [act(all.chat), act(all.chat)];
      all.timers.advance(500);
      if (isOffline) all.sockets[1].deliver(all.log.ready(1));
      assert.equal(first === second, call !== "ask");
      assert.equal(all.sockets.at(-1).sent.length, call === "ask" ? 2 : 1);
      all.chat.close();
      await assert.rejects(second, { code: "closed" });
    }
  });

test("commands with other turns, fields or ids are others", () => {
  const { chat, socket } = openedClient();
  const calls = [
    () => chat.retry("t1"),
    () => chat.retry("t2"),
    () => chat.retry(),
    () => chat.retry("t1", { model: "m2" }),
    () => chat.retry("t1", { id: "r1" }),
    () => chat.edit("t1", "One?"),
    () => chat.edit("t1", "Two?"),
    () => chat.fork("t1"),
    () => chat.fork("t2"),
    () => chat.history({ limit: 1 }),
    () => chat.history({ limit: 2 }),
    () => chat.cancel("t1"),
    () => chat.forget("s8"),
    () => chat.forget("s9"),
  ];
  const made = calls.map((call) => call());
  assert.equal(new Set(made).size, calls.length);
  calls.forEach((call, place) => assert.equal(call(), made[place]));
  assert.equal(socket.sent.length, calls.length);
});

test("a retry is the same one until its answer has ended, and then another", async () => {
  const { chat, socket, log } = openedClient();
  socket.deliver(log.question("t1"), await log.done("t1"));
  const first = chat.retry("t1");
  socket.deliver(log.question("t2", "Why?", { id: first.id, replaces: "t1" }), log.token("t2", "So."));
  const second = chat.retry("t1");
  assert.equal(second, first);
  socket.deliver(await log.done("t2"));
  assert.deepEqual([(await second).turn, await collect(second)], ["t2", ["So."]]);
  assert.notEqual(chat.retry("t1"), first);
});

test("a command that was refused may be made again", async () => {
  const { chat, socket } = openedClient();
  const first = chat.fork("t1");
  socket.deliver(refusal(first.id, "busy"));
  await assert.rejects(first, { code: "busy" });
  assert.notEqual(chat.fork("t1").id, first.id);
  assert.equal(socket.sent.length, 2);
});

// --- fork ------------------------------------------------------------------------------------------------------------

/** A client that has forked a turn. */
async function forked(options) {
  const all = openedClient();
  all.socket.deliver(all.log.question("t1", "Why?"), all.log.token("t1", "So."), await all.log.done("t1"));
  const fork = new Log("s2");
  for (const { seq, session, ...event } of all.log.events) fork.add({ ...event, turn: "f1" });
  const result = all.chat.fork("t1", options);
  return { ...all, fork, result, ready: fork.ready(0, { id: result.id }) };
}
const framesOf = ({ sent }) => sent.map(({ id, ...frame }) => frame);

test("a fork resolves to the ready of its session, which is left at once, and nothing of it is shown", async () => {
  const { chat, socket, log, fork, result, ready, storage } = await forked({ id: "f1" });
  const [frames, errors] = ["frame", "error"].map((type) => collectEvents(chat, type));
  const before = chat.view;
  socket.deliver(ready, ...fork.events, fork.token("f1", " More."), { type: "history", session: "s2", id: "h", turns: [], more: false });
  assert.deepEqual((await result).session, "s2");
  assert.deepEqual(framesOf(socket), [{ type: "fork", session: "s1", turn: "t1" }, { type: "detach", session: "s2" }]);
  assert.deepEqual([chat.view.turns, chat.view.seq, chat.session, [...storage.kept.values()]], [before.turns, before.seq, "s1", ["s1"]]);
  assert.deepEqual([frames.map(({ session }) => session).filter((session) => session !== "s2"), errors], [[], []]);
  socket.deliver(log.question("t2"), log.token("t2", "Here."));
  assert.deepEqual(chat.view.turns.map(({ answer }) => answer), ["So.", "Here."]);
});

test("events of a fork are no progress, no gap and no reason to come back, and a sign of life", async () => {
  const { chat, log, fork, ready, timers, sockets } = await forked();
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(log.seq), ready);
  timers.advance(44_000);
  sockets[1].deliver(...Array.from({ length: 50 }, () => fork.token("f1", "x")), { ...fork.token("f1", "gap"), seq: 1e6 });
  timers.advance(44_000);
  assert.equal(chat.state, "open");
  sockets[1].closeWith();
  timers.advance(999);
  assert.equal(sockets.length, 2, "the second attempt waits up to 1 s");
  timers.advance(1);
  assert.equal(sockets[2].after(), String(log.seq));
});

test("what is sent while two sessions are read says which one it is about", async () => {
  const { chat, socket } = await forked();
  chat.ask("Why?");
  chat.cancel("t9");
  assert.deepEqual(socket.sent.map(({ session }) => session), ["s1", "s1", "s1"]);
});

test("a fork is sent again on a new connection with its id, and the rest as always", async () => {
  const { chat, sockets, timers, log, result, ready } = await forked();
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(log.seq));
  assert.deepEqual(sockets[1].sent, [sockets[0].sent[0]]);
  sockets[1].deliver(ready);
  assert.equal((await result).session, "s2");
  sockets[1].closeWith();
  timers.advance(1000);
  sockets[2].deliver(log.ready(log.seq));
  chat.ask("Why?");
  assert.deepEqual(framesOf(sockets[2]), [{ type: "ask", text: "Why?" }]);
});

test("a fork that is refused rejects, and so does one on a server that has none", async () => {
  for (const code of ["busy", "turn_not_found", "unknown_type"]) {
    const { chat, socket, result } = await forked();
    const errors = collectEvents(chat, "error");
    socket.deliver(refusal(result.id, code));
    await assert.rejects(result, { code });
    assert.deepEqual([codesOf(errors), chat.state], [[code], "open"]);
  }
});

test("a fork that comes too late is left, too", async () => {
  const { socket, timers, result, ready } = await forked();
  timers.advance(30_000);
  socket.deliver({ type: "alive" });
  timers.advance(30_000);
  await assert.rejects(result, { code: "timeout" });
  socket.deliver(ready);
  assert.deepEqual(framesOf(socket).at(-1), { type: "detach", session: "s2" });
});

test("a fork that is this conversation is not left", async () => {
  const { chat, socket, log, result } = await forked();
  socket.deliver(log.ready(0, { id: result.id }), log.question("t2"));
  assert.equal((await result).session, "s1");
  assert.deepEqual([socket.sent.length, chat.view.turns.length], [1, 2]);
});

// --- frames that the server does not take ----------------------------------------------------------------------------

/** A client that has asked three things, of which the first is acknowledged. */
function threeAsked() {
  const all = openedClient();
  const asked = [all.chat.ask("In the log"), all.chat.ask("A long question: 한국어"), all.chat.ask("Also a long question"), all.chat.retry("t1")];
  all.socket.deliver(all.log.question("t1", "In the log", { id: asked[0].id }));
  return { ...all, asked };
}

for (const [code, bad, error] of [[1009, 1, "question_too_long"], [1008, 1, "invalid_frame"], [1003, 1, "invalid_frame"]])
  test(`one request fails for a close with ${code}, and the others go on`, async () => {
    const { chat, asked, sockets, timers, log } = threeAsked();
    const errors = collectEvents(chat, "error");
    sockets[0].closeWith(code);
    await assertEndsWith(asked[bad], error);
    assert.deepEqual(errors.map(({ id, code, text }) => [id, code, text]), [[asked[bad].id, error, "A long question: 한국어"]]);
    timers.advance(500);
    sockets[1].deliver(log.ready(1));
    const rest = asked.filter((_, place) => place > 0 && place !== bad);
    assert.deepEqual(sockets[1].sent.map(({ id }) => id), rest.map(({ id }) => id));
    sockets[1].deliver(await log.done("t1"));
    assert.equal((await asked[0]).reason, "stop");
  });

test("the longest is the one with the most bytes, wherever it is in the order", async () => {
  const { chat, socket } = openedClient();
  const asked = [chat.ask("one, two, three, four"), chat.ask("한국어 한국어 한국어"), chat.ask("five, six, seven, eig")];
  socket.closeWith(1009);
  await assert.rejects(asked[1], { code: "question_too_long" });
  assert.deepEqual(chat.pending().map(({ id }) => id), [asked[0].id, asked[2].id]);
});

test("a request that was not sent on the connection is not what it was closed for", async () => {
  const { chat, sockets, timers, log } = openedClient();
  const first = chat.ask("A question");
  sockets[0].deliver({ type: "going_away", reconnect_after: 1e6 });
  const offline = chat.ask("A question that is much longer");
  sockets[0].closeWith(1009);
  await assert.rejects(first, { code: "question_too_long" });
  assert.deepEqual(chat.pending().map(({ id }) => id), [offline.id]);
  timers.advance(500);
  sockets[1].closeWith(1009);
  assert.deepEqual(chat.pending().map(({ id }) => id), [offline.id]);
  timers.advance(1000);
  sockets[2].deliver(log.ready());
  assert.deepEqual(sockets[2].sent.map(({ id }) => id), [offline.id]);
});

test("what is no question fails with invalid_frame for a close with 1009", async () => {
  const { chat, socket } = openedClient();
  const history = chat.history();
  socket.closeWith(1009);
  await assert.rejects(history, { code: "invalid_frame" });
});

test("a frame of more bytes than the server takes is never sent, whether there is a connection or not", async () => {
  for (const isOffline of [true, false]) {
    const { chat, socket, log } = { log: new Log(), ...client() };
    const ready = () => socket.deliver(log.ready(0, { limits: { frame_bytes: 200 } }));
    const errors = collectEvents(chat, "error");
    if (!isOffline) ready();
    const asked = chat.ask("한".repeat(50));
    const fine = chat.ask("x".repeat(50));
    const retried = chat.retry("t1", { model: "m".repeat(150) });
    if (isOffline) ready();
    await assertEndsWith(asked, "question_too_long");
    await assertEndsWith(retried, "invalid_frame");
    assert.deepEqual(socket.sent.map(({ id }) => id), [fine.id]);
    assert.equal(errors[0].text, "한".repeat(50));
  }
});

test("a frame of exactly as many bytes is sent", () => {
  const { chat, socket, log } = openedClient();
  const frame = { id: "q1", type: "ask", text: "한🙂" };
  socket.deliver(log.ready(0, { limits: { frame_bytes: Buffer.byteLength(JSON.stringify(frame)) } }));
  chat.ask("한🙂", { id: "q1" });
  assert.equal(socket.sent.length, 1);
});

// --- cancel ----------------------------------------------------------------------------------------------------------

test("cancel with nothing to cancel is over at once, and never sent", async () => {
  const { chat, sockets, timers, log } = openedClient();
  await chat.cancel();
  sockets[0].deliver(log.question("t1"), await log.done("t1"));
  await chat.cancel();
  await chat.cancel("t1");
  sockets[0].closeWith();
  await chat.cancel();
  timers.advance(500);
  sockets[1].deliver(log.ready(log.seq), log.question("t2"));
  assert.deepEqual(sockets.flatMap(({ sent }) => sent), []);
});

test("cancel without a turn gives up all questions that are not in the log, where none runs", async () => {
  const { chat, socket, log } = openedClient();
  const asked = [chat.ask("One?"), chat.retry("t0")];
  const history = chat.history();
  await chat.cancel();
  for (const each of asked) await assertEndsWith(each, "cancelled");
  socket.deliver(log.question("t1", "One?", { id: asked[0].id }));
  assert.deepEqual(socket.sent.slice(3).map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  socket.deliver({ type: "history", session: "s1", id: history.id, turns: [], more: false });
  await history;
});

test("cancel of a question that is in the log stops its turn, and is over with it", async () => {
  const { chat, socket, log } = openedClient();
  const asked = chat.ask("Why?");
  socket.deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "So"));
  const cancelled = chat.cancel(asked.id);
  assert.deepEqual(socket.sent.slice(1).map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  let isOver = false;
  cancelled.then(() => (isOver = true));
  await flushPromises();
  assert.equal(isOver, false);
  socket.deliver(await log.done("t1", { reason: "cancelled" }));
  await cancelled;
  assert.equal((await asked).reason, "cancelled");
  await chat.cancel(asked.id);
});

test("a cancel that is refused rejects, and one whose turn is gone does not", async () => {
  const { chat, socket } = openedClient();
  const errors = collectEvents(chat, "error");
  const refused = chat.cancel("t1");
  const over = chat.cancel("t2");
  socket.deliver(refusal(socket.sent[0].id, "internal"), refusal(socket.sent[1].id, "turn_not_found"));
  await assert.rejects(refused, { code: "internal" });
  await over;
  assert.deepEqual(codesOf(errors), ["internal"]);
});

// --- forget ----------------------------------------------------------------------------------------------------------

test("a forget that is refused rejects, and the conversation stays", async () => {
  const { chat, socket, log } = openedClient();
  socket.deliver(log.question("t1"));
  for (const code of ["forbidden", "internal"]) {
    const forgotten = chat.forget();
    socket.deliver(refusal(forgotten.id, code, { session: "s1" }));
    await assert.rejects(forgotten, { code });
  }
  assert.deepEqual([chat.state, chat.session, chat.view.turns.length], ["open", "s1", 1]);
});

test("other sessions are deleted over this one's connection", async () => {
  const { chat, sockets, timers, log } = openedClient();
  const errors = collectEvents(chat, "error");
  sockets[0].deliver(log.question("t1"));
  const forgotten = [chat.forget("s8"), chat.forget("s9")];
  assert.deepEqual(sockets[0].sent.map(({ type, session }) => [type, session]), [["forget", "s8"], ["forget", "s9"]]);
  sockets[0].deliver(refusal(forgotten[0].id, "session_not_found", { session: "s8" }));
  await forgotten[0];
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(1));
  assert.deepEqual(sockets[1].sent.map(({ session }) => session), ["s9"], "it is sent again");
  sockets[1].deliver(refusal(forgotten[1].id, "session_not_found")); // a server that does not say which
  await forgotten[1];
  assert.deepEqual([chat.state, chat.view.turns.length, errors], ["open", 1, []]);
});

test("deleting other sessions goes on in another conversation", async () => {
  const { chat, sockets, timers } = openedClient();
  const forgotten = chat.forget("s9");
  chat.fresh();
  sockets[1].deliver(new Log("s2").ready());
  sockets[1].closeWith(4404);
  timers.advance(500);
  sockets[2].deliver(new Log("s3").ready());
  assert.deepEqual(sockets[2].sent.map(({ session }) => session), ["s9"]);
  sockets[2].deliver(refusal(forgotten.id, "session_not_found", { session: "s9" }));
  await forgotten;
  assert.equal(chat.session, "s3");
});

test("forget is over where the connection tells that the session is gone, or there is none yet", async () => {
  const { chat, socket } = openedClient();
  const forgotten = chat.forget();
  socket.closeWith(4404);
  await forgotten;
  await chat.forget();
  await client().chat.forget();
});

// --- fresh -----------------------------------------------------------------------------------------------------------

test("fresh gives back what is not in the log, and tells it", async () => {
  const { chat, sockets, log } = openedClient();
  const errors = collectEvents(chat, "error");
  const running = chat.ask("In the log");
  sockets[0].deliver(log.question("t1", "In the log", { id: running.id }));
  sockets[0].deliver({ type: "going_away", reconnect_after: 1000 });
  const asked = chat.ask("Typed while it drains");
  const edited = chat.edit("t1", "Edited");
  const history = chat.history();
  chat.fresh();
  for (const each of [running, asked, edited]) await assertEndsWith(each, "closed");
  await assert.rejects(history, { code: "closed" });
  assert.deepEqual(errors.map(({ code, id, text }) => [code, id, text]), [
    ["closed", asked.id, "Typed while it drains"],
    ["closed", edited.id, "Edited"],
  ]);
  assert.deepEqual([chat.pending(), chat.session], [[], null]);
  sockets[1].deliver(new Log("s2").ready());
  assert.deepEqual(sockets[1].sent, []);
});

test("who hears that a question was given up may ask it in the new conversation, or close it", () => {
  const one = openedClient();
  one.chat.ask("Why?");
  one.chat.addEventListener("error", ({ detail }) => one.chat.ask(detail.text));
  one.chat.fresh();
  assert.deepEqual(one.sockets[0].sent.length, 1);
  one.sockets[1].deliver(new Log("s2").ready());
  assert.deepEqual(one.sockets[1].sent.map(({ text }) => text), ["Why?"]);

  const two = openedClient();
  for (const text of ["Why?", "What?"]) two.chat.ask(text);
  const errors = collectEvents(two.chat, "error");
  two.chat.addEventListener("error", () => two.chat.close());
  two.chat.fresh();
  assert.deepEqual([two.chat.state, two.sockets.length, errors.length], ["closed", 1, 1]);
});

test("who hears that the view is empty may ask in the new conversation already", () => {
  const { chat, sockets } = openedClient();
  chat.addEventListener("change", () => chat.ask("At once?"), { once: true });
  chat.fresh();
  sockets[1].deliver(new Log("s2").ready());
  assert.deepEqual(sockets[1].sent.map(({ text }) => text), ["At once?"]);
});

test("an iterator is of its own request, though another one has its id", async () => {
  const { chat, socket, log } = openedClient();
  const first = chat.ask("Why?", { id: "q1" });
  const reading = collect(first);
  reading.catch(() => {});
  await chat.cancel("q1");
  const second = chat.ask("Why?", { id: "q1" });
  await assert.rejects(reading, { code: "cancelled" });
  socket.deliver(log.question("t1", "Why?", { id: "q1" }), log.token("t1", "So."), await log.done("t1"));
  assert.deepEqual(await collect(second), ["So."]);
});

test("what is pending is right at any moment", async () => {
  const { chat, sockets, log, timers } = openedClient();
  const texts = () => chat.pending().map(({ text }) => text);
  const [one, two, three] = ["One", "Two", "Three"].map((text) => chat.ask(text));
  assert.deepEqual(texts(), ["One", "Two", "Three"]);
  chat.addEventListener("frame", () => assert.deepEqual(texts(), ["Two", "Three"]), { once: true });
  sockets[0].deliver(log.question("t1", "One", { id: one.id }));
  chat.cancel(two.id);
  assert.deepEqual(texts(), ["Three"]);
  sockets[0].closeWith();
  assert.deepEqual(texts(), ["Three"]);
  timers.advance(500);
  sockets[1].deliver(log.ready(0, { log: "another", seq: 9 }));
  assert.deepEqual(texts(), ["Three"], "what was acknowledged is not asked again");
  sockets[1].deliver(refusal(three.id, "queue_full"));
  assert.deepEqual(texts(), []);
  chat.close();
  assert.deepEqual(texts(), []);
});

// --- another history -------------------------------------------------------------------------------------------------

for (const where of ["the next connection", "the same connection"])
  test(`in another history, on ${where}, a question that is in it goes on, and others are as they were`, async () => {
    const { chat, log, sockets, timers } = openedClient();
    sockets[0].deliver(log.ready(0, { log: "one" }));
    const [asked, lost, unsent] = ["Why?", "Lost?", "Not yet?"].map((text) => chat.ask(text));
    const texts = collect(asked);
    const lostTexts = collect(lost);
    sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "));
    sockets[0].deliver(log.question("t2", "Lost?", { id: lost.id }), log.token("t2", "half "), log.token("t2", "an answer"));
    await flushPromises();
    const history = chat.history();
    if (where === "the next connection") {
      sockets[0].closeWith();
      timers.advance(500);
    }
    const socket = sockets.at(-1);
    socket.sent.length = 0;
    const other = new Log();
    other.question("t7", "Why?", { id: asked.id });
    other.token("t7", "one ");
    socket.deliver(other.ready(0, { log: "two" }));
    assert.deepEqual(socket.sent.map(({ id }) => id), [unsent.id, history.id]);
    socket.deliver(other.events[0]);
    await flushPromises();
    assert.equal(chat.view.turns.length, 1);
    socket.deliver(other.events[1]);
    const turn = await lost;
    assert.deepEqual([turn.status, turn.reason, turn.answer, turn.turn], ["ended", "interrupted", "half an answer", "t2"]);
    assert.equal((await lostTexts).join(""), "half an answer");
    socket.deliver(other.token("t7", "two"), await other.done("t7"));
    assert.equal((await texts).join(""), "one two");
    assert.equal((await asked).turn, "t7");
    socket.deliver({ type: "history", session: "s1", id: history.id, turns: [], more: false });
    await history;
    assert.deepEqual(chat.pending().map(({ id }) => id), [unsent.id]);
  });

test("a log that is rewound to nothing interrupts what was answered there", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "So"));
  const texts = collect(asked);
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(new Log().ready(0));
  assert.equal((await asked).reason, "interrupted");
  assert.deepEqual(await texts, ["So"]);
  assert.deepEqual(sockets[1].sent, []);
});

test("a question that loses its history twice keeps what was received of its answer", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "So"));
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(0, { log: "two", seq: 9 }));
  sockets[1].closeWith();
  timers.advance(1000);
  sockets[2].deliver(new Log().ready(0, { log: "three" }));
  assert.deepEqual([(await asked).reason, (await asked).answer], ["interrupted", "So"]);
});

test("a question that is cancelled while its history is gone is cancelled where it comes back", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }));
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(0, { log: "two", seq: 9 }));
  await chat.cancel(asked.id);
  await assertEndsWith(asked, "cancelled");
  sockets[1].deliver(log.events[0]);
  assert.deepEqual(sockets[1].sent.map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
});

// --- answers that are damaged ----------------------------------------------------------------------------------------

/** A client that was sent a wrong answer, with what the server says to its `history`. */
async function wronglyAnswered() {
  const { chat, log, socket, sockets, timers } = openedClient();
  const asked = chat.ask("Capital?");
  const texts = collect(asked);
  texts.catch(() => {});
  socket.deliver(log.question("t1", "Capital?", { id: asked.id }));
  const token = log.token("t1", "Paris");
  socket.deliver({ ...token, text: "Parjs" });
  await flushPromises();
  const done = await log.done("t1");
  socket.deliver(done);
  await flushPromises();
  const { id, type } = socket.sent.at(-1);
  assert.equal(type, "history");
  const answerHistory = (answer) => {
    const turns = answer === null ? [] : [{ ...done, text: "Capital?", id: asked.id, answer, from: 0, created: "" }];
    socket.deliver({ type: "history", session: "s1", id, turns, more: false });
  };
  return { chat, asked, texts, id, socket, sockets, timers, log, answerHistory };
}

test("an iterator that has given wrong text says so at its end, though history has the answer", async () => {
  const { asked, texts, answerHistory } = await wronglyAnswered();
  answerHistory("Paris");
  assert.equal((await asked).answer, "Paris");
  await assert.rejects(texts, { code: "damaged" });
  assert.deepEqual(await collect(asked), ["Paris"]);
});

for (const [what, say] of [
  ["has a wrong answer too", ({ answerHistory }) => answerHistory("Parjs")],
  ["does not have the turn", ({ answerHistory }) => answerHistory(null)],
  ["is refused", ({ socket, id }) => socket.deliver(refusal(id, "internal"))],
  ["does not come", ({ socket, timers }) => (timers.advance(30_000), socket.deliver({ type: "alive" }), timers.advance(30_000))],
])
  test(`an answer is damaged where history ${what}`, async () => {
    const all = await wronglyAnswered();
    const errors = collectEvents(all.chat, "error");
    say(all);
    await assertEndsWith(all.asked, "damaged");
    await assert.rejects(all.texts, { code: "damaged" });
    assert.equal(errors.at(-1).code, "damaged");
    assert.equal(errors.at(-1).text, undefined, "the question is in the log");
  });

test("an answer that is no text is damaged", async () => {
  for (const answer of [null, 5, {}]) {
    const { asked, texts, socket, id, log } = await wronglyAnswered();
    const [, , done] = log.events;
    socket.deliver({ type: "history", session: "s1", id, turns: [{ ...done, text: "Capital?", id: asked.id, answer, from: 0 }], more: false });
    await assertEndsWith(asked, "damaged");
    await assert.rejects(texts, { code: "damaged" });
  }
});

test("an answer that is checked while its conversation is left ends no question of the next one", async () => {
  const { chat, sockets, log } = openedClient();
  const first = chat.ask("Why?", { id: "q1" });
  sockets[0].deliver(log.question("t1", "Why?", { id: "q1" }), log.token("t1", "Old."), await log.done("t1"));
  chat.fresh();
  const second = chat.ask("Why?", { id: "q1" });
  await assert.rejects(first, { code: "closed" });
  const other = new Log("s2");
  sockets[1].deliver(other.ready());
  await flushPromises();
  sockets[1].deliver(other.question("t2", "Why?", { id: "q1" }), other.token("t2", "New."), await other.done("t2"));
  assert.equal((await second).answer, "New.");
});

for (const code of [4401, 4403, 4404])
  test(`a close with ${code} right behind an answer takes nothing from it`, async () => {
    const { chat, sockets, log } = openedClient();
    const asked = chat.ask("Why?");
    sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "Because."), await log.done("t1"));
    sockets[0].closeWith(code);
    assert.equal((await asked).answer, "Because.");
  });

test("an error for a question that is in the log already does not end it: it was sent again", async () => {
  const { chat, sockets, log } = openedClient();
  const asked = chat.ask("Why?");
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }));
  sockets[0].deliver({ type: "error", id: asked.id, code: "rate_limited", message: "Later.", retryable: true, retry_after: 1000 });
  sockets[0].deliver(log.token("t1", "Because."), await log.done("t1"));
  assert.equal((await asked).answer, "Because.");
});

test("closing while an answer is fetched is closed, not damaged", async () => {
  const { chat, asked, texts } = await wronglyAnswered();
  const errors = collectEvents(chat, "error");
  chat.close();
  await assertEndsWith(asked, "closed");
  await assert.rejects(texts, { code: "closed" });
  await flushPromises();
  assert.deepEqual(errors, []);
});

test("a done of a turn that is unknown is no crash, and one without a check is a reason to come back", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), await log.done("t9"));
  const done = await log.done("t1");
  sockets[0].deliver({ ...done, check: undefined });
  assert.equal(chat.state, "waiting");
  timers.advance(500);
  sockets[1].deliver(log.ready(2), done);
  assert.equal((await asked).reason, "stop");
});

test("text that came before an error is iterated over, then the error", async () => {
  const ends = [
    [({ chat }) => chat.close(), "closed"],
    [({ socket }) => socket.closeWith(4404), "session_not_found"],
    [({ socket }) => socket.deliver(refusal(undefined, "session_not_found", { session: "s1" })), "session_not_found"],
    [({ socket }) => socket.closeWith(4401), "unauthorized"],
    [({ chat }) => chat.fresh(), "closed"],
  ];
  for (const [end, code] of ends) {
    const all = openedClient();
    const { chat, log, socket } = all;
    const asked = chat.ask("Why?");
    const pieces = [];
    const reading = (async () => {
      for await (const piece of asked) pieces.push(piece);
    })();
    socket.deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "Be"), log.token("t1", "cause"));
    end(all);
    await assert.rejects(reading, { code });
    assert.equal(pieces.join(""), "Because");
    assert.equal(chat.pending().length, 0);
  }
});

test("the first of two ends counts, and text after it is no part of the answer", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?");
  const texts = collect(asked);
  socket.deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "So."), await log.done("t1"));
  socket.deliver(await log.done("t1", { reason: "length" }), log.token("t1", "late"));
  assert.deepEqual([(await asked).reason, (await texts).join("")], ["stop", "So."]);
  assert.deepEqual(chat.view.turns.map(({ answer, reason, status }) => [answer, reason, status]), [["So.", "stop", "ended"]]);
});

test("an answer to another request of the same id ends nothing", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?");
  socket.deliver({ type: "history", session: "s1", id: asked.id, turns: [], more: false });
  assert.equal(chat.pending().length, 1);
  socket.deliver(log.question("t1", "Why?", { id: asked.id }), await log.done("t1"));
  assert.equal((await asked).turn, "t1");
});

test("an unknown reason is an end like any other", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?");
  const cancelled = () => chat.cancel("t1");
  socket.deliver(log.question("t1", "Why?", { id: asked.id }));
  const over = cancelled();
  socket.deliver(await log.done("t1", { reason: "rainbow" }));
  assert.equal((await asked).reason, "rainbow");
  await over;
});

// --- keys ------------------------------------------------------------------------------------------------------------

test("conversations at one URL are told apart by their names, at several by the URL", () => {
  const storage = new Storage();
  const open = (options) => client({ storage, ...options });
  const kinds = [{}, { name: "left" }, { name: "right" }, { url: "http://test/other" }, { url: "http://test:81/v1/chat" }];
  kinds.forEach((options, number) => open(options).socket.deliver(new Log(`s${number}`).ready()));
  assert.equal(storage.kept.size, kinds.length);
  const reopened = kinds.toReversed().map((options) => open(options).chat.session);
  assert.deepEqual(reopened, ["s4", "s3", "s2", "s1", "s0"]);
});

test("a key has no credentials, no query and no fragment", () => {
  const storage = new Storage();
  client({ storage, url: "http://user:hunter2@test/v1/chat?ticket=swordfish#token=x" }).socket.deliver(new Log("s1").ready());
  assert.deepEqual([...storage.kept], [["askbot.session ws://test/v1/chat ", "s1"]]);
  assert.equal(client({ storage, url: new URL("https://test/v1/chat") }).chat.session, null);
  assert.equal(client({ storage }).chat.session, "s1");
});
