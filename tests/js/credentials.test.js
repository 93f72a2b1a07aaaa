/** Credentials that end: a fresh one is asked for in time, whatever the clock says, and nothing is lost or read twice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "../../client/credentials.js"; // or the first test would wait for it
import { client, collectEvents, flushPromises, Log } from "./fakes.js";

const MINUTE_MS = 60_000;
const LIFETIME_MS = 5 * MINUTE_MS;
const DAYS_MS = 2 * 24 * 60 * MINUTE_MS;
const START = Date.parse("2026-11-28T12:00:00Z"); // of the server's clock

const settled = () => new Promise((resolve) => setImmediate(resolve));

/**
 * A client, and a server that refuses what has expired and closes a connection at that moment. A credential is the time at
 * which it ends. The client's clock is `ahead` of the server's.
 */
function signIn({ mock }, { ahead = 0, lifetime = LIFETIME_MS, user = "anna", log = new Log(), ...options }) {
  let all;
  const server = { auths: [], opened: 0, closedByExpiry: 0, refusals: 0, after: [] };
  const now = () => START + all.timers.now;
  const credential = () => String(now() + lifetime);
  const wrap = (name) => options[name] && (() => options[name](credential, now));
  const set = (socket, expires) => {
    all.timers.clearTimeout(socket.end);
    socket.end = all.timers.setTimeout(() => socket.closed || closeBy(socket), expires - now());
  };
  function closeBy(socket) {
    server.closedByExpiry += 1;
    socket.closeWith(4401);
  }
  function serve(socket) {
    const given = socket.protocols[1]?.replace("askbot.bearer.", "") ?? socket.url.searchParams.get("ticket");
    const after = Number(socket.after() ?? 0);
    server.after.push(after);
    if (!(Number(given) > now())) {
      server.refusals += 1;
      return socket.closeWith(4401);
    }
    server.opened += 1;
    socket.send = (text) => answer(socket, JSON.parse(text));
    set(socket, Number(given));
    socket.deliver(log.ready(after, { user, expires: new Date(Number(given)).toISOString() }), ...log.resume(after));
  }
  function answer(socket, frame) {
    if (socket.isDead) return;
    if (socket.closed) throw new Error("sent on a closed socket");
    if (frame.type !== "auth") return server.onFrame?.(socket, frame);
    server.auths.push({ at: now(), left: Number(frame.token) - now() });
    set(socket, Number(frame.token));
    socket.deliver({ type: "authorized", id: frame.id, user, expires: new Date(Number(frame.token)).toISOString() });
  }
  mock.method(Date, "now", () => START + ahead + (all?.timers.now ?? 0));
  all = client({ ...options, token: wrap("token"), ticket: wrap("ticket"), serve });
  const question = (turn) => log.question(turn, "Why?", { created: new Date(now()).toISOString() });
  return Object.assign(all, { server, log, now, question });
}

/** Lets the first connection be made. */
async function begin(all) {
  await flushPromises();
  all.timers.advance(20);
  await flushPromises();
}

/** Lets time pass, and what is asynchronous happen between. */
async function pass(all, milliseconds, step = 1000) {
  for (const end = all.timers.now + milliseconds; all.timers.now < end;) {
    all.timers.advance(Math.min(step, end - all.timers.now));
    await write(all, ...(all.chat.state === "open" ? [{ type: "alive" }] : []));
  }
}

/** Has the server write to the log, and tell of it. */
async function write(all, ...events) {
  if (!all.socket.closed && !all.socket.isDead) all.socket.deliver(...events);
  await settled();
}

test("a session lasts two days over tokens of five minutes, on one connection, and loses and repeats nothing", async (t) => {
  const all = signIn(t, { token: (credential) => credential() });
  const heard = [];
  all.chat.addEventListener("frame", ({ detail }) => detail.type === "token" && heard.push(detail.text));
  const errors = collectEvents(all.chat, "error");
  await begin(all);
  for (let turn = 0; all.timers.now < DAYS_MS; turn += 1) {
    await pass(all, 30 * MINUTE_MS, 30_000);
    await write(all, all.question(`t${turn}`), all.log.token(`t${turn}`, `${turn} `), await all.log.done(`t${turn}`));
  }
  assert.deepEqual([all.server.opened, all.server.closedByExpiry, errors], [1, 0, []]);
  assert.equal(heard.join(""), Array.from({ length: 96 }, (_, turn) => `${turn} `).join(""));
  assert.ok(all.server.auths.length <= (2 * 24 * 60) / 4 + 100, `${all.server.auths.length} tokens`);
  assert.equal(all.chat.state, "open");
});

test("a session lasts two days over tickets of five minutes: each new connection reads on where the last one was", async (t) => {
  const all = signIn(t, { ticket: (credential) => credential() });
  const heard = [];
  all.chat.addEventListener("frame", ({ detail }) => detail.type === "token" && heard.push(detail.text));
  await begin(all);
  const texts = [];
  for (let turn = 0; all.timers.now < DAYS_MS; turn += 1) {
    await write(all, all.question(`t${turn}`));
    for (let piece = 0; piece < 7; piece += 1) {
      await pass(all, 4 * MINUTE_MS, 30_000);
      texts.push(`${turn}.${piece} `);
      await write(all, all.log.token(`t${turn}`, texts.at(-1)));
    }
    await write(all, await all.log.done(`t${turn}`));
  }
  await pass(all, 1000);
  assert.equal(heard.join(""), texts.join(""));
  assert.equal(all.server.closedByExpiry + all.server.refusals, 0);
  assert.ok(all.server.opened > 500);
  assert.equal(all.socket.url.searchParams.getAll("ticket").length, 1);
});

for (const hours of [-5, 3])
  test(`a clock that is ${hours} hours off costs one connection at most, until a question says the server's time`, async (t) => {
    const all = signIn(t, { ahead: hours * 60 * MINUTE_MS, token: (credential) => credential() });
    await begin(all);
    await pass(all, DAYS_MS / 8, 15_000);
    assert.ok(all.server.closedByExpiry <= 1, `${all.server.closedByExpiry} connections were closed`);
    assert.equal(all.server.refusals, 0);
    assert.ok(all.server.auths.length <= 8 * 60 + 1, "a renewal is not made more than about once a minute");
    await write(all, all.question("t1"));
    await settled();
    const before = all.server.auths.length;
    await pass(all, 60 * MINUTE_MS, 15_000);
    assert.ok(all.server.auths.length - before <= 17, `${all.server.auths.length - before} renewals in an hour`);
  });

test("a token is renewed a minute before it ends, and at half of the time where that is less than two", async (t) => {
  for (const [lifetime, after] of [[LIFETIME_MS, 4 * MINUTE_MS], [90_000, 45_000], [2 * 3600_000, 119 * MINUTE_MS]]) {
    const all = signIn(t, { lifetime, token: (credential) => credential() });
    await begin(all);
    await pass(all, after - 1000, Math.min(30_000, after / 16));
    assert.equal(all.server.auths.length, 0);
    await pass(all, 1000);
    assert.equal(all.server.auths.length, 1);
    t.mock.restoreAll();
  }
});

test("a computer that has slept comes back with a fresh token", async (t) => {
  let made = 0;
  const all = signIn(t, { token: (credential) => ((made += 1), credential()) });
  await begin(all);
  all.socket.isDead = true; // the server's close is not seen, and no timer runs
  all.timers.clearTimeout(all.socket.end);
  all.timers.now += 8 * 60 * MINUTE_MS;
  all.page.dispatchEvent(new Event("visibilitychange"));
  await pass(all, 10_000);
  assert.deepEqual([all.server.opened, all.server.refusals, all.chat.state], [2, 0, "open"]);
  await pass(all, 60 * MINUTE_MS, 15_000);
  assert.deepEqual([all.server.opened, all.server.closedByExpiry], [2, 0]);
});

test("a function that fails, or gives what is no fresh one, is asked again while there is time", async (t) => {
  let failing = 0;
  const all = signIn(t, {
    token(credential) {
      failing -= 1;
      if (failing === 1) throw new Error("No network.");
      return credential();
    },
  });
  const errors = collectEvents(all.chat, "error");
  await begin(all);
  failing = 2;
  await pass(all, 4 * MINUTE_MS + 35_000);
  assert.deepEqual(errors.map(({ code, message, retryable }) => [code, message, retryable]), [["unauthorized", "No network.", true]]);
  assert.deepEqual([all.server.opened, all.server.auths.length], [1, 1]);
});

test("what the server has not renewed is asked for again, and no oftener than each five seconds", async (t) => {
  let stale;
  const all = signIn(t, { token: (credential) => (stale ??= credential()) });
  const times = all.server.auths;
  await begin(all);
  await pass(all, LIFETIME_MS - 1000);
  assert.ok(times.length >= 4 && times.length <= 10, `${times.length}`);
  for (let place = 1; place < times.length; place += 1) assert.ok(times[place].at - times[place - 1].at >= 5000);
  stale = undefined;
  await pass(all, 30_000);
  assert.equal(all.chat.state, "open");
});

test("another user's token is for a new connection, as which nothing of the first user's is asked", async (t) => {
  const { chat, sockets, timers } = client({ token: () => "token" });
  const log = new Log();
  await flushPromises();
  const errors = collectEvents(chat, "error");
  const expires = new Date(Date.now() + 2000).toISOString();
  sockets[0].deliver(log.ready(0, { user: "anna", expires }));
  await flushPromises();
  t.mock.method(Date, "now", () => Date.parse(expires) - 1000 + timers.now);
  const asked = chat.ask("What does Anna want?");
  timers.advance(5000);
  timers.advance(5000);
  await flushPromises();
  const [auth] = sockets[0].sent.filter(({ type }) => type === "auth");
  sockets[0].deliver({ type: "error", id: auth.id, code: "forbidden", message: "Another user's." });
  await flushPromises();
  sockets[1].closeWith(4404);
  timers.advance(1000);
  await flushPromises();
  sockets[2].deliver(new Log("s2").ready(0, { user: "ben" }));
  assert.deepEqual(sockets[2].sent, []);
  await assert.rejects(asked, ({ code, text }) => code === "unauthorized" && text === undefined);
  assert.ok(errors.every(({ text }) => text === undefined));
  assert.equal(chat.user, "ben");
});

test("a ticket is asked for before each connection, and is in its address only", async () => {
  let count = 0;
  const { sockets, timers, chat } = client({ ticket: async () => `t/${(count += 1)}` });
  await flushPromises();
  assert.deepEqual([sockets[0].url.searchParams.get("ticket"), sockets[0].protocols], ["t/1", ["askbot.v1"]]);
  sockets[0].deliver(new Log().ready());
  sockets[0].closeWith();
  timers.advance(500);
  await flushPromises();
  assert.equal(sockets[1].url.searchParams.get("ticket"), "t/2");
  assert.ok(!JSON.stringify(chat).includes("t/"));
});

test("nothing is renewed for a credential that is a text, nor where none ends, nor after the end", async (t) => {
  const expires = new Date(Date.now() + LIFETIME_MS).toISOString();
  for (const [options, more] of [[{ token: "token" }, { expires }], [{ token: () => "token" }, { expires: null }]]) {
    const { sockets, timers } = client(options);
    await flushPromises();
    const known = timers.count;
    sockets[0].deliver(new Log().ready(0, more));
    await flushPromises();
    assert.ok(timers.count <= known + 1);
    timers.advance(40_000);
    assert.deepEqual(sockets[0].sent, []);
  }
  const all = signIn(t, { token: (credential) => credential() });
  await begin(all);
  all.chat.close();
  all.timers.clearTimeout(all.socket.end);
  await settled();
  assert.equal(all.timers.count, 0);
});
