/** Rows: the turns and unsent questions that an interface draws. */
import { shown } from "./view.js";

/**
 * Returns the turns to show, then the questions that are not in the log yet, as rows with the status `sending` and
 * without a turn.
 *
 * @param {Pick<import("./askbot.js").Chat, "view" | "pending">} chat
 * @returns {import("./rows.js").Row[]}
 */
export function rows(chat) {
  const unsent = chat.pending().map(({ id, text: question }) => ({
    turn: null,
    id,
    question,
    thinking: "",
    thinkingTime: null,
    answer: "",
    status: "sending",
    reason: null,
  }));
  return [...shown(chat.view.turns), ...unsent];
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
