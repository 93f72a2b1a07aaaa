import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "../../client/askbot.js";
import { empty, view } from "../../client/view.js";
import { client, collect, collectEvents, flushPromises, Log, openedClient, seeded, Storage } from "./fakes.js";

const KEY = "askbot.session ws://test/v1/chat "; // of the test's URL and no name
const nextEvent = (chat, type) => new Promise((resolve) => chat.addEventListener(type, resolve, { once: true }));

test("delay is full jitter, doubles, and ends at 30 s", () => {
  assert.deepEqual([0, 1, 2, 5, 6, 50, 2000].map((tries) => delay(tries, () => 1)), [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(delay(9, () => 0), 0);
  for (let tries = 0; tries < 100; tries += 1) assert.ok(delay(3) < 4000);
});

test("a new client connects without a session and keeps the one it is given", () => {
  const { chat, socket, storage } = client({ token: "secret" });
  assert.equal(socket.url.href, "ws://test/v1/chat");
  assert.deepEqual(socket.protocols, ["askbot.v1", "askbot.bearer.secret"]);
  assert.equal(chat.state, "connecting");
  socket.deliver(new Log("s7").ready());
  assert.equal(chat.state, "open");
  assert.equal(chat.session, "s7");
  assert.equal(storage.getItem(KEY), "s7");
});

test("https becomes wss, and without a token only the protocol is offered", () => {
  const { socket } = client({ url: "https://example.org/v1/chat" });
  assert.equal(socket.url.protocol, "wss:");
  assert.deepEqual(socket.protocols, ["askbot.v1"]);
});

test("a page that loads continues the stored session without after, so that it can show all of it", () => {
  const { storage } = client();
  storage.setItem(KEY, "s1");
  const { socket } = client({ storage });
  assert.equal(socket.session(), "s1");
  assert.equal(socket.after(), null);
  assert.equal(client({ storage, session: "s2" }).socket.session(), "s2");
});

test("a storage that throws costs nothing but the memory", () => {
  const fail = () => {
    throw new Error("forbidden");
  };
  const { chat, socket } = client({ storage: { getItem: fail, setItem: fail, removeItem: fail } });
  socket.deliver(new Log().ready());
  chat.fresh();
  assert.equal(chat.state, "connecting");
});

test("an ask is awaited for the ended turn", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?", { max_tokens: 5 });
  assert.deepEqual(socket.sent, [{ type: "ask", id: asked.id, text: "Why?", max_tokens: 5 }]);
  assert.deepEqual(chat.pending().map(({ text }) => text), ["Why?"]);
  socket.deliver(log.question("t1", "Why?", { id: asked.id }));
  assert.deepEqual(chat.pending(), []);
  socket.deliver(log.token("t1", "So."), await log.done("t1"));
  const turn = await asked;
  assert.deepEqual([turn.turn, turn.answer, turn.status, turn.reason], ["t1", "So.", "ended", "stop"]);
});

test("an ask is iterated for its text, each piece once, over as many connections as it takes", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  const texts = collect(asked);
  log.question("t1", "Why?", { id: asked.id });
  const answer = [..."Because 🙂 of 한국어 👩‍👩‍👧!"];
  for (const letter of answer) {
    log.token("t1", letter);
    const socket = sockets.at(-1);
    if (socket.after() === null) socket.deliver(...log.events);
    else socket.deliver(log.ready(Number(socket.after())), ...log.resume(Number(socket.after())), ...log.events.slice(-3));
    await flushPromises();
    socket.closeWith(4408);
    timers.advance(500);
  }
  await log.done("t1");
  const last = sockets.at(-1);
  last.deliver(log.ready(Number(last.after())), ...log.resume(Number(last.after())));
  assert.equal((await texts).join(""), answer.join(""));
  assert.equal((await asked).answer, answer.join(""));
  assert.equal(sockets.length, answer.length + 1);
  assert.equal(sockets.flatMap(({ sent }) => sent).length, 1, "asked once");
});

test("a connection that is lost in the middle of thinking is resumed there, and no thinking is yielded", async () => {
  const { chat, sockets, timers, log } = openedClient();
  const asked = chat.ask("Why?");
  const read = collect(asked);
  const slices = [log.question("t1", "Why?", { id: asked.id }), log.thinking("t1", "한 🙂"), log.thinking("t1", "국어. ")];
  sockets[0].deliver(...slices);
  sockets[0].closeWith();
  timers.advance(500);
  assert.equal(sockets[1].after(), String(log.seq));
  sockets[1].deliver(log.ready(log.seq), slices[2], log.thinking("t1", "So"), log.token("t1", "One"), await log.done("t1"));
  const turn = await asked;
  assert.deepEqual([turn.thinking, turn.answer], ["한 🙂국어. So", "One"]);
  assert.equal((await read).join(""), "One");
});

test("a reader who comes late, or is slow, gets the same text", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?");
  socket.deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "), log.token("t1", "two"));
  const pieces = asked[Symbol.asyncIterator]();
  assert.equal((await pieces.next()).value, "one two");
  socket.deliver(log.token("t1", " three"), await log.done("t1"));
  await flushPromises();
  chat.fresh();
  assert.equal((await pieces.next()).value, " three");
  assert.equal((await pieces.next()).done, true);
  assert.deepEqual(await collect(asked), ["one two three"]);
});

test("an answer that is rebuilt from the beginning is not yielded twice", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  const texts = collect(asked);
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "));
  await flushPromises();
  sockets[0].closeWith();
  timers.advance(500);
  log.token("t1", "two");
  sockets[1].deliver(log.ready(0), ...log.events);
  sockets[1].deliver(await log.done("t1"));
  assert.equal((await texts).join(""), "one two");
});

test("what was asked without a connection is sent when there is one", () => {
  const { chat, socket } = client();
  chat.ask("Early?");
  assert.deepEqual(socket.sent, []);
  socket.deliver(new Log().ready());
  assert.deepEqual(socket.sent.map(({ text }) => text), ["Early?"]);
});

test("an ask without acknowledgement is sent again with the same id, an acknowledged one is not", () => {
  const { chat, log, sockets, timers } = openedClient();
  const first = chat.ask("Acknowledged?");
  const second = chat.ask("Lost?");
  const third = chat.edit("t0", "Changed?");
  const fourth = chat.retry("t0");
  sockets[0].deliver(log.question("t1", "Acknowledged?", { id: first.id }));
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(log.seq));
  assert.deepEqual(sockets[1].sent.map(({ type, id }) => [type, id]), [["ask", second.id], ["edit", third.id], ["retry", fourth.id]]);
});

test("an error about an ask rejects it, with what can be done", async () => {
  const { chat, socket } = openedClient();
  const errors = collectEvents(chat, "error");
  const asked = chat.ask("Why?");
  socket.deliver({ type: "error", code: "rate_limited", message: "Slow down.", retryable: true, retry_after: 3000, id: asked.id });
  await assert.rejects(asked, { message: "Slow down.", code: "rate_limited", retryable: true, retryAfter: 3000 });
  await assert.rejects(collect(asked), { code: "rate_limited" });
  assert.deepEqual(errors.map(({ code }) => code), ["rate_limited"]);
  assert.deepEqual(chat.pending(), []);
  socket.closeWith();
});

test("a connection is resumed after the last seq", () => {
  const { chat, log, sockets, timers } = openedClient();
  const states = collectEvents(chat, "state");
  sockets[0].deliver(log.question("t1"), log.token("t1", "a🙂"));
  sockets[0].closeWith(1012);
  assert.equal(chat.state, "waiting");
  timers.advance(499);
  assert.equal(sockets.length, 1);
  timers.advance(1);
  assert.deepEqual([sockets[1].session(), sockets[1].after()], ["s1", "3"]);
  sockets[1].deliver(log.ready(3));
  assert.deepEqual(states, ["waiting", "connecting", "open"]);
  assert.equal(chat.view.turns[0].answer, "a🙂");
});

test("every code but a refusal is a reason to come back, ever more slowly", () => {
  const { sockets, timers, chat } = client();
  [1000, 1001, 1006, 1011, 1012, 1013, 4408, 4429, undefined].forEach((code, tries) => {
    sockets.at(-1).closeWith(code);
    assert.equal(chat.state, "waiting");
    timers.advance(delay(tries, () => 1) - 1);
    assert.equal(sockets.length, tries + 1);
    timers.advance(1);
    assert.equal(sockets.length, tries + 2);
  });
});

test("an error is an end, and the close that follows it is not another one", () => {
  const { chat, socket, sockets, timers } = client();
  socket.onerror({ type: "error" }); // npm's ws throws what nobody hears
  assert.deepEqual([chat.state, socket.closed], ["waiting", true]);
  socket.closeWith(4401);
  assert.equal(chat.state, "waiting");
  timers.advance(500);
  assert.equal(sockets.length, 2);
});

test("a refusal is final and said", async () => {
  for (const [code, name] of [[4401, "unauthorized"], [4403, "forbidden"]]) {
    const { chat, socket, sockets, timers } = client();
    const errors = collectEvents(chat, "error");
    const asked = chat.ask("Why?");
    socket.closeWith(code);
    assert.equal(chat.state, "closed");
    assert.deepEqual(errors.map((error) => error.code), [name]);
    await assert.rejects(asked, { code: name });
    timers.advance(1e6);
    assert.equal(sockets.length, 1);
  }
});

test("a session that is not found is forgotten, and what it never got is asked in a new one", async () => {
  const { chat, log, sockets, timers, storage } = openedClient();
  const lost = chat.ask("In the log?");
  sockets[0].deliver(log.question("t1", "In the log?", { id: lost.id }));
  const kept = chat.ask("Not yet?");
  const retried = chat.retry("t1");
  sockets[0].closeWith(1006);
  timers.advance(500);
  sockets[1].closeWith(4404);
  await assert.rejects(lost, { code: "session_not_found" });
  await assert.rejects(retried, { code: "session_not_found" });
  assert.equal(storage.getItem(KEY), null);
  timers.advance(30_000);
  const socket = sockets.at(-1);
  assert.deepEqual([socket.session(), socket.after()], [null, null]);
  assert.deepEqual(chat.view.turns, []);
  socket.deliver(new Log("s2").ready());
  assert.deepEqual(socket.sent, [{ type: "ask", id: kept.id, text: "Not yet?" }]);
  assert.equal(chat.session, "s2");
});

test("a session that was only kept, and of which nothing was shown, is no error where it is gone", () => {
  const gone = { type: "error", code: "session_not_found", message: "There is no such session.", retryable: false };
  const storage = new Storage();
  storage.setItem(KEY, "s1");
  const kept = client({ storage });
  const named = client({ session: "s1" });
  const shown = openedClient();
  shown.socket.deliver(shown.log.question("t1"));
  shown.socket.closeWith(1006);
  shown.timers.advance(500);
  const replaced = client({ session: "s0" });
  replaced.socket.closeWith(4404);
  replaced.socket.deliver(new Log().ready());
  replaced.socket.closeWith(1006);
  replaced.timers.advance(500);
  for (const [{ chat, sockets }, told] of [[kept, []], [replaced, []], [named, ["session_not_found"]], [shown, ["session_not_found"]]]) {
    const errors = collectEvents(chat, "error");
    const socket = sockets.at(-1);
    assert.equal(socket.session(), "s1");
    socket.deliver(gone);
    socket.closeWith(4404);
    assert.deepEqual(errors.map(({ code }) => code), told);
    assert.deepEqual([chat.session, chat.connection.cause.message], [null, gone.message]);
  }
});

test("a server that has no session where none is named is told each time", () => {
  const { chat, sockets, timers } = client();
  const errors = collectEvents(chat, "error");
  for (let tries = 0; tries < 3; tries += 1) {
    const socket = sockets.at(-1);
    socket.deliver({ type: "error", code: "session_not_found", message: "", retryable: false });
    socket.closeWith(4404);
    while (sockets.at(-1) === socket) timers.advance(250);
  }
  assert.deepEqual(errors.map(({ code }) => code), Array(3).fill("session_not_found"));
});

test("one's own forget whose answer is lost with its connection is no loss", async () => {
  const { chat, log, sockets, timers } = openedClient();
  sockets[0].deliver(log.question("t1"));
  const errors = collectEvents(chat, "error");
  const forgotten = chat.forget();
  sockets[0].closeWith(1006);
  timers.advance(500);
  sockets[1].deliver({ type: "error", code: "session_not_found", message: "", retryable: false });
  sockets[1].closeWith(4404);
  await forgotten;
  assert.deepEqual(errors, []);
});

for (const [what, question, told] of [["with a turn", ["t1"], ["session_not_found"]], ["that is empty", [], []]])
  test(`a session ${what} that another reader deletes is ${told.length ? "" : "not "}missed`, () => {
    const { chat, socket, sockets, log } = openedClient();
    for (const turn of question) socket.deliver(log.question(turn));
    const errors = collectEvents(chat, "error");
    socket.deliver({ type: "error", code: "session_not_found", message: "", retryable: false, session: "s1" });
    assert.deepEqual(errors.map(({ code }) => code), told);
    assert.deepEqual([chat.state, sockets.length, chat.view.turns], ["connecting", 2, []]);
  });

test("a server that finds no session whatever is asked is not hammered", () => {
  const { sockets, timers } = client({ session: "gone" });
  for (let tries = 0; tries < 20; tries += 1) sockets.at(-1).closeWith(4404), timers.advance(0);
  assert.ok(sockets.length <= 3, `${sockets.length} connections`);
});

test("forget ends the conversation here and begins another", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const forgotten = chat.forget();
  sockets[0].deliver(log.question("t1"));
  assert.deepEqual(sockets[0].sent.map(({ type, session }) => [type, session]), [["forget", "s1"]]);
  sockets[0].deliver({ type: "error", code: "session_not_found", message: "", retryable: false, session: "s1", id: forgotten.id });
  await forgotten;
  timers.advance(500);
  assert.equal(sockets[0].closed, true);
  assert.equal(sockets[1].session(), null);
  assert.deepEqual(chat.view.turns, []);
});

test("another tab's forget does the same, and leaves that tab's new session alone", () => {
  const { chat, sockets, storage, timers } = openedClient();
  storage.setItem(KEY, "s2");
  sockets[0].deliver({ type: "error", code: "session_not_found", message: "", retryable: false, session: "s1" });
  timers.advance(500);
  assert.equal(chat.state, "connecting");
  assert.equal(sockets[1].session(), null);
  assert.equal(storage.getItem(KEY), "s2");
});

test("fresh begins a new conversation", async () => {
  const { chat, log, sockets } = openedClient();
  sockets[0].deliver(log.question("t1"));
  const asked = chat.ask("Never mind");
  chat.fresh();
  await assert.rejects(asked, { code: "closed" });
  assert.equal(sockets[0].closed, true);
  assert.deepEqual([sockets[1].session(), sockets[1].after()], [null, null]);
  sockets[0].deliver(log.token("t1", "too late"));
  sockets[0].closeWith(1006);
  assert.deepEqual([chat.state, chat.view.turns], ["connecting", []]);
});

test("a socket that says nothing for 45 s is dead", () => {
  const { sockets, timers, chat } = openedClient();
  timers.advance(44_000);
  sockets[0].deliver({ type: "alive" });
  timers.advance(44_999);
  assert.equal(chat.state, "open");
  timers.advance(1);
  assert.equal(chat.state, "waiting");
  assert.equal(sockets[0].closed, true);
  timers.advance(500);
  assert.equal(sockets.length, 2);
  timers.advance(10_000 + 1000);
  assert.equal(sockets.length, 3, "nor does a handshake last for ever");
});

test("silence is noticed within the last tenth of its 45 s where frames came quickly", () => {
  const { sockets, timers, chat } = openedClient();
  for (let count = 0; count < 50; count += 1) {
    sockets[0].deliver({ type: "alive" });
    timers.advance(30);
  }
  timers.advance(44_870);
  assert.equal(chat.state, "open", "44.9 s after the last frame");
  timers.advance(100);
  assert.equal(chat.state, "waiting", "45 s after it");
});

test("a page that wakes up asks for a sign of life, and has no patience", () => {
  for (const name of ["online", "visibilitychange"]) {
    const { sockets, timers, page, chat } = openedClient();
    page.dispatchEvent(new Event(name));
    assert.deepEqual(sockets[0].sent, [{ type: "ping" }]);
    timers.advance(4999);
    sockets[0].deliver({ type: "pong" });
    timers.advance(44_000);
    assert.equal(chat.state, "open");
    page.dispatchEvent(new Event(name));
    timers.advance(5000);
    assert.equal(chat.state, "waiting");
    page.dispatchEvent(new Event(name));
    assert.equal(sockets.length, 2, "at once");
    assert.equal(chat.state, "connecting");
    page.dispatchEvent(new Event(name));
    assert.equal(sockets.length, 2);
  }
});

test("a page that goes to sleep does nothing", () => {
  const { sockets, page } = openedClient();
  page.document.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(sockets[0].sent, []);
});

test("a server that goes away is read on, asked no more, and left in time", () => {
  const { chat, log, sockets, timers, page } = openedClient();
  sockets[0].deliver(log.question("t1"), { type: "going_away", reconnect_after: 2000 });
  const asked = chat.ask("Next?");
  sockets[0].deliver(log.token("t1", "still"));
  page.dispatchEvent(new Event("online"));
  assert.deepEqual(sockets[0].sent, []);
  assert.equal(chat.view.turns[0].answer, "still");
  timers.advance(2499);
  assert.equal(sockets.length, 1);
  timers.advance(1);
  assert.deepEqual([sockets.length, sockets[0].closed, sockets[1].after()], [2, true, "6"]);
  sockets[1].deliver(log.ready(6));
  assert.deepEqual(sockets[1].sent.map(({ id }) => id), [asked.id]);
});

test("a gap is a reason to come back with after", () => {
  const { chat, log, sockets, timers } = openedClient();
  sockets[0].deliver(log.question("t1"));
  log.token("t1", "lost");
  sockets[0].deliver(log.token("t1", "found"));
  assert.equal(chat.state, "waiting");
  timers.advance(500);
  assert.equal(sockets[1].after(), "1");
  sockets[1].deliver(log.ready(1), ...log.resume(1));
  assert.equal(chat.view.turns[0].answer, "lostfound");
});

test("an event of an unknown type is no reason to come back, and is resumed after", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const asked = chat.ask("Why?");
  const unknown = () => ({ type: "rainbow", session: "s1", seq: (log.seq += 3) });
  sockets[0].deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "), unknown(), log.token("t1", "two"), unknown());
  assert.equal(chat.state, "open");
  sockets[0].closeWith();
  timers.advance(500);
  assert.equal(sockets[1].after(), String(log.seq));
  sockets[1].deliver(log.ready(log.seq), await log.done("t1"));
  assert.equal((await asked).answer, "one two");
  assert.equal(sockets.length, 2);
});

test("a connection is resumed in the history that is known", () => {
  const { chat, log, sockets, timers } = openedClient();
  const query = () => Object.fromEntries(sockets.at(-1).url.searchParams);
  assert.deepEqual(query(), {});
  sockets[0].deliver(log.ready(0, { log: "one" }), log.question("t1"));
  sockets[0].closeWith();
  timers.advance(500);
  assert.deepEqual(query(), { session: "s1", after: "1", log: "one" });
  sockets[1].deliver(log.ready(1, { log: "two" }));
  assert.deepEqual(chat.view.turns, []);
  sockets[1].closeWith();
  timers.advance(1000);
  assert.deepEqual(query(), { session: "s1", after: "1", log: "two" });
  chat.fresh();
  assert.deepEqual(query(), {});
});

test("retry and edit take options, as ask does", () => {
  const { chat, socket } = openedClient();
  chat.retry();
  chat.retry("t1", { model: "m2", temperature: 0.5 });
  chat.edit("t1", "What?", { max_tokens: 5 });
  assert.deepEqual(socket.sent.map(({ id, ...frame }) => frame), [
    { type: "retry" },
    { type: "retry", turn: "t1", model: "m2", temperature: 0.5 },
    { type: "edit", turn: "t1", text: "What?", max_tokens: 5 },
  ]);
});

test("an answer that does not match its check is fetched before its request is resolved", async () => {
  for (const wrong of ["Parjs", "Paris, perhaps"]) {
    const { chat, log, socket } = openedClient();
    const asked = chat.ask("Capital?");
    log.question("t0");
    await log.done("t0");
    log.question("t1", "Capital?", { id: asked.id });
    log.token("t1", "Paris");
    const done = await log.done("t1");
    const token = log.events.at(-2);
    const shift = [...wrong].length - 5;
    socket.deliver(...log.events.slice(0, 3), { ...token, text: wrong, seq: token.seq + shift }, { ...done, seq: done.seq + shift });
    await flushPromises();
    const sent = socket.sent.at(-1);
    assert.deepEqual([sent.type, sent.before, sent.limit], ["history", 4, 1]);
    const record = { ...done, text: "Capital?", id: asked.id, answer: "Paris", from: 2, seq: done.seq + shift, created: "" };
    socket.deliver({ type: "history", session: "s1", id: sent.id, turns: [record], more: true });
    assert.equal((await asked).answer, "Paris");
    assert.equal(chat.view.turns.at(-1).answer, "Paris");
  }
});

test("an answer that matches its check is not fetched", async () => {
  const { log, socket } = openedClient();
  socket.deliver(log.question("t1"), log.token("t1", "👩‍👩‍👧 한"), await log.done("t1"));
  await flushPromises();
  assert.deepEqual(socket.sent, []);
});

test("cancel names the running turn, and doesn't mind if that has ended", async () => {
  const { chat, log, socket } = openedClient();
  const errors = collectEvents(chat, "error");
  socket.deliver(log.question("t1"), await log.done("t1"), log.question("t2"), log.question("t3"));
  const first = chat.cancel();
  const second = chat.cancel("t3");
  assert.deepEqual(socket.sent.map(({ type, turn }) => [type, turn]), [["cancel", "t2"], ["cancel", "t3"]]);
  socket.deliver({ type: "error", code: "turn_not_found", message: "", retryable: false, id: socket.sent[0].id });
  await first;
  socket.deliver(await log.done("t3", { reason: "cancelled" }));
  await second;
  assert.deepEqual(errors, []);
});

test("a cancel reaches the server over the next connection, unless the turn has ended", async () => {
  const { chat, log, sockets, timers } = openedClient();
  sockets[0].deliver(log.question("t1"));
  sockets[0].closeWith();
  chat.cancel();
  timers.advance(500);
  sockets[1].deliver(log.ready(1));
  assert.deepEqual(sockets[1].sent.map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  sockets[1].deliver(await log.done("t1"));
  sockets[1].closeWith();
  timers.advance(500);
  sockets[2].deliver(log.ready(log.seq));
  assert.deepEqual(sockets[2].sent, []);
});

test("a pending question is withdrawn by its id", async () => {
  const { chat, socket } = client();
  const asked = chat.ask("Never mind");
  chat.cancel(asked.id);
  await assert.rejects(asked, { code: "cancelled" });
  socket.deliver(new Log().ready());
  assert.deepEqual(socket.sent, []);
});

test("a question that is withdrawn on its way is cancelled when it gets there, and not sent again", async () => {
  const { chat, log, sockets, timers } = openedClient();
  const [one, two] = [chat.ask("One"), chat.ask("Two")];
  for (const asked of [one, two]) chat.cancel(asked.id);
  await assert.rejects(one, { code: "cancelled" });
  sockets[0].deliver(log.question("t1", "One", { id: one.id }));
  assert.deepEqual(sockets[0].sent.slice(2).map(({ type, turn }) => [type, turn]), [["cancel", "t1"]]);
  sockets[0].deliver(await log.done("t1", { reason: "cancelled" }), log.question("t2", "Another tab's"));
  sockets[0].closeWith();
  timers.advance(500);
  sockets[1].deliver(log.ready(log.seq));
  assert.deepEqual(sockets[1].sent, []);
});

test("history asks for what is before the oldest turn", async () => {
  const { chat, socket } = client();
  const log = new Log();
  log.seq = 10;
  socket.deliver(log.ready(10), log.question("t9"));
  const fetched = chat.history({ limit: 5 });
  assert.deepEqual([socket.sent[0].before, socket.sent[0].limit], [11, 5]);
  const record = { turn: "t1", text: "Old?", created: "", answer: "Yes", reason: "stop", from: 0, seq: 5 };
  socket.deliver({ type: "history", session: "s1", id: socket.sent[0].id, turns: [record], more: false });
  assert.equal((await fetched).more, false);
  assert.deepEqual(chat.view.turns.map(({ turn }) => turn), ["t1", "t9"]);
});

test("close is the end", async () => {
  const { chat, sockets, timers, page } = openedClient();
  const asked = chat.ask("Why?");
  chat.close();
  assert.equal(chat.state, "closed");
  assert.equal(sockets[0].closed, true);
  await assert.rejects(asked, { code: "closed" });
  page.dispatchEvent(new Event("online"));
  timers.advance(1e6);
  assert.equal(sockets.length, 1);
});

test("frames and changes are events", async () => {
  const { chat, log, socket } = openedClient();
  const frames = collectEvents(chat, "frame");
  const changed = nextEvent(chat, "change");
  socket.deliver(log.question("t1"), { type: "rainbow" });
  assert.deepEqual(frames.map(({ type }) => type), ["question", "rainbow"]);
  assert.equal((await changed).detail, chat.view.turns.length ? chat.view : null);
});

test("a view that is read now and then is the one that each frame makes, whenever it is read", async () => {
  for (let seed = 0; seed < 100; seed += 1) {
    const random = seeded(seed);
    const { chat, log, socket } = openedClient();
    let expected = view({ ...empty, keep: 262_144 }, log.ready());
    for (let count = 0; count < 40; count += 1) {
      const turn = `t${random.below(3)}`;
      const type = random.of(["question", "token", "token", "token", "thinking", "rainbow", "done", "alive", "again"]);
      let frame = { type };
      if (type === "again") frame = log.events.at(-1) ?? { type: "alive" };
      else if (type === "rainbow") frame = log.add({ type, turn, text: "x" });
      else if (type === "done") frame = await log.done(turn);
      else if (type !== "alive") frame = log[type](turn, random.of(["a", "한", "🙂 b"]));
      socket.deliver(frame);
      expected = view(expected, frame);
      if (random.next() < 0.3) assert.deepEqual(withoutTime(chat.view), withoutTime(expected), `seed ${seed}`);
    }
    assert.deepEqual(withoutTime(chat.view), withoutTime(expected), `seed ${seed}`);
    assert.equal(chat.view, chat.view);
    assert.equal(chat.state, "open");
  }
});

/** A view without what is read from the clock. `tail` may be longer where slices came as one. */
function withoutTime({ turns, ...state }) {
  return { ...state, turns: turns.map(({ thinkingSince, thinkingTime, tail, ...turn }) => turn) };
}

test("the view holds 262,144 code points of turns, or as many as are asked for", async () => {
  const long = "x".repeat(100_000);
  for (const [options, count] of [[{}, 2], [{ keep: 101_000 }, 1], [{ keep: Infinity }, 4], [{ keep: null }, 4]]) {
    const { chat, log, socket } = openedClient(options);
    for (const turn of ["t1", "t2", "t3", "t4"]) socket.deliver(log.question(turn), log.token(turn, long), await log.done(turn));
    assert.equal(chat.view.turns.length, count);
    assert.equal(chat.view.earlier, count < 4);
    chat.fresh();
    const other = new Log("s2");
    socket.deliver(other.ready());
    assert.equal(chat.view.keep, options.keep === undefined ? 262_144 : (options.keep ?? Infinity));
  }
});

test("a reader who leaves an answer, or comes in the middle, hinders no other", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Why?");
  socket.deliver(log.question("t1", "Why?", { id: asked.id }), log.token("t1", "one "));
  for await (const text of asked) {
    assert.equal(text, "one ");
    break;
  }
  const texts = collect(asked);
  socket.deliver(log.token("t1", "two"), await log.done("t1"));
  assert.equal((await texts).join(""), "one two");
});

test("whoever was given another text than the answer's is told so at its end", async () => {
  const { chat, log, socket } = openedClient();
  const asked = chat.ask("Capital?");
  socket.deliver(log.question("t1", "Capital?", { id: asked.id }));
  log.token("t1", "Paris");
  const done = await log.done("t1");
  const texts = collect(asked);
  socket.deliver({ ...log.events[1], text: "Parjs" });
  await flushPromises();
  socket.deliver(done);
  await flushPromises();
  const record = { ...done, text: "Capital?", id: asked.id, answer: "Paris", from: 0, created: "" };
  socket.deliver({ type: "history", session: "s1", id: socket.sent.at(-1).id, turns: [record], more: false });
  await assert.rejects(texts, { code: "damaged" });
  assert.equal((await asked).answer, "Paris");
  assert.deepEqual(await collect(asked), ["Paris"], "who reads it now is not");
});
