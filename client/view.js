/**
 * View: what a client shows of a session, folded from the server's frames. Pure but for the time that thinking takes, which
 * is read from the clock: each frame makes a new view.
 *
 * Every event has its place in the log, `seq`, so a frame that comes a second time changes nothing. view.d.ts has the types.
 */

const TURN_OVERHEAD = 500; // code points that a turn counts for against `keep`, beside its texts
const TAIL_LENGTH = 4096; // UTF-16 code units after which a turn's `tail` begins anew

/** The view before anything was read. `{ ...empty, keep }` is one that drops its oldest turns. */
export const empty = { session: null, seq: null, turns: [], size: 0, keep: Infinity };

/**
 * Returns a text's length in code points, the unit of `seq`. (`text.length` counts UTF-16 code units.)
 *
 * @param {string} text
 * @returns {number}
 */
export function countCodePoints(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
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
  const visible = [];
  const places = new Map(); // by the ids of the turns so far
  for (const turn of turns) {
    if (turn.replaces) {
      const replaced = places.get(turn.replaces) ?? 0; // one that is not here is older than `turns`
      while (places.get(visible.at(-1)?.turn) >= replaced) visible.pop();
    }
    places.set(turn.turn, places.size);
    visible.push(turn);
  }
  return visible;
}

/**
 * Begins a connection. What was read is kept if the server continues at our position of the same history; a different
 * `log` is a different history. A server of an earlier version sends no `log`, which then matches any.
 */
function applyReady(state, { session, seq: head, from, log, model, models, limits, title, user }) {
  const sameLog = (log ?? state.log) === (state.log ?? log);
  const continues = session === state.session && from === state.seq && sameLog;
  const kept = continues ? state : { ...empty, keep: state.keep, session, seq: from, earlier: from > 0 };
  return { ...kept, head, log: log ?? kept.log, model, models, limits, title, user, gap: false };
}

/** Applies an event of the log that is newer than the view. Event types that are not known only advance `seq`. */
function applyEvent(state, event) {
  const { type, seq, text } = event;
  const reducer = REDUCERS[type];
  const start = seq - (type === "token" || type === "thinking" ? countCodePoints(text) : 1);
  const isTitle = type === "title";
  if ((reducer || isTitle) && start > state.seq) return { ...state, gap: true };
  const next = { ...state };
  next.seq = seq;
  if (isTitle && seq > state.head) next.title = text || null; // `ready` has said what it is called by then
  const place = state.turns.findLastIndex(({ turn }) => turn === event.turn);
  const known = state.turns[place];
  // Else `history` has brought it, or its turn has ended (the first of two ends counts), or is not here.
  const isNew = known ? known.seq < seq && !known.reason : type === "question";
  if (isNew && reducer) putTurn(next, place, reducer(known, event, start, state));
  return next;
}

/**
 * What an event makes of its turn: (turn, event, the log's position before the event, the view before it) -> turn.
 * A turn has a `seq` of its own, as `history` may have brought more of it than the events so far.
 */
const REDUCERS = {
  __proto__: null, // a type such as "constructor" is unknown too

  question: (_, event, start) => turnFromRecord({ ...event, from: start }),
  token: appendSlice,
  thinking: appendSlice,
  done(turn, event) {
    const thinkingTime = measuredTime(turn.thinkingSince, event.timing);
    return { ...turn, ...event, status: "ended", tail: undefined, thinkingTime };
  },
};

/**
 * Appends a slice of text to its turn, as far as that has not got it yet. `tail` is the end of `answer`, for those who read
 * what is new: an engine has a text that grows as a chain of slices, and any part of that takes as long as to copy it all.
 */
function appendSlice(turn, { type, seq, text }, start, state) {
  const [field, status] = type === "token" ? ["answer", "answering"] : [type, type];
  const known = Math.max(state.seq, turn.seq, start);
  const changed = { ...turn }; // then assigned to: a literal that repeats the names of what it spreads is made far slower
  if (!turn.answer && turn.status !== status) measureThinking(changed, status, seq > state.head ? Date.now() : null);
  changed.seq = seq;
  changed.status = status;
  const added = known > start ? [...text].slice(known - start).join("") : text;
  changed[field] += added;
  if (field === "answer") changed.tail = (turn.tail?.length < TAIL_LENGTH ? turn.tail : "") + added;
  changed.size += seq - known;
  return changed;
}

/** Measures the thinking before an answer, from its first slice to the answer's. `now` is null where those are read again. */
function measureThinking(turn, status, now) {
  if (status === "thinking") turn.thinkingSince = now;
  else if (turn.thinkingSince) turn.thinkingTime = now && now - turn.thinkingSince;
}

/** Returns how long a turn thought by the server's clock; null where it has not ended, or did not begin with thinking. */
function measuredTime(thinkingSince, timing) {
  return timing && thinkingSince !== undefined ? (timing.first_token ?? timing.total) - timing.queued : null;
}

/** Puts a turn at its place in a new view, at the end where it has none, and makes room for it: drops the oldest others. */
function putTurn(next, place, turn) {
  next.size += turn.size - (next.turns[place]?.size ?? 0);
  next.turns = next.turns.slice();
  next.turns[place < 0 ? next.turns.length : place] = turn;
  if (next.size > next.keep) next.turns = next.turns.filter((other) => {
    if (next.size <= next.keep || other === turn || other.status !== "ended") return true;
    next.size -= other.size;
    next.earlier = true;
    return false;
  });
}

/**
 * Makes a turn of its record on the wire: `question` is called `text` there, and the status follows from the rest.
 * `thinkingSince` is undefined where it does not begin with thinking: the time to its answer is none of thinking then.
 */
function turnFromRecord({ text: question, answer = "", reason = null, steps, ...record }) {
  const thoughts = (steps ?? []).map(({ type, text }) => (type === "thinking" ? text : ""));
  const thinking = thoughts.join("");
  const thinkingSince = thoughts[0] ? null : undefined;
  const thinkingTime = measuredTime(thinkingSince, record.timing);
  const size = TURN_OVERHEAD + countCodePoints(question + thinking + answer);
  let status = answer ? "answering" : "waiting";
  if (thoughts.at(-1)) status = "thinking";
  if (reason) status = "ended";
  return { ...record, question, thinking, thinkingSince, thinkingTime, answer, reason, status, size };
}

/**
 * Merges older turns, and newer records of known ones. At the same `seq` the record wins, which repairs a wrong answer.
 * What was fetched is kept, even if it is more than `keep`.
 */
function mergeHistory(state, { turns: records, more }) {
  const byId = new Map(state.turns.map((turn) => [turn.turn, turn]));
  for (const record of records) {
    const known = byId.get(record.turn);
    if (!known || known.seq <= record.seq) byId.set(record.turn, turnFromRecord(record));
  }
  const turns = [...byId.values()].sort((one, other) => one.from - other.from);
  const size = turns.reduce((sum, turn) => sum + turn.size, 0);
  const earlier = records[0]?.from > state.turns[0]?.from ? state.earlier : more;
  return { ...state, earlier, turns, size, keep: Math.max(state.keep, size) };
}
