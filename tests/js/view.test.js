import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { countCodePoints, empty, shown, view } from "../../client/view.js";
import { isSlice, Log, seeded } from "./fakes.js";

const fold = (frames, state = empty) => frames.reduce(view, state);
const ANSWER = "né 👩‍👩‍👧 한국어 🇰🇷 a\u0301 𝄞 end";

async function conversation() {
  const log = new Log();
  log.question("t1", "First 🙂?", { id: "a1" });
  for (const slice of [ANSWER.slice(0, 4), ANSWER.slice(4)]) log.token("t1", slice);
  await log.done("t1", { usage: { input_tokens: 1, output_tokens: 2 } });
  return log;
}

test("seq counts code points", () => {
  assert.equal(countCodePoints(""), 0);
  assert.equal(countCodePoints("a🙂한"), 3);
  assert.equal(countCodePoints("👩‍👩‍👧"), 5);
});

test("a turn goes from waiting over answering to ended", async () => {
  const log = await conversation();
  const states = log.events.map((_, count) => fold([log.ready(), ...log.events.slice(0, count + 1)]).turns[0]);
  assert.deepEqual(states.map(({ status }) => status), ["waiting", "answering", "answering", "ended"]);
  const turn = states.at(-1);
  assert.equal(turn.answer, ANSWER);
  assert.equal(turn.question, "First 🙂?");
  assert.deepEqual([turn.turn, turn.id, turn.reason, turn.model], ["t1", "a1", "stop", "m"]);
  assert.equal(turn.usage.output_tokens, 2);
  assert.equal(turn.from, 0);
  assert.equal(turn.seq, log.seq);
});

test("a reader that comes back at any code point misses nothing and gets nothing twice", async () => {
  const log = await conversation();
  log.question("t2");
  for (const slice of ["né 🙂", " 한", "국어?"]) log.thinking("t2", slice);
  log.token("t2", "𝄞!");
  log.thinking("t2", "…");
  await log.done("t2");
  const whole = fold([log.ready(), ...log.events]);
  for (let after = 0; after <= log.seq; after += 1) {
    const cut = log.events.flatMap((event) => {
      const start = event.seq - (isSlice(event) ? countCodePoints(event.text) : 1);
      if (event.seq <= after) return [event];
      if (!isSlice(event) || start >= after) return [];
      return [{ ...event, seq: after, text: [...event.text].slice(0, after - start).join("") }];
    });
    const seen = fold([log.ready(), ...cut]);
    assert.equal(seen.seq, after);
    assert.deepEqual(fold([log.ready(after), ...log.resume(after)], seen).turns, whole.turns, `resumed after ${after}`);
    assert.deepEqual(fold([log.ready(after), ...log.events], seen).turns, whole.turns, `all of it again after ${after}`);
  }
});

test("however the log is sliced, merged, repeated and resumed, the answers come exactly once", async () => {
  const letters = ["a", " ", "é", "한", "🙂", "👩‍👩‍👧", "\n", "𝄞"];
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(seed);
    const log = new Log();
    for (let turn = 0; turn < 1 + random.below(3); turn += 1) {
      log.question(`t${turn}`);
      for (let slices = random.below(6); slices > 0; slices -= 1)
        log[random.of(["token", "thinking"])](`t${turn}`, Array.from({ length: 1 + random.below(5) }, () => random.of(letters)).join(""));
      if (random.next() < 0.8) await log.done(`t${turn}`);
    }
    let state = empty;
    while (state.seq !== log.seq) {
      const after = state.seq ?? 0;
      state = view(state, log.ready(after));
      const frames = log.resume(after);
      for (const frame of frames.slice(0, 1 + random.below(frames.length))) {
        if (isSlice(frame) && random.next() < 0.5) {
          const all = [...frame.text];
          const kept = 1 + random.below(all.length);
          state = view(state, { ...frame, text: all.slice(0, kept).join(""), seq: frame.seq - all.length + kept });
          if (kept < all.length) break;
        } else state = view(state, frame);
        state = view(state, random.of(log.events.filter(({ seq }) => seq <= state.seq)));
      }
      assert.equal(state.gap, false);
    }
    for (const { turn, answer, thinking } of state.turns)
      assert.deepEqual([answer, thinking], [log.answer(turn), log.answer(turn, "thinking")], `seed ${seed}`);
  }
});

test("a gap changes nothing and is flagged until the next ready", async () => {
  const log = await conversation();
  const [question, , second] = log.events;
  const before = fold([log.ready(), question]);
  const state = view(before, second);
  assert.equal(state.gap, true);
  assert.equal(state.seq, before.seq);
  assert.deepEqual(state.turns, before.turns);
  assert.equal(view(state, log.ready(state.seq)).gap, false);
});

test("a replay that begins elsewhere drops what was shown", async () => {
  const log = await conversation();
  const state = fold([log.ready(), ...log.events]);
  const shorter = new Log();
  shorter.question("t9");
  const anew = fold([shorter.ready(0), ...shorter.events], state);
  assert.deepEqual(anew.turns.map(({ turn }) => turn), ["t9"]);
  assert.equal(anew.seq, 1);
  assert.deepEqual(view(state, log.ready(log.seq)).turns, state.turns, "the same place keeps it");
});

test("a replay from the middle says that there is more before", () => {
  const log = new Log();
  assert.equal(view(empty, log.ready(0)).earlier, false);
  assert.equal(view(empty, log.ready(7)).earlier, true);
});

test("retry and edit hide what they replace and all that came after it", () => {
  const log = new Log();
  log.question("t1");
  log.question("t2");
  log.question("t3");
  log.question("t4", "Again?", { replaces: "t2" });
  const names = () => shown(fold([log.ready(), ...log.events]).turns).map(({ turn }) => turn);
  assert.deepEqual(names(), ["t1", "t4"]);
  log.question("t5", "And again?", { replaces: "t4" });
  assert.deepEqual(names(), ["t1", "t5"]);
  log.question("t6", "Of a hidden one", { replaces: "t3" });
  assert.deepEqual(names(), ["t1", "t6"]);
  log.question("t7", "Of one before all that we hold", { replaces: "t0" });
  assert.deepEqual(names(), ["t7"]);
});

test("queued questions stand between the slices of a running answer", async () => {
  const log = new Log();
  log.question("t1");
  log.token("t1", "one ");
  log.question("t2");
  log.token("t1", "two");
  await log.done("t1");
  log.token("t2", "three");
  const { turns } = fold([log.ready(), ...log.events]);
  assert.deepEqual(turns.map(({ answer, status }) => [answer, status]), [["one two", "ended"], ["three", "answering"]]);
});

test("what is unknown, foreign or early is ignored", async () => {
  const log = await conversation();
  const state = fold([log.ready(), ...log.events]);
  for (const frame of [
    { type: "rainbow", session: "other", seq: 999 },
    { type: "rainbow", session: "s1", seq: state.seq },
    { type: "rainbow", session: "s1" },
    { type: "token", session: "other", seq: state.seq + 1, turn: "t1", text: "x" },
    { type: "pong" }, { type: "alive" }, { type: "going_away", reconnect_after: 1 },
    { type: "error", code: "busy", message: "", session: "s1" },
  ])
    assert.equal(view(state, frame), state, frame.type);
  assert.equal(view(empty, log.events[0]), empty);
  const stray = view(state, { type: "token", session: "s1", seq: state.seq + 2, turn: "gone", text: "ab" });
  assert.deepEqual([stray.seq, stray.turns], [state.seq + 2, state.turns]);
});

test("a reader stands where an event of an unknown type says, and shows nothing of it", () => {
  for (const type of ["rainbow", "constructor"]) {
    const log = new Log();
    const state = fold([log.ready(), log.question("t1"), log.token("t1", "one ")]);
    const place = (log.seq += 70); // how long it is, nobody here knows
    const next = view(state, { type, session: "s1", seq: place, turn: "t1", text: "x" });
    assert.deepEqual([next.seq, next.gap, next.turns], [place, false, state.turns]);
    assert.equal(view(next, { type, session: "s1", seq: place - 1 }), next);
    assert.equal(view(next, log.token("t1", "two")).turns[0].answer, "one two");
    assert.equal(view(state, log.events.at(-1)).gap, true, "without it there is a gap");
  }
});

test("a reason from the future ends a turn like any other", async () => {
  const log = new Log();
  const events = [log.question("t1"), log.token("t1", "one"), await log.done("t1", { reason: "evaporated" })];
  const [turn] = fold([log.ready(), ...events]).turns;
  assert.deepEqual([turn.status, turn.reason, turn.answer, turn.check.chars], ["ended", "evaporated", "one", 3]);
  const [older] = fold([log.ready(9), history([recordOf("t1", 0, "one", { reason: "evaporated" })])]).turns;
  assert.deepEqual([older.status, older.reason, older.answer], ["ended", "evaporated", "one"]);
});

test("another log is another history, even where the replay begins where we are", () => {
  const log = new Log();
  const state = fold([log.ready(0, { log: "one" }), log.question("t1")]);
  const again = (more) => view(state, log.ready(log.seq, more));
  assert.deepEqual([again({ log: "one" }).turns, again({ log: "one" }).log], [state.turns, "one"]);
  assert.deepEqual([again({ log: "two" }).turns, again({ log: "two" }).log, again({ log: "two" }).earlier], [[], "two", true]);
  assert.deepEqual([again().turns, again().log], [state.turns, "one"], "an earlier server doesn't say");
  const unnamed = fold([log.ready(0), log.events[0]]);
  assert.deepEqual(view(unnamed, log.ready(1, { log: "one" })).turns, unnamed.turns, "nor did it when we came");
  assert.equal(view(state, new Log("s2").ready()).log, undefined, "another session has its own");
});

test("thinking is no part of the answer, wherever it comes", async () => {
  const log = new Log();
  const states = [log.question("t1"), log.thinking("t1", "Hm. "), log.thinking("t1", "So"), log.token("t1", "One"),
    log.thinking("t1", "!"), log.token("t1", " two"), await log.done("t1")]
    .map((_, count) => fold([log.ready(), ...log.events.slice(0, count + 1)]).turns[0]);
  assert.deepEqual(states.map(({ status, thinking, answer }) => [status, thinking, answer]), [
    ["waiting", "", ""], ["thinking", "Hm. ", ""], ["thinking", "Hm. So", ""], ["answering", "Hm. So", "One"],
    ["thinking", "Hm. So!", "One"], ["answering", "Hm. So!", "One two"], ["ended", "Hm. So!", "One two"],
  ]);
});

test("thinking is measured up to the answer, then by the server's clock", async (context) => {
  context.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ["Date"], now: 50_000 });
  const log = new Log();
  let state = fold([log.ready(), log.question("t1"), log.thinking("t1", "Hm. ")]);
  const times = () => [state.turns[0].thinkingSince, state.turns[0].thinkingTime];
  const receive = (milliseconds, frame) => {
    mock.timers.tick(milliseconds);
    state = view(state, frame);
  };
  assert.deepEqual(times(), [50_000, null]);
  receive(4000, log.thinking("t1", "So"));
  assert.deepEqual(times(), [50_000, null]);
  receive(8000, log.token("t1", "One"));
  assert.deepEqual(times(), [50_000, 12_000]);
  receive(8000, log.thinking("t1", "!"));
  receive(8000, log.token("t1", "."));
  assert.deepEqual(times(), [50_000, 12_000]);
  receive(0, await log.done("t1", { timing: { queued: 100, first_token: 12_300, total: 30_000 } }));
  assert.deepEqual(times(), [50_000, 12_200]);
});

test("how long a turn thought that ended without an answer is up to its end", async () => {
  const log = new Log();
  const events = [log.question("t1"), log.thinking("t1", "Hm"), await log.done("t1", { timing: { queued: 100, first_token: null, total: 900 } })];
  assert.equal(fold([log.ready(), ...events]).turns[0].thinkingTime, 800);
});

test("thinking that is read again is not measured before the turn has ended", async () => {
  const log = new Log();
  const events = [log.question("t1"), log.thinking("t1", "Hm"), log.token("t1", "One")];
  const read = fold([log.ready(), ...events]);
  assert.deepEqual([read.turns[0].thinkingSince, read.turns[0].thinkingTime], [null, null]);
  const done = await log.done("t1", { timing: { queued: 1, first_token: 301, total: 500 } });
  assert.equal(view(read, done).turns[0].thinkingTime, 300);
  const late = fold([log.ready(), events[0]], empty);
  assert.equal(fold(events.slice(1), { ...late, head: events[1].seq }).turns[0].thinkingTime, null);
});

test("what comes before thinking is not its time", async () => {
  const log = new Log();
  const events = [log.question("t1"), log.token("t1", "One"), log.thinking("t1", "Hm"), await log.done("t1")];
  const [turn] = fold([log.ready(), ...events]).turns;
  assert.deepEqual([turn.thinking, turn.thinkingTime], ["Hm", null]);
});

test("a turn of a history page has its thinking, and says how long it took", () => {
  const steps = (...types) => types.map((type) => ({ type, text: `${type} ` }));
  const timing = { queued: 10, first_token: 510, total: 1000 };
  const turnOf = (more) => fold([new Log().ready(99), history([recordOf("t1", 0, "a", { seq: 40, timing, ...more })])]).turns[0];
  const summary = ({ status, thinking, thinkingTime }) => [status, thinking, thinkingTime];
  assert.deepEqual(summary(turnOf({ steps: steps("thinking", "text", "thinking") })), ["ended", "thinking thinking ", 500]);
  assert.deepEqual(summary(turnOf({ steps: steps("text", "thinking") })), ["ended", "thinking ", null]);
  assert.deepEqual(summary(turnOf({ steps: null })), ["ended", "", null]);
  assert.deepEqual(summary(turnOf({})), ["ended", "", null]);
  const running = { reason: null, timing: null };
  assert.deepEqual(summary(turnOf({ ...running, answer: "", steps: steps("thinking") })), ["thinking", "thinking ", null]);
  assert.deepEqual(summary(turnOf({ ...running, steps: steps("thinking", "text") })), ["answering", "thinking ", null]);
});

test("history may be ahead of a running thought", () => {
  const log = new Log();
  const state = fold([log.ready(), log.question("t1"), log.thinking("t1", "ab")]);
  const steps = [{ type: "thinking", text: "ab🙂d" }];
  const ahead = view(state, history([recordOf("t1", 0, "", { reason: null, seq: 5, steps })]));
  const slice = { type: "thinking", session: "s1", turn: "t1", seq: 6, text: "🙂de" };
  assert.equal(view(ahead, slice).turns[0].thinking, "ab🙂de");
});

test("a turn has the options of its question", () => {
  const log = new Log();
  const options = { temperature: 0.5 };
  assert.deepEqual(fold([log.ready(), log.question("t1", "Why?", { options })]).turns[0].options, options);
});

const recordOf = (turn, from, answer, more = {}) =>
  ({ turn, id: null, text: `${turn}?`, replaces: null, created: "", answer, reason: "stop", model: "m", usage: null, timing: null, check: null, error: null, from, seq: from + 2 + countCodePoints(answer), ...more });
const history = (turns, more = false) => ({ type: "history", session: "s1", turns, more });

test("older turns come before ours", () => {
  const log = new Log();
  log.seq = 100;
  const state = fold([log.ready(100), log.question("t9")]);
  const older = view(state, history([recordOf("t1", 0, "a"), recordOf("t2", 10, "b")], true));
  assert.deepEqual(older.turns.map(({ turn, answer, status }) => [turn, answer, status]), [["t1", "a", "ended"], ["t2", "b", "ended"], ["t9", "", "waiting"]]);
  assert.equal(older.earlier, true);
  assert.equal(older.seq, state.seq);
  assert.equal(view(older, history([recordOf("t0", 0, "")], false)).earlier, false);
  assert.equal(view(older, history([], false)).earlier, false);
});

test("history repairs a turn that has ended, and keeps whether there is more", async () => {
  const log = await conversation();
  const wrong = { ...log.events[1], text: "####" };
  const state = fold([log.ready(), log.events[0], wrong, ...log.events.slice(2)]);
  const repaired = view(state, history([recordOf("t1", 0, ANSWER, { seq: log.seq })]));
  assert.equal(repaired.turns[0].answer, ANSWER);
  assert.equal(repaired.turns.length, 1);
  const two = fold([log.question("t2"), log.token("t2", "x")], { ...state, earlier: true });
  assert.equal(view(two, history([recordOf("t2", log.seq - 2, "x", { reason: null, seq: log.seq })], false)).earlier, true);
});

test("history may be ahead of a running turn, or behind it", () => {
  const log = new Log();
  const state = fold([log.ready(), log.question("t1"), log.token("t1", "ab")]);
  const running = { reason: null };
  const ahead = view(state, history([recordOf("t1", 0, "ab🙂d", { ...running, seq: 5 })]));
  assert.equal(ahead.turns[0].answer, "ab🙂d");
  assert.equal(ahead.turns[0].status, "answering");
  const slice = { type: "token", session: "s1", turn: "t1", seq: 6, text: "🙂de" };
  assert.equal(view(ahead, slice).turns[0].answer, "ab🙂de");
  const behind = view(state, history([recordOf("t1", 0, "a", { ...running, seq: 2 })]));
  assert.equal(behind.turns[0].answer, "ab");
});

/** The frames of turns t1, t2, …, each with a question of one code point and an answer of the given text. */
async function turnsOf(count, answer, log = new Log()) {
  for (let number = 1; number <= count; number += 1) {
    log.question(`t${number}`, "?");
    log.token(`t${number}`, answer);
    await log.done(`t${number}`);
  }
  return log;
}

const names = ({ turns }) => turns.map(({ turn }) => turn);

test("a view holds the newest turns, within so many code points", async () => {
  const log = await turnsOf(5, "a🙂한");
  const all = fold([log.ready(), ...log.events]);
  assert.deepEqual([all.turns.map(({ size }) => size), all.size, all.earlier], [[504, 504, 504, 504, 504], 5 * 504, false]);
  const states = log.events.map((_, count) => fold([log.ready(), ...log.events.slice(0, count + 1)], { ...empty, keep: 3 * 504 }));
  for (const state of states) {
    assert.ok(state.size <= 3 * 504, `${state.size}`);
    assert.equal(state.size, state.turns.reduce((sum, { size }) => sum + size, 0));
    assert.equal(state.earlier, state.turns[0].turn !== "t1");
  }
  assert.deepEqual(names(states.at(-1)), ["t3", "t4", "t5"]);
});

test("a slice of text makes room for itself, thinking too", async () => {
  const log = await turnsOf(2, "one");
  const events = [...log.events, log.question("t3", "?"), log.thinking("t3", "Hm")];
  const state = fold([log.ready(), ...events], { ...empty, keep: 2 * 504 + 503 });
  assert.deepEqual(names(state), ["t1", "t2", "t3"]);
  assert.deepEqual(names(view(state, log.token("t3", "x"))), ["t2", "t3"]);
});

test("no turn is dropped that has not ended, however much it says", async () => {
  const log = new Log();
  const events = [log.question("t1"), log.question("t2"), log.question("t3"), await log.done("t2", { reason: "cancelled" })];
  events.push(log.token("t1", "long ".repeat(1000)), log.token("t1", "answer"));
  const state = fold([log.ready(), ...events], { ...empty, keep: 600 });
  assert.deepEqual([names(state), state.turns[0].answer.length], [["t1", "t3"], 5006]);
  assert.deepEqual(names(view(state, await log.done("t1"))), ["t1", "t3"], "who waits for it still finds it");
  assert.deepEqual(names(view(view(state, log.events.at(-1)), log.token("t3", "x"))), ["t3"]);
});

test("turns that were fetched on purpose stay, though they are more than a view would hold", async () => {
  const log = await turnsOf(3, "one");
  const state = fold([log.ready(), ...log.events], { ...empty, keep: 2 * 504 });
  assert.deepEqual(names(state), ["t2", "t3"]);
  const fetched = view(state, history([recordOf("t1", 0, "one", { text: "?" })]));
  assert.deepEqual([names(fetched), fetched.earlier, fetched.size], [["t1", "t2", "t3"], false, 3 * 504]);
  assert.deepEqual(names(view(fetched, log.events.at(-1))), ["t1", "t2", "t3"]);
  const next = fold([log.question("t4", "?"), log.token("t4", "one")], fetched);
  assert.deepEqual([names(next), next.earlier], [["t2", "t3", "t4"], true]);
});

test("another session is held within as many code points", async () => {
  const log = await turnsOf(3, "one", new Log("s2"));
  const state = fold([new Log().ready(), log.ready(), ...log.events], { ...empty, keep: 504 });
  assert.deepEqual(names(state), ["t3"]);
});

test("a turn that a frame does not change is the same object in the next view", async () => {
  const log = await turnsOf(3, "one");
  const state = fold([log.ready(), ...log.events, log.question("t4"), log.token("t4", "a")]);
  const next = view(state, log.token("t4", "b"));
  assert.deepEqual(next.turns.map((turn, place) => turn === state.turns[place]), [true, true, true, false]);
  assert.equal(shown(next.turns)[0], state.turns[0]);
});

test("a turn's tail is the end of its answer while that grows, and is short", async () => {
  const log = new Log();
  let state = fold([log.ready(), log.question("t1")]);
  for (let count = 0; count < 3000; count += 1) {
    state = view(state, log.token("t1", "four"));
    const [{ answer, tail }] = state.turns;
    if (!answer.endsWith(tail) || tail.length > 4096 + 4) assert.fail(`${tail.length} of ${answer.length}`);
  }
  const thoughtful = view(state, log.thinking("t1", "Hm"));
  assert.equal(thoughtful.turns[0].tail, state.turns[0].tail);
  assert.equal(view(thoughtful, await log.done("t1")).turns[0].tail, undefined);
});

test("a state is never changed", async () => {
  const freeze = (value) => {
    if (value && typeof value === "object") Object.values(Object.freeze(value)).forEach(freeze);
    return value;
  };
  const log = await conversation();
  [log.ready(), ...log.events, history([recordOf("t0", -9, "z")])].reduce((state, frame) => freeze(view(state, freeze(frame))), freeze({ ...empty }));
});

test("a view has the models that a question may name, as far as the server says", () => {
  const log = new Log();
  const named = view(empty, log.ready(0, { models: ["m", "m2"] }));
  assert.deepEqual(named.models, ["m", "m2"]);
  assert.equal(view(named, log.ready(0)).models, undefined);
});
