/** What is drawn of a conversation: its turns, then the questions that its log does not have yet. */
import { shown } from "./view.js";

/** Such a question has the status `sending`, the place that it will have, and no turn. */
export const rows = (bot) => [
  ...shown(bot.view.turns),
  ...bot.pending().map(({ id, text: question }) => ({ turn: null, id, question, answer: "", status: "sending", reason: null })),
];

/** What a stop button stops: the turn that runs, or by its id the last question that is not in the log. */
export const running = (bot) =>
  bot.view.turns.find(({ status }) => status !== "ended")?.turn ?? bot.pending().at(-1)?.id;
