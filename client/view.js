/** What a client shows, folded from the server's frames. Each has its place in the log, so nothing comes twice. */
export const empty = { session: null, seq: null, turns: [] };

/** As `seq` counts; a string's length is in UTF-16 units. */
export const points = (text) => [...text].length;

/** The state after a frame. Where it has a `gap`: reconnect with `after` = `seq`. */
export function view(state, frame) {
  if (frame.type === "ready") return ready(state, frame);
  if (frame.session !== state.session) return state;
  if (frame.type === "history") return history(state, frame);
  return frame.seq > state.seq ? logged(state, frame) : state;
}

/** Not what a retry or an edit replaces, nor what came after that. */
export const shown = (turns) =>
  turns.reduce((kept, turn) => {
    const first = turns.findIndex((other) => other.turn === turn.replaces); // -1: older than all
    return [...(turn.replaces ? kept.filter((other) => turns.indexOf(other) < first) : kept), turn];
  }, []);

/** Another `log` is another history; a server of an earlier version doesn't say which one it is. */
function ready(state, { session, seq: head, from: seq, log, model, limits }) {
  const same = session === state.session && seq === state.seq && (log ?? state.log) === (state.log ?? log);
  const kept = same ? state : { ...empty, session, seq, earlier: seq > 0 };
  return { ...kept, head, log: log ?? kept.log, model, limits, gap: false };
}

function logged(state, frame) {
  const { type, seq, text } = frame;
  const { turns, seq: seen } = state;
  const fold = events[type];
  if (!fold) return { ...state, seq }; // a later version's
  const start = seq - (type === "token" ? points(text) : 1);
  return start > seen ? { ...state, gap: true } : { ...state, seq, turns: fold(turns, frame, start, seen) };
}

const change = (turns, id, update) => turns.map((turn) => (turn.turn === id ? { ...turn, ...update(turn) } : turn));

/** A turn has its own `seq`: `history` may have told more of it. */
const events = {
  __proto__: null,
  question: (turns, frame) =>
    turns.some(({ turn }) => turn === frame.turn) ? turns : [...turns, turnOf({ ...frame, from: frame.seq - 1 })],
  token: (turns, { turn: id, seq, text }, start, seen) =>
    change(turns, id, (turn) => {
      const fresh = [...text].slice(Math.max(0, seen - start, turn.seq - start)).join("");
      return fresh && { seq, status: "answering", answer: turn.answer + fresh };
    }),
  done: (turns, frame) => change(turns, frame.turn, () => ({ ...frame, status: "ended" })),
};

const turnOf = ({ text: question, answer = "", reason = null, ...turn }) => ({
  ...turn,
  question,
  answer,
  reason,
  status: reason ? "ended" : answer ? "answering" : "waiting",
});

/** A turn that knows as much as ours replaces it: that repairs. */
function history(state, { turns: told, more }) {
  const turns = new Map(state.turns.map((turn) => [turn.turn, turn]));
  const earlier = told[0]?.from > state.turns[0]?.from ? state.earlier : more;
  for (const turn of told) if (!(turns.get(turn.turn)?.seq > turn.seq)) turns.set(turn.turn, turnOf(turn));
  return { ...state, earlier, turns: [...turns.values()].sort((one, other) => one.from - other.from) };
}
