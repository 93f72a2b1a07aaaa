/**
 * View: what a client shows of a session, folded from the server's frames. Pure: each frame makes a new view.
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
  const start = seq - (type === "token" ? countCodePoints(text) : 1);
  if (start > state.seq) return { ...state, gap: true };
  return { ...state, seq, turns: reducer(state.turns, event, start, state.seq) };
}

/**
 * What an event changes: (turns, event, the log's position before the event, the last position that was read) -> turns.
 * A turn has a `seq` of its own, as `history` may have brought more of it than the events so far.
 */
const REDUCERS = {
  __proto__: null, // a type such as "constructor" is unknown too

  question(turns, event) {
    const known = turns.some(({ turn }) => turn === event.turn);
    return known ? turns : [...turns, turnFromRecord({ ...event, from: event.seq - 1 })];
  },

  token(turns, event, start, seen) {
    return updateTurn(turns, event.turn, (turn) => {
      const alreadyShown = Math.max(0, seen - start, turn.seq - start);
      const added = [...event.text].slice(alreadyShown).join("");
      return added && { seq: event.seq, status: "answering", answer: turn.answer + added };
    });
  },

  done: (turns, event) => updateTurn(turns, event.turn, () => ({ ...event, status: "ended" })),
};

function updateTurn(turns, id, changesOf) {
  return turns.map((turn) => (turn.turn === id ? { ...turn, ...changesOf(turn) } : turn));
}

/** Makes a turn of its record on the wire: `question` is called `text` there, and the status follows from the rest. */
function turnFromRecord({ text: question, answer = "", reason = null, ...record }) {
  let status = answer ? "answering" : "waiting";
  if (reason) status = "ended";
  return { ...record, question, answer, reason, status };
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
