/** How often a client connects, and when: after losses, to servers that misbehave, and with tokens that end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "../../client/askbot.js";
import { client, collectEvents, flushPromises, Log, openedClient, seeded } from "./fakes.js";

const HOUR = 3_600_000;
const error = (more) => ({ type: "error", code: "overloaded", message: "Busy.", retryable: true, ...more });

/** Loses connections until there is another one, and returns how long that took at most (`random` is 1). */
function waitAfterLoss({ sockets, timers }, code) {
  const known = sockets.length;
  const start = timers.now;
  sockets.at(-1).closeWith(code);
  while (sockets.length === known) timers.advance(250);
  return timers.now - start;
}

test("the first attempt waits a random time too", () => {
  const all = openedClient({ random: () => 0.5 });
  assert.equal(waitAfterLoss(all), 250);
});

test("a million attempts are none too many", () => {
  assert.equal(delay(1e6, () => 1), 30_000);
  assert.equal(delay(1e6, () => 0), 0);
});

test("only an event that is new counts as a connection that works", async () => {
  const all = openedClient();
  const { log } = all;
  const say = (...frames) => all.sockets.at(-1).deliver(...frames);
  say(log.question("t1"), log.token("t1", "one"));
  assert.equal(waitAfterLoss(all), 500);
  const unlogged = [log.ready(4), error(), { type: "alive" }, { type: "pong" }, { type: "rainbow" }];
  unlogged.push({ type: "history", session: "s1", id: "h", turns: [], more: false }, ...log.events);
  say(...unlogged);
  assert.equal(waitAfterLoss(all), 1000);
  say(log.ready(0, { log: "other" }), ...log.events);
  assert.equal(waitAfterLoss(all), 2000);
  say(log.ready(4, { log: "other" }), { ...log.token("t1", " two"), seq: 9 });
  assert.equal(waitAfterLoss(all), 4000, "that has a gap");
  say(log.ready(4, { log: "other" }), { type: "rainbow", session: "s1", seq: 9 });
  assert.equal(waitAfterLoss(all), 500, "of whatever type");
});

test("a question that gets into the log counts in a session that begins anew", () => {
  const all = openedClient();
  const { chat, log, sockets } = all;
  log.seq = 1000;
  sockets[0].deliver(log.ready(1000), log.question("t1"));
  waitAfterLoss(all);
  sockets.at(-1).closeWith(4404);
  all.timers.advance(30_000);
  const other = new Log("s2");
  sockets.at(-1).deliver(other.ready());
  const asked = chat.ask("Why?");
  sockets.at(-1).deliver(other.question("t2", "Why?", { id: asked.id }));
  assert.equal(waitAfterLoss(all), 500);
});

test("a new session is tried at once where one is gone, and again after a connection of half a minute", () => {
  const all = openedClient({ session: "s1" });
  assert.equal(waitAfterLoss(all, 4404), 0);
  const log = new Log("s2");
  all.sockets.at(-1).deliver(log.ready(), log.question("t1"));
  all.timers.advance(29_000);
  assert.equal(waitAfterLoss(all, 4404), 500);
  all.sockets.at(-1).deliver(new Log("s3").ready());
  all.timers.advance(30_000);
  assert.equal(waitAfterLoss(all, 4404), 0);
});

test("a new session is tried no sooner than retry_after says", () => {
  const { chat, sockets, timers } = openedClient();
  sockets[0].deliver(error({ retry_after: 5000 }));
  sockets[0].closeWith(4404);
  assert.deepEqual([chat.state, chat.connection.cause.closeCode, sockets.length], ["waiting", 4404, 1]);
  timers.advance(5500);
  assert.deepEqual([sockets.length, sockets[1].session()], [2, null]);
});

test("retry_after is kept, with jitter on top, and a wake-up does not undercut it", () => {
  const { sockets, timers, page, chat } = openedClient();
  sockets[0].deliver(error({ retry_after: 60_000 }), error({ retry_after: 1000 }));
  sockets[0].closeWith(1013);
  timers.advance(59_999);
  page.dispatchEvent(new Event("online"));
  assert.deepEqual([sockets.length, chat.state], [1, "waiting"]);
  timers.advance(1 + 499);
  assert.equal(sockets.length, 1);
  timers.advance(1);
  assert.equal(sockets.length, 2);
});

test("retry_after of an error that is long past, or before a new event, holds nothing up", () => {
  const all = openedClient();
  all.socket.deliver(error({ retry_after: 60_000 }), all.log.question("t1"));
  assert.equal(waitAfterLoss(all), 500);
  all.socket.deliver(all.log.ready(1), error({ retry_after: 2000 }));
  all.timers.advance(3000);
  assert.equal(waitAfterLoss(all), 1000);
});

test("fresh waits for retry_after too", () => {
  const { chat, sockets, timers, log } = openedClient();
  sockets[0].deliver(log.question("t1"), error({ retry_after: 5000 }));
  chat.fresh();
  assert.deepEqual([sockets.length, sockets[0].closed, chat.state, chat.view.turns], [1, true, "waiting", []]);
  timers.advance(5500);
  assert.deepEqual([sockets.length, sockets[1].session()], [2, null]);
});

test("a time of more than a timer has is not taken for none", () => {
  const { sockets, timers } = openedClient();
  sockets[0].deliver(error({ retry_after: 2 ** 33 }));
  sockets[0].closeWith();
  timers.advance(1e9);
  assert.equal(sockets.length, 1);
});

test("each wake-up makes one attempt at most", () => {
  const { sockets, page } = openedClient();
  sockets[0].closeWith();
  for (const name of ["online", "visibilitychange", "online"]) page.dispatchEvent(new Event(name));
  assert.equal(sockets.length, 2);
});

test("one that goes away and closes is come back to at once, as after any loss", () => {
  const all = openedClient();
  all.socket.deliver({ type: "going_away", reconnect_after: 20_000 });
  all.timers.advance(2000);
  assert.equal(waitAfterLoss(all, 1012), 500);
});

test("one that goes away before ready is sent nothing, and left", () => {
  const { chat, sockets, timers } = client();
  chat.ask("Why?");
  sockets[0].deliver({ type: "going_away", reconnect_after: 1000 }, new Log().ready());
  assert.deepEqual([chat.state, sockets[0].sent], ["connecting", []]);
  timers.advance(1500);
  assert.deepEqual([sockets.length, sockets[0].closed], [2, true]);
});

test("one that says again and again that it goes away is left when it first said, or earlier", () => {
  for (const [times, left] of [[[1000, 1000, 1000], 1000], [[1000, 300], 700]]) {
    const { chat, socket, timers } = openedClient();
    const lost = [];
    chat.addEventListener("state", () => lost.push(timers.now));
    for (const time of times) socket.deliver({ type: "going_away", reconnect_after: time }), timers.advance(400);
    timers.advance(1000);
    assert.equal(lost[0], left);
  }
});

test("who begins another conversation when a frame is refused has the connection of that", () => {
  const { chat, sockets, timers } = openedClient();
  chat.ask("Why?");
  chat.addEventListener("error", chat.fresh, { once: true });
  sockets[0].closeWith(1009);
  assert.deepEqual([chat.state, sockets.length], ["connecting", 2]);
  timers.advance(9000);
  assert.deepEqual([chat.state, sockets.length], ["connecting", 2]);
});

test("one that goes away and falls silent is a lost one", () => {
  const { sockets, timers, log } = openedClient();
  sockets[0].deliver({ type: "going_away", reconnect_after: HOUR });
  timers.advance(44_000);
  sockets[0].deliver(log.question("t1"));
  timers.advance(44_999);
  assert.equal(sockets[0].closed, false);
  timers.advance(1);
  assert.equal(sockets[0].closed, true);
});

for (const [what, text] of [["no JSON", "Why?"], ["cut off", '{"type":"al'], ["null", "null"], ["a broken event", '{"type":"token","session":"s1","seq":9}'], ["an event with a text as its seq", '{"type":"question","session":"s1","seq":"1","turn":"t9"}'], ["a history of no turns", '{"type":"history","session":"s1","turns":[7],"more":false}'], ["a ready without a place", '{"type":"ready","session":"s1","seq":"x","from":null}']])
  test(`a frame that is ${what} is a reason to come back`, () => {
    const all = openedClient();
    all.socket.deliverText(text);
    assert.equal(all.chat.state, "waiting");
    all.timers.advance(500);
    all.socket.deliver(all.log.ready(), all.log.question("t1"));
    assert.equal(all.chat.view.turns.length, 1);
  });

const IGNORED = ["5", '"alive"', "[]", "{}", "true", '{"session":"s1","seq":4}', '{"type":7,"session":"s1","seq":4}'];
IGNORED.push('{"type":"alive","session":3,"seq":[]}'); // unknown fields

for (const text of IGNORED)
  test(`a frame that is ${text} is passed over`, () => {
    const { chat, socket, log } = openedClient();
    socket.deliverText(text);
    socket.deliver(log.question("t1"));
    assert.deepEqual([chat.state, chat.view.turns.length], ["open", 1]);
  });

test("an event before ready is passed over: it comes again after that", () => {
  const all = openedClient();
  const { chat, log, sockets } = all;
  sockets[0].deliver(log.question("t1"), log.token("t1", "Be"));
  waitAfterLoss(all);
  const early = log.token("t1", "cause");
  sockets[1].deliver(early);
  assert.equal(chat.view.seq, 3);
  sockets[1].deliver(log.ready(3), early);
  assert.deepEqual(chat.view.turns.map(({ answer }) => answer), ["Because"]);
});

test("an event of a type that an object has by nature is an unknown one", () => {
  const { chat, socket, log } = openedClient();
  for (const type of ["constructor", "toString", "__proto__"]) socket.deliver(log.add({ type }));
  assert.deepEqual([chat.state, chat.view.seq], ["open", 3]);
});

// --- servers that misbehave, for an hour of the clock ----------------------------------------------------------------

const replay = (log) => [log.ready(0), ...log.events];

/** What a server does with each connection; `log` has a question and a part of its answer. */
const MISBEHAVING = {
  "is overloaded": (socket) => (socket.deliver(error()), socket.closeWith(1013)),
  "is overloaded once it is ready": (socket, log) => (socket.deliver(log.ready(0), error()), socket.closeWith(1013)),
  "closes after ready": (socket, log) => (socket.deliver(log.ready(Number(socket.after()))), socket.closeWith(1000)),
  "replays with a gap at its end": (socket, log) => socket.deliver(...replay(log), { ...log.events[1], seq: 100 }),
  "has a new history each time": (socket, log, number) => {
    socket.deliver(log.ready(0, { log: `history ${number}` }), ...log.events);
    socket.closeWith(1006);
  },
  "has a new session each time": (socket, log, number) => {
    const session = `s${number}`;
    socket.deliver({ ...log.ready(0), session }, ...log.events.map((event) => ({ ...event, session })));
    socket.closeWith(1006);
  },
  "has lost its session each time": (socket, log) => {
    socket.deliver(...replay(log), error({ code: "session_not_found", session: "s1" }));
  },
  "is rewound each time": (socket) => (socket.deliver(new Log().ready(0)), socket.closeWith(1006)),
  "goes away at once": (socket, log) => socket.deliver(log.ready(0), { type: "going_away", reconnect_after: 0 }),
  "goes away before ready": (socket) => socket.deliver({ type: "going_away", reconnect_after: 0 }),
  "says something that is not logged": (socket, log) => (socket.deliver(log.ready(0), { type: "alive" }, { type: "pong" }), socket.closeWith()),
  "wants to be left alone for a while": (socket, log) => (socket.deliver(log.ready(0), error({ retry_after: 1000 })), socket.closeWith()),
  "sends no JSON": (socket, log) => (socket.deliver(log.ready(0)), socket.deliverText("<html>")),
  "sends null": (socket) => socket.deliverText("null"),
  "does not like our frames": (socket, log) => (socket.deliver(log.ready(0)), socket.closeWith(1008)),
  "sees a frame too large": (socket, log) => (socket.deliver(log.ready(0)), socket.closeWith(1009)),
  "finds no session": (socket) => socket.closeWith(4404),
  "falls silent": (socket, log) => socket.deliver(log.ready(0)),
  "never is ready": (socket) => socket.deliver({ type: "alive" }),
};

for (const [what, misbehave] of Object.entries(MISBEHAVING))
  for (const isNamed of [true, false])
    test(`a server that ${what} is not hammered (${isNamed ? "a known session" : "a new one"})`, () => {
      const log = new Log();
      log.question("t1");
      log.token("t1", "one");
      const random = seeded(14).next;
      const serve = (socket, number) => misbehave(socket, log, number);
      const { chat, sockets, timers } = client({ serve, random, session: isNamed ? "s1" : undefined });
      for (let number = 0; number < 3; number += 1) chat.ask("Why?");
      timers.advance(HOUR);
      assert.ok(sockets.length > 50, `${sockets.length} connections: it does come back`);
      assert.ok(sockets.length < 300, `${sockets.length} connections`);
    });

test("a day with a server that is up for a second each minute costs at most 8,000 connections, and ends with the answer", async () => {
  const log = new Log();
  let asked;
  let isAsked = false;
  let isAnswered = false;
  const { chat, sockets, timers } = client({
    random: seeded(14).next,
    serve(socket) {
      if (timers.now % 60_000 > 1000) return socket.closeWith(1006);
      const after = Number(socket.after() ?? 0);
      socket.deliver(log.ready(after), ...log.resume(after));
      isAsked ||= socket.sent.some(({ id }) => id === asked.id);
      if (isAsked && !log.seq) socket.deliver(log.question("t1", "Why?", { id: asked.id }));
      else if (isAsked && !isAnswered) socket.deliver(log.token("t1", "word "));
      timers.setTimeout(() => socket.closed || socket.closeWith(1006), 1000 - (timers.now % 60_000));
    },
  });
  asked = chat.ask("Why?");
  timers.advance(24 * HOUR);
  assert.ok(sockets.length <= 8000, `${sockets.length} connections`);
  assert.ok(log.events.length > 20, `${log.events.length} events`);
  isAnswered = true;
  await log.done("t1");
  timers.advance(HOUR);
  assert.equal((await asked).answer, log.answer("t1"));
  assert.equal(sockets.flatMap(({ sent }) => sent).filter(({ type }) => type === "ask").length, 1);
});

// --- tokens ----------------------------------------------------------------------------------------------------------

/** Lets a token function answer, which is asked in a microtask. */
const connected = flushPromises;

test("a function is asked for a token before each connection", async () => {
  let number = 0;
  const { sockets, timers } = client({ token: () => `token-${(number += 1)}` });
  assert.equal(sockets.length, 0);
  await connected();
  assert.deepEqual(sockets[0].protocols, ["askbot.v1", "askbot.bearer.token-1"]);
  sockets[0].closeWith();
  timers.advance(500);
  await connected();
  assert.deepEqual(sockets[1].protocols, ["askbot.v1", "askbot.bearer.token-2"]);
});

test("a function may have no token, and may take its time, though not for ever", async () => {
  let give;
  const { sockets, timers, chat } = client({ token: () => new Promise((resolve) => (give = resolve)) });
  await connected();
  timers.advance(45_000);
  assert.equal(chat.state, "waiting");
  const late = give;
  timers.advance(500);
  await connected();
  late("late");
  await connected();
  assert.deepEqual([chat.state, sockets.length], ["connecting", 0]);
  give(null);
  await connected();
  assert.deepEqual(sockets[0].protocols, ["askbot.v1"]);
});

for (const [how, fail] of [["throws", () => { throw new Error("No cookie."); }], ["rejects", () => Promise.reject(new Error("No cookie."))]])
  test(`a function that ${how} is an attempt that failed, and told`, async () => {
    const times = [];
    let isFailing = true;
    const { chat, sockets, timers } = client({
      token() {
        times.push(timers.now);
        return isFailing ? fail() : "token";
      },
    });
    const errors = collectEvents(chat, "error");
    for (const wait of [0, 500, 1000, 2000]) {
      timers.advance(wait);
      await connected();
      assert.equal(chat.state, "waiting");
    }
    assert.deepEqual(times, [0, 500, 1500, 3500]);
    assert.deepEqual(errors.map(({ code, message, retryable }) => [code, message, retryable]), Array(4).fill(["unauthorized", "No cookie.", true]));
    isFailing = false;
    timers.advance(4000);
    await connected();
    assert.equal(sockets.length, 1);
  });

test("whatever a function throws is an attempt that failed", async () => {
  for (const thrown of [undefined, null, "No cookie.", 5]) {
    const { chat } = client({ token: () => Promise.reject(thrown) });
    const errors = collectEvents(chat, "error");
    await connected();
    assert.deepEqual([chat.state, errors.map(({ code }) => code)], ["waiting", ["unauthorized"]]);
  }
});

test("closing while a token is fetched is the end", async () => {
  const { chat, sockets } = client({ token: async () => "token" });
  const states = collectEvents(chat, "state");
  chat.close();
  await connected();
  assert.deepEqual([states, sockets.length], [["closed"], 0]);
});

test("a token that has expired is renewed once, and no more before the connection has worked", async () => {
  let tokens = 0;
  const all = client({ token: () => `token-${(tokens += 1)}` });
  const { chat, sockets, timers } = all;
  const log = new Log();
  const open = async () => {
    timers.advance(30_000);
    await connected();
    sockets.at(-1).deliver(log.ready(log.seq));
  };
  await connected();
  sockets[0].deliver(log.ready());
  const asked = chat.ask("Why?");
  sockets[0].closeWith(4401);
  assert.equal(chat.state, "waiting");
  await open();
  assert.deepEqual(sockets[1].sent.map(({ id }) => id), [asked.id], "nothing is torn down");
  timers.advance(30_000);
  sockets[1].closeWith(4401);
  assert.equal(chat.state, "waiting", "that one has lasted");
  await open();
  sockets[2].deliver(log.question("t1", "Why?", { id: asked.id }));
  sockets[2].closeWith(4401);
  assert.equal(chat.state, "waiting", "that one brought something new");
  await open();
  sockets[3].closeWith(1006);
  await open();
  const errors = collectEvents(chat, "error");
  sockets[4].closeWith(4401);
  assert.equal(chat.state, "closed");
  assert.deepEqual(errors.map(({ code }) => code), ["unauthorized"]);
  await assert.rejects(asked, { code: "unauthorized" });
});

test("4403 is final, and so is 4401 where nobody can be asked for another credential", async () => {
  for (const [token, isReady, code] of [[() => "token", true, 4403], [() => "token", false, 4403], ["token", true, 4401], [undefined, true, 4401]]) {
    const { chat, sockets } = client({ token });
    await connected();
    if (isReady) sockets[0].deliver(new Log().ready());
    sockets[0].closeWith(code);
    assert.equal(chat.state, "closed");
  }
});

for (const name of ["token", "ticket"])
  test(`a ${name} that is refused before ready is asked for once more, and no oftener`, async () => {
    const { chat, sockets, timers } = client({ [name]: () => "old" });
    const errors = collectEvents(chat, "error");
    for (const state of ["waiting", "closed"]) {
      await connected();
      sockets.at(-1).closeWith(4401);
      assert.equal(chat.state, state);
      timers.advance(500);
    }
    assert.deepEqual([sockets.length, timers.count, errors.map(({ code }) => code)], [2, 0, ["unauthorized"]]);
  });

// --- addresses -------------------------------------------------------------------------------------------------------

const SECRETS = /hunter2|swordfish|user/;

/** A browser's WebSocket where a token or an address is not valid: it shows them. */
class Picky {
  constructor(url, protocols) {
    throw new SyntaxError(`'${url}' or '${protocols}' is not valid`);
  }
}

test("an address or a token that is not valid from the start throws, and shows neither", () => {
  const all = (error) => `${error.message} ${JSON.stringify(error)} ${error.cause}`;
  for (const options of [{ url: "http://user:hunter2@:x/?ticket=swordfish" }, { url: "ws://user:hunter2@test/", token: "swordfish", WebSocket: Picky }])
    assert.throws(() => client(options), (error) => error instanceof TypeError && !SECRETS.test(all(error)));
});

test("a WebSocket that throws later is an attempt that failed, and told without secrets", async () => {
  const broken = client({ url: "ws://user:hunter2@test/?ticket=swordfish", token: () => "swordfish", WebSocket: Picky });
  const errors = collectEvents(broken.chat, "error");
  await connected();
  broken.timers.advance(500);
  await connected();
  assert.equal(broken.chat.state, "waiting");
  assert.equal(errors.length, 2);
  for (const error of errors) assert.ok(!SECRETS.test(`${error.message} ${JSON.stringify(error)}`));
});

test("what an address has beside its path is kept, but for the fragment", () => {
  const { socket } = client({ url: "https://user:hunter2@example.org/chat?ticket=1#token=2" });
  assert.equal(socket.url.href, "wss://user:hunter2@example.org/chat?ticket=1");
});
