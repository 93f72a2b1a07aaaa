/** What is drawn of a conversation. */
import { shown } from "./view.js";

/** Its turns, then the questions that its log does not have yet: `sending`, where they will be, without a turn. */
export const rows = (bot) => [
  ...shown(bot.view.turns),
  ...bot.pending().map(({ id, text: question }) => ({ turn: null, id, question, answer: "", status: "sending", reason: null })),
];

/** What a stop button stops: the turn that runs, or the last such question, by its id. */
export const running = (bot) =>
  bot.view.turns.find(({ status }) => status !== "ended")?.turn ?? bot.pending().at(-1)?.id;
