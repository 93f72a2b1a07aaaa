/**
 * View: what a client shows of a session, folded from the server's frames. Pure but for the time that thinking takes, which
 * is read from the clock: each frame makes a new view.
 *
 * Every event has its place in the log, `seq`, so a frame that comes a second time changes nothing. view.d.ts has the types.
 */

/** The view before anything was read. */
export const empty = { session: null, seq: null, turns: [] };

/**
 * Returns a text's length in code points, the unit of `seq`. (`text.length` counts UTF-16 code units.)
 *
 * @param {string} text
 * @returns {number}
 */
export function countCodePoints(text) {
  return [...text].length;
}

export { countCodePoints as points }; // its former name

/**
 * Returns the view after one more frame. Where the result has `gap: true`, frames are missing: reconnect with
 * `after` = `seq`.
 *
 * @param {import("./view.js").View} state
 * @param {import("./frames.js").ServerFrame} frame
 * @returns {import("./view.js").View}
 */
export function view(state, frame) {
  if (frame.type === "ready") return applyReady(state, frame);
  if (frame.session !== state.session) return state;
  if (frame.type === "history") return mergeHistory(state, frame);
  return frame.seq > state.seq ? applyEvent(state, frame) : state;
}

/**
 * Returns the turns to show: without those that a retry or an edit has replaced, and those that followed them.
 *
 * @param {readonly import("./view.js").Turn[]} turns all turns, oldest first
 * @returns {import("./view.js").Turn[]}
 */
export function shown(turns) {
  let visible = [];
  for (const turn of turns) {
    if (turn.replaces) {
      const replaced = turns.findIndex((other) => other.turn === turn.replaces); // -1 where that is older than `turns`
      visible = visible.filter((other) => turns.indexOf(other) < replaced);
    }
    visible.push(turn);
  }
  return visible;
}

/**
 * Begins a connection. What was read is kept if the server continues at our position of the same history; a different
 * `log` is a different history. A server of an earlier version sends no `log`, which then matches any.
 */
function applyReady(state, { session, seq: head, from, log, model, limits }) {
  const sameLog = log == null || state.log == null || log === state.log;
  const continues = session === state.session && from === state.seq && sameLog;
  const kept = continues ? state : { ...empty, session, seq: from, earlier: from > 0 };
  return { ...kept, head, log: log ?? kept.log, model, limits, gap: false };
}

/** Applies an event of the log that is newer than the view. Event types that are not known only advance `seq`. */
function applyEvent(state, event) {
  const { type, seq, text } = event;
  const reducer = REDUCERS[type];
  if (!reducer) return { ...state, seq };
  const start = seq - (type === "token" || type === "thinking" ? countCodePoints(text) : 1);
  if (start > state.seq) return { ...state, gap: true };
  return { ...state, seq, turns: reducer(state.turns, event, start, state) };
}

/**
 * What an event changes: (turns, event, the log's position before the event, the view before it) -> turns.
 * A turn has a `seq` of its own, as `history` may have brought more of it than the events so far.
 */
const REDUCERS = {
  __proto__: null, // a type such as "constructor" is unknown too

  question(turns, event) {
    const known = turns.some(({ turn }) => turn === event.turn);
    return known ? turns : [...turns, turnFromRecord({ ...event, from: event.seq - 1 })];
  },

  token: (turns, event, start, state) => appendSlice(turns, event, start, state, "answer"),

  thinking: (turns, event, start, state) => appendSlice(turns, event, start, state, "thinking"),

  done: (turns, event) =>
    updateTurn(turns, event.turn, ({ thinkingSince }) => ({
      ...event,
      status: "ended",
      thinkingTime: measuredTime(thinkingSince, event.timing),
    })),
};

/** Appends a slice of text to a field of its turn, as far as that has not got it yet. */
function appendSlice(turns, { turn: id, seq, text }, start, { seq: seen, head }, field) {
  const status = field === "answer" ? "answering" : field;
  return updateTurn(turns, id, (turn) => {
    const alreadyShown = Math.max(0, seen - start, turn.seq - start);
    const added = alreadyShown ? [...text].slice(alreadyShown).join("") : text;
    if (!added) return null;
    const changes = { seq, status, [field]: turn[field] + added };
    if (turn.answer || turn.status === status) return changes;
    return { ...changes, ...measureThinking(turn, status, seq > head ? Date.now() : null) };
  });
}

/** Measures the thinking before an answer, from its first slice to the answer's. `now` is null where those are read again. */
function measureThinking({ thinkingSince }, status, now) {
  if (status === "thinking") return { thinkingSince: now };
  return thinkingSince && { thinkingTime: now && now - thinkingSince };
}

/** Returns how long a turn thought by the server's clock; null where it has not ended, or did not begin with thinking. */
function measuredTime(thinkingSince, timing) {
  return timing && thinkingSince !== undefined ? (timing.first_token ?? timing.total) - timing.queued : null;
}

function updateTurn(turns, id, changesOf) {
  return turns.map((turn) => (turn.turn === id ? { ...turn, ...changesOf(turn) } : turn));
}

/**
 * Makes a turn of its record on the wire: `question` is called `text` there, and the status follows from the rest.
 * `thinkingSince` is undefined where it does not begin with thinking: the time to its answer is none of thinking then.
 */
function turnFromRecord({ text: question, answer = "", reason = null, steps, ...record }) {
  const thoughts = (steps ?? []).map(({ type, text }) => (type === "thinking" ? text : ""));
  const thinkingSince = thoughts[0] ? null : undefined;
  const thinkingTime = measuredTime(thinkingSince, record.timing);
  let status = answer ? "answering" : "waiting";
  if (thoughts.at(-1)) status = "thinking";
  if (reason) status = "ended";
  return { ...record, question, thinking: thoughts.join(""), thinkingSince, thinkingTime, answer, reason, status };
}

/** Merges older turns, and newer records of known ones. At the same `seq` the record wins, which repairs a wrong answer. */
function mergeHistory(state, { turns: records, more }) {
  const turns = new Map(state.turns.map((turn) => [turn.turn, turn]));
  for (const record of records) {
    const known = turns.get(record.turn);
    if (!known || known.seq <= record.seq) turns.set(record.turn, turnFromRecord(record));
  }
  const earlier = records[0]?.from > state.turns[0]?.from ? state.earlier : more;
  return { ...state, earlier, turns: [...turns.values()].sort((one, other) => one.from - other.from) };
}
