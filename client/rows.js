/** Rows: the turns and unsent questions that an interface draws. */
import { shown } from "./view.js";

const rowsByTurn = new WeakMap(); // so that a row is the same object for as long as it has not changed

/** Returns a turn's row, with the type of the command about it that has no answer yet. */
function rowOf(turn, pending = null) {
  let row = rowsByTurn.get(turn);
  if (row?.pending !== pending) rowsByTurn.set(turn, (row = { ...turn, pending }));
  return row;
}

/**
 * Returns the turns to show, then the questions that are not in the log yet, as rows with the status `sending` and
 * without a turn.
 *
 * @param {import("./rows.js").Conversation} chat
 * @returns {import("./rows.js").Row[]}
 */
export function rows(chat) {
  const turns = shown(chat.view.turns);
  const last = turns.at(-1)?.turn; // which a retry is about that names none
  const commands = (chat.requests?.() ?? []).filter(({ type, turn }) => turn || type === "retry");
  const pending = new Map(commands.map(({ type, turn = last }) => [turn, type]));
  const unsent = chat.pending().map(({ id, text: question }) => ({
    turn: null,
    id,
    question,
    thinking: "",
    thinkingTime: null,
    answer: "",
    status: "sending",
    reason: null,
    pending: null,
  }));
  return [...turns.map((turn) => rowOf(turn, pending.get(turn.turn))), ...unsent];
}

/**
 * Returns what a stop button stops: the turn that runs, else the id of the last question that is not in the log yet.
 *
 * @param {Pick<import("./askbot.js").Chat, "view" | "pending">} chat
 * @returns {string | undefined} what `chat.cancel` takes; undefined where there is nothing to stop
 */
export function running(chat) {
  const turn = chat.view.turns.find(({ status }) => status !== "ended");
  return turn?.turn ?? chat.pending().at(-1)?.id;
}
