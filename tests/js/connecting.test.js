/** What a client says of its connection, how long an attempt to connect may take, and what makes another one at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../client/askbot.js";
import { client, collectEvents, flushPromises, Log, openedClient } from "./fakes.js";

const error = (more) => ({ type: "error", code: "overloaded", message: "Busy.", retryable: true, ...more });

/** Has `Date.now` say the time of a client's clock; returns that client. */
function withClock({ mock }, options, create = client) {
  const clock = {};
  mock.method(Date, "now", () => clock.timers?.now ?? 0);
  return Object.assign(clock, create(options));
}

/** What `chat.connection` is, without its times. */
function shortOf({ connection: { state, cause, tries } }) {
  return [state, cause?.code ?? null, tries];
}

// --- what is said ----------------------------------------------------------------------------------------------------

test("a server that is not there is said, with the tries, since when, and when the next one is", (t) => {
  const { chat, sockets, timers } = withClock(t);
  const heard = [];
  chat.addEventListener("state", ({ detail }) => heard.push([detail, chat.connection]));
  assert.deepEqual(chat.connection, { state: "connecting", cause: null, tries: 1, since: 0, nextTry: null });
  timers.advance(300);
  sockets[0].closeWith(1006);
  const cause = { code: "unreachable", message: "unreachable", closeCode: 1006 };
  assert.deepEqual(chat.connection, { state: "waiting", cause, tries: 1, since: 0, nextTry: 800 });
  timers.advance(500);
  assert.deepEqual(chat.connection, { state: "connecting", cause, tries: 2, since: 0, nextTry: null });
  sockets[1].closeWith(1006);
  assert.deepEqual(chat.connection, { state: "waiting", cause, tries: 2, since: 0, nextTry: 1800 });
  timers.advance(1000);
  sockets[2].deliver(new Log().ready());
  assert.deepEqual(chat.connection, { state: "open", cause: null, tries: 0, since: 1800, nextTry: null });
  assert.deepEqual(heard.map(([state]) => state), ["waiting", "connecting", "waiting", "connecting", "open"]);
  assert.equal(new Set(heard.map(([, connection]) => connection)).size, 5, "each is another object");
  timers.advance(200);
  sockets[2].closeWith();
  assert.deepEqual(shortOf(chat), ["waiting", "lost", 0]);
  assert.equal(chat.connection.since, 2000, "when it was lost");
});

const CAUSES = {
  "closes before it says anything": ["unreachable", ({ socket }) => socket.closeWith(1006)],
  "cannot be reached, as npm's ws says it": ["unreachable", ({ socket }) => socket.onerror({ message: "connect ECONNREFUSED" }), "connect ECONNREFUSED"],
  "is no server of ours": ["lost", ({ socket }) => socket.deliverText("<html>")],
  "has too many connections": ["overloaded", ({ socket }) => socket.onclose({ code: 1013, reason: "too many connections" }), "too many connections"],
  "has too many connections from here": ["rate_limited", ({ socket }) => socket.closeWith(4429)],
  "says an error before ready": ["internal", ({ socket }) => (socket.deliver(error({ code: "internal" })), socket.closeWith(1013)), "Busy."],
  "says nothing": ["timeout", ({ timers }) => timers.advance(10_000)],
  "is never ready": ["timeout", ({ socket, timers }) => (socket.deliver({ type: "alive" }), timers.advance(10_000))],
};
const OPEN_CAUSES = {
  "closes": ["lost", ({ socket }) => socket.closeWith(1006)],
  "falls silent": ["lost", ({ timers }) => timers.advance(45_000)],
  "does not answer a ping": ["lost", ({ page, timers }) => (page.dispatchEvent(new Event("online")), timers.advance(5000))],
  "leaves a gap": ["lost", ({ socket, log }) => (log.question("t1"), socket.deliver(log.token("t1", "Be")))],
  "restarts": ["going_away", ({ socket }) => socket.closeWith(1012)],
  "says that it goes away": ["going_away", ({ socket, timers }) => (socket.deliver({ type: "going_away", reconnect_after: 1000 }), timers.advance(1000))],
  "says why it closes": ["overloaded", ({ socket }) => (socket.deliver(error()), socket.closeWith(1013)), "Busy."],
  "has refused a question long ago": ["lost", ({ socket }) => (socket.deliver(error(), { type: "alive" }), socket.closeWith(1006))],
  "has refused a question just before": ["lost", ({ chat, socket }) => {
    socket.deliver(error({ code: "queue_full", id: chat.ask("Why?").id }));
    socket.closeWith(1006);
  }],
  "wants to be left alone": ["rate_limited", ({ chat, socket }) => {
    socket.deliver(error({ code: "rate_limited", id: chat.ask("Why?").id, retry_after: 60_000 }), { type: "alive" });
    socket.closeWith(1006);
  }, "Busy."],
};

for (const [causes, create] of [[CAUSES, client], [OPEN_CAUSES, openedClient]])
  for (const [what, [code, act, message = code]] of Object.entries(causes))
    test(`the cause is ${code} where a server ${what}${create === openedClient ? ", once it is open" : ""}`, () => {
      const all = create();
      act(all);
      const { cause, state } = all.chat.connection;
      assert.deepEqual([state, cause.code, cause.message], ["waiting", code, message]);
    });

test("a session that is gone is the cause of a new one, and no loss: no attempt has failed", () => {
  for (const create of [client, openedClient]) {
    const { chat, socket, sockets } = create();
    const states = collectEvents(chat, "state");
    socket.closeWith(4404);
    assert.deepEqual([...shortOf(chat), chat.connection.cause.closeCode], ["connecting", "session_not_found", 1, 4404]);
    sockets[1].deliver(new Log("s2").ready());
    assert.deepEqual([states, ...shortOf(chat)], [["connecting", "open"], "open", null, 0]);
  }
});

test("a token that fails is a cause, and an end has one", async () => {
  const failing = client({ token: () => Promise.reject(new Error("No cookie.")) });
  await flushPromises();
  assert.deepEqual(shortOf(failing.chat), ["waiting", "unauthorized", 1]);
  assert.equal(failing.chat.connection.cause.message, "No cookie.");
  failing.chat.close();
  assert.deepEqual([...shortOf(failing.chat), failing.chat.connection.nextTry], ["closed", "closed", 1, null]);
  const refused = client();
  refused.socket.onclose({ code: 4401, reason: "Who are you?" });
  const cause = { code: "unauthorized", message: "Who are you?", closeCode: 4401 };
  assert.deepEqual([refused.chat.connection.cause, refused.chat.connection.nextTry], [cause, null]);
});

test("the next attempt is told anew when a server's retry_after has passed", (t) => {
  const { chat, socket, timers, log } = withClock(t, {}, openedClient);
  socket.deliver(error({ retry_after: 60_000 }));
  const states = collectEvents(chat, "state");
  socket.closeWith(1013);
  assert.equal(chat.connection.nextTry, 60_000);
  timers.advance(60_000);
  assert.deepEqual([states, chat.connection.nextTry], [["waiting", "waiting"], 60_500]);
  chat.fresh();
  assert.equal(chat.connection.nextTry, null);
  assert.equal(log.seq, 0);
});

test("another conversation that has to wait says why", () => {
  const { chat, socket } = openedClient();
  socket.deliver(error({ retry_after: 60_000 }), { type: "alive" });
  chat.fresh();
  assert.deepEqual(shortOf(chat), ["waiting", "overloaded", 0]);
});

// --- opened ----------------------------------------------------------------------------------------------------------

test("opened resolves to the conversation, and leaves no timer", async () => {
  const { chat, socket, timers, sockets } = client();
  let isOpen = false;
  chat.opened.then(() => (isOpen = true));
  await flushPromises();
  assert.equal(isOpen, false);
  socket.deliver(new Log().ready());
  assert.equal(await chat.opened, chat);
  timers.advance(40_000);
  sockets[0].closeWith();
  assert.equal(await chat.opened, chat, "once and for all");
});

test("opened rejects after its time with the cause and the tries, and the client goes on", async () => {
  for (const [options, milliseconds, tries] of [[{}, 30_000, 6], [{ openTimeout: 1000 }, 1000, 2]]) {
    const { chat, sockets, timers } = client({ ...options, serve: (socket) => socket.closeWith(1006) });
    timers.advance(milliseconds);
    await assert.rejects(chat.opened, { code: "timeout", message: `Not open after ${tries} tries: unreachable` });
    timers.advance(60_000);
    assert.ok(sockets.length > tries);
    assert.equal(chat.state, "waiting");
    chat.close();
    assert.equal(timers.count, 0);
  }
  const hanging = client({ openTimeout: 500 });
  hanging.timers.advance(500);
  await assert.rejects(hanging.chat.opened, { code: "timeout", message: "Not open after 1 tries: no answer" });
});

test("opened has no limit where that is Infinity, nor a short one where it is more than a timer has", async () => {
  for (const [openTimeout, milliseconds] of [[Infinity, 2 ** 31], [2 ** 33, 2 ** 30]]) {
    const { chat, socket, timers } = client({ openTimeout });
    socket.deliver(error({ retry_after: 2 ** 33 }));
    socket.closeWith();
    timers.advance(milliseconds);
    assert.equal(await Promise.race([chat.opened, flushPromises()]), undefined);
    chat.close();
    await assert.rejects(chat.opened, { code: "closed" });
    assert.equal(timers.count, 0);
  }
});

test("opened rejects with what ends the conversation before, and nobody has to handle that", async () => {
  process.on("unhandledRejection", assert.fail);
  for (const [end, code] of [[({ socket }) => socket.closeWith(4401), "unauthorized"], [({ socket }) => socket.closeWith(4403), "forbidden"], [({ chat }) => chat.close(), "closed"]]) {
    const all = client();
    end(all);
    await flushPromises();
    await assert.rejects(all.chat.opened, { code });
  }
  process.off("unhandledRejection", assert.fail);
});

// --- attempts that hang ----------------------------------------------------------------------------------------------

test("a handshake gets 10 s, from its socket to ready, however slow a token is", async () => {
  let give;
  const { chat, sockets, timers } = client({ token: () => new Promise((resolve) => (give = resolve)) });
  await flushPromises();
  timers.advance(20_000);
  give("token");
  await flushPromises();
  timers.advance(9000);
  sockets[0].deliver({ type: "alive" });
  timers.advance(999);
  assert.equal(chat.state, "connecting");
  timers.advance(1);
  assert.deepEqual([chat.state, sockets[0].closed], ["waiting", true]);
});

test("a connection that was ready in time has no limit any more, and is not replaced", () => {
  const { chat, socket, sockets, timers } = client();
  timers.advance(9999);
  socket.deliver(new Log().ready());
  chat.reconnect();
  assert.deepEqual([sockets.length, socket.sent], [1, [{ type: "ping" }]]);
  socket.deliver({ type: "pong" });
  timers.advance(44_999);
  assert.equal(chat.state, "open");
});

const WAKE_UPS = {
  online: ({ page }) => page.dispatchEvent(new Event("online")),
  visibilitychange: ({ page }) => page.dispatchEvent(new Event("visibilitychange")),
  reconnect: ({ chat }) => chat.reconnect(),
};

for (const [what, wakeUp] of Object.entries(WAKE_UPS)) {
  test(`${what} replaces an attempt that hangs, at once`, () => {
    const all = client();
    all.timers.advance(2000);
    wakeUp(all);
    assert.deepEqual([all.sockets.length, all.sockets[0].closed, all.chat.state], [2, true, "connecting"]);
    wakeUp(all);
    assert.equal(all.sockets.length, 2, "that one is new");
    all.sockets[1].deliver(new Log().ready());
    all.timers.advance(10_000);
    assert.deepEqual([all.chat.state, all.sockets.length], ["open", 2]);
  });

  test(`${what} gives an attempt that is new 2 s, and not 10`, () => {
    const all = client();
    all.timers.advance(500);
    wakeUp(all);
    all.timers.advance(1499);
    assert.equal(all.sockets.length, 1);
    all.timers.advance(1);
    assert.deepEqual([all.sockets.length, all.sockets[0].closed], [2, true]);
    all.timers.advance(9999);
    assert.equal(all.sockets.length, 2, "the next one has its 10 s");
  });

  test(`${what} makes an attempt at once where one is waited for, unless the server wants none`, () => {
    const all = client();
    all.socket.closeWith();
    wakeUp(all);
    assert.deepEqual([all.sockets.length, all.chat.state], [2, "connecting"]);
    all.socket.deliver(error({ retry_after: 60_000 }));
    all.timers.advance(3000);
    wakeUp(all);
    assert.equal(all.socket.closed, false, "it may still be ready");
    all.socket.closeWith(1013);
    wakeUp(all);
    assert.deepEqual([all.sockets.length, all.chat.state], [2, "waiting"]);
    all.timers.advance(57_000 + 999);
    assert.equal(all.sockets.length, 2);
    all.timers.advance(1);
    assert.equal(all.sockets.length, 3);
  });

  test(`${what} checks an open connection, once for all that come before there is an answer`, () => {
    const all = openedClient();
    wakeUp(all);
    all.timers.advance(3000);
    wakeUp(all);
    assert.deepEqual(all.socket.sent, [{ type: "ping" }]);
    all.timers.advance(1999);
    assert.equal(all.chat.state, "open");
    all.timers.advance(1);
    assert.equal(all.chat.state, "waiting", "a second one does not prolong it");
    all.timers.advance(500);
    all.socket.deliver(all.log.ready());
    wakeUp(all);
    assert.deepEqual(all.socket.sent, [{ type: "ping" }]);
  });

  test(`${what} after the end does nothing`, () => {
    const all = openedClient();
    all.chat.close();
    wakeUp(all);
    assert.deepEqual([all.sockets.length, all.chat.state, all.timers.count], [1, "closed", 0]);
  });
}

test("a token that takes long is asked for again at a wake-up", async () => {
  const asked = [];
  const { timers, page, sockets } = client({ token: () => new Promise((resolve) => asked.push(resolve)) });
  await flushPromises();
  timers.advance(2000);
  page.dispatchEvent(new Event("online"));
  await flushPromises();
  assert.equal(asked.length, 2);
  asked[0]("late");
  asked[1]("token");
  await flushPromises();
  assert.deepEqual(sockets.map(({ protocols }) => protocols[1]), ["askbot.bearer.token"]);
});

test("wake-ups each second make no more than one attempt in two seconds", () => {
  const { sockets, timers, page } = client();
  for (let second = 0; second < 60; second += 1) {
    page.dispatchEvent(new Event("online"));
    timers.advance(1000);
  }
  assert.ok(sockets.length <= 31, `${sockets.length} connections`);
});

// --- without a WebSocket ---------------------------------------------------------------------------------------------

test("without a WebSocket, as in Node 20, connect says what to do", () => {
  const page = new EventTarget();
  assert.throws(() => connect({ url: "ws://test/v1/chat", page, timers: globalThis }), /Node 22.*WebSocket.*ws/);
});
