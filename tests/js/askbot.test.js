import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "../../client/askbot.js";
import { client, Log, settled } from "./fakes.js";

const until = (bot, type) => new Promise((resolve) => bot.addEventListener(type, resolve, { once: true }));
const heard = (bot, type) => {
  const details = [];
  bot.addEventListener(type, ({ detail }) => details.push(detail));
  return details;
};

/** A client that has read `ready` of an empty session. */
function opened(options) {
  const all = client(options);
  const log = new Log();
  all.socket.says(log.ready());
  return Object.defineProperty({ ...all, log }, "socket", { get: () => all.sockets.at(-1) });
}

async function collected(pieces) {
  const texts = [];
  for await (const text of pieces) texts.push(text);
  return texts;
}

test("delay is full jitter, doubles, and ends at 30 s", () => {
  assert.deepEqual([0, 1, 2, 5, 6, 50, 2000].map((tries) => delay(tries, () => 1)), [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(delay(9, () => 0), 0);
  for (let tries = 0; tries < 100; tries += 1) assert.ok(delay(3) < 4000);
});

test("a new client connects without a session and keeps the one it is given", () => {
  const { bot, socket, storage } = client({ token: "secret" });
  assert.equal(socket.url.href, "ws://test/v1/chat");
  assert.deepEqual(socket.protocols, ["askbot.v1", "askbot.bearer.secret"]);
  assert.equal(bot.state, "connecting");
  socket.says(new Log("s7").ready());
  assert.equal(bot.state, "open");
  assert.equal(bot.session, "s7");
  assert.equal(storage.getItem("askbot.session"), "s7");
});

test("https becomes wss, and without a token only the protocol is offered", () => {
  const { socket } = client({ url: "https://example.org/v1/chat" });
  assert.equal(socket.url.protocol, "wss:");
  assert.deepEqual(socket.protocols, ["askbot.v1"]);
});

test("a page that loads continues the stored session without after, so that it can show all of it", () => {
  const { storage } = client();
  storage.setItem("askbot.session", "s1");
  const { socket } = client({ storage });
  assert.equal(socket.session(), "s1");
  assert.equal(socket.after(), null);
  assert.equal(client({ storage, session: "s2" }).socket.session(), "s2");
});

test("a storage that throws costs nothing but the memory", () => {
  const fail = () => {
    throw new Error("forbidden");
  };
  const { bot, socket } = client({ storage: { getItem: fail, setItem: fail, removeItem: fail } });
  socket.says(new Log().ready());
  bot.fresh();
  assert.equal(bot.state, "connecting");
});

test("an ask is awaited for the ended turn", async () => {
  const { bot, log, socket } = opened();
  const asked = bot.ask("Why?", { max_tokens: 5 });
  assert.deepEqual(socket.sent, [{ type: "ask", id: asked.id, text: "Why?", max_tokens: 5 }]);
  assert.deepEqual(bot.pending().map(({ text }) => text), ["Why?"]);
  socket.says(log.question("t1", "Why?", { id: asked.id }));
  assert.deepEqual(bot.pending(), []);
  socket.says(log.token("t1", "So."), await log.done("t1"));
  const turn = await asked;
  assert.deepEqual([turn.turn, turn.answer, turn.status, turn.reason], ["t1", "So.", "ended", "stop"]);
});

test("an ask is iterated for its text, each piece once, over as many connections as it takes", async () => {
  const { bot, log, sockets, timers } = opened();
  const asked = bot.ask("Why?");
  const texts = collected(asked);
  log.question("t1", "Why?", { id: asked.id });
  const answer = [..."Because 🙂 of 한국어 👩‍👩‍👧!"];
  for (const letter of answer) {
    log.token("t1", letter);
    const socket = sockets.at(-1);
    if (socket.after() === null) socket.says(...log.events);
    else socket.says(log.ready(Number(socket.after())), ...log.resume(Number(socket.after())), ...log.events.slice(-3));
    await settled();
    socket.ends(4408);
    timers.pass(500);
  }
  await log.done("t1");
  const last = sockets.at(-1);
  last.says(log.ready(Number(last.after())), ...log.resume(Number(last.after())));
  assert.equal((await texts).join(""), answer.join(""));
  assert.equal((await asked).answer, answer.join(""));
  assert.equal(sockets.length, answer.length + 1);
  assert.equal(sockets.flatMap(({ sent }) => sent).length, 1, "asked once");
});

test("a reader who comes late, or is slow, gets the same text", async () => {
  const { bot, log, socket } = opened();
  const asked = bot.ask("Why?");
  socket.says(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "), log.token("t1", "two"));
  const pieces = asked[Symbol.asyncIterator]();
  assert.equal((await pieces.next()).value, "one two");
  socket.says(log.token("t1", " three"), await log.done("t1"));
  await settled();
  bot.fresh();
  assert.equal((await pieces.next()).value, " three");
  assert.equal((await pieces.next()).done, true);
  assert.deepEqual(await collected(asked), ["one two three"]);
});

test("an answer that is rebuilt from the beginning is not told twice", async () => {
  const { bot, log, sockets, timers } = opened();
  const asked = bot.ask("Why?");
  const texts = collected(asked);
  sockets[0].says(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "));
  await settled();
  sockets[0].ends();
  timers.pass(500);
  log.token("t1", "two");
  sockets[1].says(log.ready(0), ...log.events);
  sockets[1].says(await log.done("t1"));
  assert.equal((await texts).join(""), "one two");
});

test("what was asked without a connection is sent when there is one", () => {
  const { bot, socket } = client();
  bot.ask("Early?");
  assert.deepEqual(socket.sent, []);
  socket.says(new Log().ready());
  assert.deepEqual(socket.sent.map(({ text }) => text), ["Early?"]);
});

test("an ask without acknowledgement is sent again with the same id, an acknowledged one is not", () => {
  const { bot, log, sockets, timers } = opened();
  const first = bot.ask("Acknowledged?");
  const second = bot.ask("Lost?");
  const third = bot.edit("t0", "Changed?");
  const fourth = bot.retry("t0");
  sockets[0].says(log.question("t1", "Acknowledged?", { id: first.id }));
  sockets[0].ends();
  timers.pass(500);
  sockets[1].says(log.ready(log.seq));
  assert.deepEqual(sockets[1].sent.map(({ type, id }) => [type, id]), [["ask", second.id], ["edit", third.id], ["retry", fourth.id]]);
});

test("an error about an ask rejects it, with what can be done", async () => {
  const { bot, socket } = opened();
  const errors = heard(bot, "error");
  const asked = bot.ask("Why?");
  socket.says({ type: "error", code: "rate_limited", message: "Slow down.", retryable: true, retry_after: 3000, id: asked.id });
  await assert.rejects(asked, { message: "Slow down.", code: "rate_limited", retryable: true, retryAfter: 3000 });
  await assert.rejects(collected(asked), { code: "rate_limited" });
  assert.deepEqual(errors.map(({ code }) => code), ["rate_limited"]);
  assert.deepEqual(bot.pending(), []);
  socket.ends();
});

test("a connection is resumed after the last seq", () => {
  const { bot, log, sockets, timers } = opened();
  const states = heard(bot, "state");
  sockets[0].says(log.question("t1"), log.token("t1", "a🙂"));
  sockets[0].ends(1012);
  assert.equal(bot.state, "waiting");
  timers.pass(499);
  assert.equal(sockets.length, 1);
  timers.pass(1);
  assert.deepEqual([sockets[1].session(), sockets[1].after()], ["s1", "3"]);
  sockets[1].says(log.ready(3));
  assert.deepEqual(states, ["waiting", "connecting", "open"]);
  assert.equal(bot.view.turns[0].answer, "a🙂");
});

test("every code but a refusal is a reason to come back, ever more slowly", () => {
  const { sockets, timers, bot } = client();
  [1000, 1001, 1006, 1011, 1012, 1013, 4408, 4429, undefined].forEach((code, tries) => {
    sockets.at(-1).ends(code);
    assert.equal(bot.state, "waiting");
    timers.pass(delay(tries, () => 1) - 1);
    assert.equal(sockets.length, tries + 1);
    timers.pass(1);
    assert.equal(sockets.length, tries + 2);
  });
});

test("a server that dies after ready is not hammered, one that lives is new again", () => {
  const { sockets, timers } = client();
  for (let tries = 0; tries < 5; tries += 1) {
    sockets.at(-1).says(new Log().ready());
    sockets.at(-1).ends();
    timers.pass(delay(tries, () => 1));
    assert.equal(sockets.length, tries + 2);
  }
  sockets.at(-1).says(new Log().ready(), { type: "alive" });
  sockets.at(-1).ends();
  timers.pass(500);
  assert.equal(sockets.length, 7);
});

test("an error is an end, and the close that follows it is not another one", () => {
  const { bot, socket, sockets, timers } = client();
  socket.onerror({ type: "error" }); // npm's ws throws what nobody hears
  assert.deepEqual([bot.state, socket.closed], ["waiting", true]);
  socket.ends(4401);
  assert.equal(bot.state, "waiting");
  timers.pass(500);
  assert.equal(sockets.length, 2);
});

test("a refusal is final and said", async () => {
  for (const [code, name] of [[4401, "unauthorized"], [4403, "forbidden"]]) {
    const { bot, socket, sockets, timers } = client();
    const errors = heard(bot, "error");
    const asked = bot.ask("Why?");
    socket.ends(code);
    assert.equal(bot.state, "closed");
    assert.deepEqual(errors.map((error) => error.code), [name]);
    await assert.rejects(asked, { code: name });
    timers.pass(1e6);
    assert.equal(sockets.length, 1);
  }
});

test("a session that is not found is forgotten, and what it never got is asked in a new one", async () => {
  const { bot, log, sockets, timers, storage } = opened();
  const lost = bot.ask("In the log?");
  sockets[0].says(log.question("t1", "In the log?", { id: lost.id }));
  const kept = bot.ask("Not yet?");
  const retried = bot.retry("t1");
  sockets[0].ends(1006);
  timers.pass(500);
  sockets[1].ends(4404);
  await assert.rejects(lost, { code: "session_not_found" });
  await assert.rejects(retried, { code: "session_not_found" });
  assert.equal(storage.getItem("askbot.session"), null);
  timers.pass(30_000);
  const socket = sockets.at(-1);
  assert.deepEqual([socket.session(), socket.after()], [null, null]);
  assert.deepEqual(bot.view.turns, []);
  socket.says(new Log("s2").ready());
  assert.deepEqual(socket.sent, [{ type: "ask", id: kept.id, text: "Not yet?" }]);
  assert.equal(bot.session, "s2");
});

test("a server that finds no session whatever is asked is not hammered", () => {
  const { sockets, timers } = client({ session: "gone" });
  for (let tries = 0; tries < 20; tries += 1) sockets.at(-1).ends(4404), timers.pass(0);
  assert.ok(sockets.length <= 3, `${sockets.length} connections`);
});

test("forget ends the conversation here and begins another", async () => {
  const { bot, log, sockets, timers } = opened();
  const forgotten = bot.forget();
  sockets[0].says(log.question("t1"));
  assert.deepEqual(sockets[0].sent.map(({ type, session }) => [type, session]), [["forget", "s1"]]);
  sockets[0].says({ type: "error", code: "session_not_found", message: "", retryable: false, session: "s1", id: forgotten.id });
  await forgotten;
  timers.pass(500);
  assert.equal(sockets[0].closed, true);
  assert.equal(sockets[1].session(), null);
  assert.deepEqual(bot.view.turns, []);
});

test("another tab's forget does the same, and leaves that tab's new session alone", () => {
  const { bot, sockets, storage, timers } = opened();
  storage.setItem("askbot.session", "s2");
  sockets[0].says({ type: "error", code: "session_not_found", message: "", retryable: false, session: "s1" });
  timers.pass(500);
  assert.equal(bot.state, "connecting");
  assert.equal(sockets[1].session(), null);
  assert.equal(storage.getItem("askbot.session"), "s2");
});

test("fresh begins a new conversation", async () => {
  const { bot, log, sockets } = opened();
  sockets[0].says(log.question("t1"));
  const asked = bot.ask("Never mind");
  bot.fresh();
  await assert.rejects(asked, { code: "closed" });
  assert.equal(sockets[0].closed, true);
  assert.deepEqual([sockets[1].session(), sockets[1].after()], [null, null]);
  sockets[0].says(log.token("t1", "too late"));
  sockets[0].ends(1006);
  assert.deepEqual([bot.state, bot.view.turns], ["connecting", []]);
});

test("a socket that says nothing for 45 s is dead", () => {
  const { sockets, timers, bot } = opened();
  timers.pass(44_000);
  sockets[0].says({ type: "alive" });
  timers.pass(44_999);
  assert.equal(bot.state, "open");
  timers.pass(1);
  assert.equal(bot.state, "waiting");
  assert.equal(sockets[0].closed, true);
  timers.pass(500);
  assert.equal(sockets.length, 2);
  timers.pass(45_000 + 1000);
  assert.equal(sockets.length, 3, "nor does a handshake last for ever");
});

test("a page that wakes up asks for a sign of life, and has no patience", () => {
  for (const name of ["online", "visibilitychange"]) {
    const { sockets, timers, page, bot } = opened();
    page.dispatchEvent(new Event(name));
    assert.deepEqual(sockets[0].sent, [{ type: "ping" }]);
    timers.pass(4999);
    sockets[0].says({ type: "pong" });
    timers.pass(44_000);
    assert.equal(bot.state, "open");
    page.dispatchEvent(new Event(name));
    timers.pass(5000);
    assert.equal(bot.state, "waiting");
    page.dispatchEvent(new Event(name));
    assert.equal(sockets.length, 2, "at once");
    assert.equal(bot.state, "connecting");
    page.dispatchEvent(new Event(name));
    assert.equal(sockets.length, 2);
  }
});

test("a page that goes to sleep does nothing", () => {
  const { sockets, page } = opened();
  page.document.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(sockets[0].sent, []);
});

test("a server that goes away is read on, asked no more, and left in time", () => {
  const { bot, log, sockets, timers, page } = opened();
  sockets[0].says(log.question("t1"), { type: "going_away", reconnect_after: 2000 });
  const asked = bot.ask("Next?");
  sockets[0].says(log.token("t1", "still"));
  page.dispatchEvent(new Event("online"));
  assert.deepEqual(sockets[0].sent, []);
  assert.equal(bot.view.turns[0].answer, "still");
  timers.pass(2499);
  assert.equal(sockets.length, 1);
  timers.pass(1);
  assert.deepEqual([sockets.length, sockets[0].closed, sockets[1].after()], [2, true, "6"]);
  sockets[1].says(log.ready(6));
  assert.deepEqual(sockets[1].sent.map(({ id }) => id), [asked.id]);
});

test("one that goes away and closes is given its time", () => {
  const { bot, sockets, timers } = opened();
  sockets[0].says({ type: "going_away", reconnect_after: 2000 });
  timers.pass(1000);
  sockets[0].ends(1012);
  assert.equal(bot.state, "waiting");
  timers.pass(1499);
  assert.equal(sockets.length, 1);
  timers.pass(1);
  assert.equal(sockets.length, 2);
});

test("a gap is a reason to come back with after", () => {
  const { bot, log, sockets, timers } = opened();
  sockets[0].says(log.question("t1"));
  log.token("t1", "lost");
  sockets[0].says(log.token("t1", "found"));
  assert.equal(bot.state, "waiting");
  timers.pass(500);
  assert.equal(sockets[1].after(), "1");
  sockets[1].says(log.ready(1), ...log.resume(1));
  assert.equal(bot.view.turns[0].answer, "lostfound");
});

test("an event of an unknown type is no reason to come back, and is resumed after", async () => {
  const { bot, log, sockets, timers } = opened();
  const asked = bot.ask("Why?");
  const unknown = () => ({ type: "rainbow", session: "s1", seq: (log.seq += 3) });
  sockets[0].says(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "), unknown(), log.token("t1", "two"), unknown());
  assert.equal(bot.state, "open");
  sockets[0].ends();
  timers.pass(500);
  assert.equal(sockets[1].after(), String(log.seq));
  sockets[1].says(log.ready(log.seq), await log.done("t1"));
  assert.equal((await asked).answer, "one two");
  assert.equal(sockets.length, 2);
});

test("a connection is resumed in the history that is known", () => {
  const { bot, log, sockets, timers } = opened();
  const query = () => Object.fromEntries(sockets.at(-1).url.searchParams);
  assert.deepEqual(query(), {});
  sockets[0].says(log.ready(0, { log: "one" }), log.question("t1"));
  sockets[0].ends();
  timers.pass(500);
  assert.deepEqual(query(), { session: "s1", after: "1", log: "one" });
  sockets[1].says(log.ready(1, { log: "two" }));
  assert.deepEqual(bot.view.turns, []);
  sockets[1].ends();
  timers.pass(1000);
  assert.deepEqual(query(), { session: "s1", after: "1", log: "two" });
  bot.fresh();
  assert.deepEqual(query(), {});
});

for (const again of ["the next connection", "the same connection"])
  test(`what was asked in a history that was lost is asked again in the new one, on ${again}`, async () => {
    const { bot, log, sockets, timers } = opened();
    sockets[0].says(log.ready(0, { log: "one" }));
    const asked = bot.ask("Why?");
    const texts = collected(asked);
    sockets[0].says(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "));
    await settled();
    const lost = bot.history();
    if (again === "the next connection") {
      sockets[0].ends();
      timers.pass(500);
    }
    const socket = sockets.at(-1);
    socket.sent.length = 0;
    const other = new Log();
    other.seq = log.seq; // as long, by chance
    socket.says(other.ready(other.seq, { log: "two" }));
    assert.deepEqual(socket.sent.map(({ id }) => id), [asked.id, lost.id]);
    socket.says(other.question("t7", "Why?", { id: asked.id }), other.token("t7", "one "), other.token("t7", "two"), await other.done("t7"));
    socket.says({ type: "history", session: "s1", id: lost.id, turns: [], more: false });
    assert.equal((await texts).join(""), "one two");
    assert.equal((await asked).turn, "t7");
    await lost;
    assert.deepEqual(bot.view.turns.map(({ turn }) => turn), ["t7"]);
  });

test("retry and edit take options, as ask does", () => {
  const { bot, socket } = opened();
  bot.retry();
  bot.retry("t1", { model: "m2", temperature: 0.5 });
  bot.edit("t1", "What?", { max_tokens: 5 });
  assert.deepEqual(socket.sent.map(({ id, ...frame }) => frame), [
    { type: "retry" },
    { type: "retry", turn: "t1", model: "m2", temperature: 0.5 },
    { type: "edit", turn: "t1", text: "What?", max_tokens: 5 },
  ]);
});

test("an answer that is not what its proof says is fetched, before anybody is told that it is complete", async () => {
  for (const wrong of ["Parjs", "Paris, perhaps"]) {
    const { bot, log, socket } = opened();
    const asked = bot.ask("Capital?");
    log.question("t0");
    await log.done("t0");
    log.question("t1", "Capital?", { id: asked.id });
    log.token("t1", "Paris");
    const done = await log.done("t1");
    const token = log.events.at(-2);
    const shift = [...wrong].length - 5;
    socket.says(...log.events.slice(0, 3), { ...token, text: wrong, seq: token.seq + shift }, { ...done, seq: done.seq + shift });
    await settled();
    const sent = socket.sent.at(-1);
    assert.deepEqual([sent.type, sent.before, sent.limit], ["history", 4, 1]);
    const told = { ...done, text: "Capital?", id: asked.id, answer: "Paris", from: 2, seq: done.seq + shift, created: "" };
    socket.says({ type: "history", session: "s1", id: sent.id, turns: [told], more: true });
    assert.equal((await asked).answer, "Paris");
    assert.equal(bot.view.turns.at(-1).answer, "Paris");
  }
});

test("an answer that is what its proof says is not fetched", async () => {
  const { log, socket } = opened();
  socket.says(log.question("t1"), log.token("t1", "👩‍👩‍👧 한"), await log.done("t1"));
  await settled();
  assert.deepEqual(socket.sent, []);
});

test("cancel names the running turn, and doesn't mind if that has ended", async () => {
  const { bot, log, socket } = opened();
  const errors = heard(bot, "error");
  socket.says(log.question("t1"), await log.done("t1"), log.question("t2"), log.question("t3"));
  const first = bot.cancel();
  const second = bot.cancel("t3");
  assert.deepEqual(socket.sent.map(({ type, turn }) => [type, turn]), [["cancel", "t2"], ["cancel", "t3"]]);
  socket.says({ type: "error", code: "turn_not_found", message: "", retryable: false, id: socket.sent[0].id });
  await first;
  socket.says(await log.done("t3", { reason: "cancelled" }));
  await second;
  assert.deepEqual(errors, []);
});

test("a cancel reaches the server over the next connection, unless the turn has ended", async () => {
  const { bot, log, sockets, timers } = opened();
  sockets[0].says(log.question("t1"));
  sockets[0].ends();
  bot.cancel();
  timers.pass(500);
  sockets[1].says(log.ready(1));
  assert.deepEqual(sockets[1].sent.map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  sockets[1].says(await log.done("t1"));
  sockets[1].ends();
  timers.pass(500);
  sockets[2].says(log.ready(log.seq));
  assert.deepEqual(sockets[2].sent, []);
});

test("a pending question is withdrawn by its id", async () => {
  const { bot, socket } = client();
  const asked = bot.ask("Never mind");
  bot.cancel(asked.id);
  await assert.rejects(asked, { code: "cancelled" });
  socket.says(new Log().ready());
  assert.deepEqual(socket.sent, []);
});

test("a question that is withdrawn on its way is cancelled when it gets there, and not sent again", async () => {
  const { bot, log, sockets, timers } = opened();
  const [one, two] = [bot.ask("One"), bot.ask("Two")];
  for (const asked of [one, two]) bot.cancel(asked.id);
  await assert.rejects(one, { code: "cancelled" });
  sockets[0].says(log.question("t1", "One", { id: one.id }));
  assert.deepEqual(sockets[0].sent.slice(2).map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  sockets[0].says(await log.done("t1", { reason: "cancelled" }), log.question("t2", "Another tab's"));
  sockets[0].ends();
  timers.pass(500);
  sockets[1].says(log.ready(log.seq));
  assert.deepEqual(sockets[1].sent, []);
});

test("history asks for what is before the oldest turn", async () => {
  const { bot, socket } = client();
  const log = new Log();
  log.seq = 10;
  socket.says(log.ready(10), log.question("t9"));
  const fetched = bot.history({ limit: 5 });
  assert.deepEqual([socket.sent[0].before, socket.sent[0].limit], [11, 5]);
  const told = { turn: "t1", text: "Old?", created: "", answer: "Yes", reason: "stop", from: 0, seq: 5 };
  socket.says({ type: "history", session: "s1", id: socket.sent[0].id, turns: [told], more: false });
  assert.equal((await fetched).more, false);
  assert.deepEqual(bot.view.turns.map(({ turn }) => turn), ["t1", "t9"]);
});

test("a question that costs the connection is not sent for ever", async () => {
  const { bot, log, sockets, timers } = opened();
  const fine = bot.ask("Fine");
  sockets[0].says(log.question("t1", "Fine", { id: fine.id }));
  const huge = bot.ask("Huge");
  sockets[0].ends(1009);
  await assert.rejects(huge, { code: "invalid_frame" });
  timers.pass(500);
  sockets[1].says(log.ready(1));
  assert.deepEqual(sockets[1].sent, []);
  sockets[1].says(await log.done("t1"));
  assert.equal((await fine).reason, "stop");
});

test("close is the end", async () => {
  const { bot, sockets, timers, page } = opened();
  const asked = bot.ask("Why?");
  bot.close();
  assert.equal(bot.state, "closed");
  assert.equal(sockets[0].closed, true);
  await assert.rejects(asked, { code: "closed" });
  page.dispatchEvent(new Event("online"));
  timers.pass(1e6);
  assert.equal(sockets.length, 1);
});

test("frames and changes are events", async () => {
  const { bot, log, socket } = opened();
  const frames = heard(bot, "frame");
  const changed = until(bot, "change");
  socket.says(log.question("t1"), { type: "rainbow" });
  assert.deepEqual(frames.map(({ type }) => type), ["question", "rainbow"]);
  assert.equal((await changed).detail, bot.view.turns.length ? bot.view : null);
});
