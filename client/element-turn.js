/** One turn of `<ask-bot>`: an article with its question, room for what element-answer.js draws, and what is said below that. */
import { createPart, setPending, setText } from "./element-parts.js";

const SECOND_MS = 1000;
const LONG_CHARACTERS = 640; // of a question, which then is folded
const LONG = /(\n.*){8}/;

/** Returns an article without a turn. */
export function createArticle() {
  const thought = createPart("details", "thought", createPart("summary", "thought-label"), createPart("div", "thought-text"));
  thought.hidden = true;
  thought.name = ""; // of several with one name, only one would be open
  const question = createPart("h2", "question");
  const end = createPart("div", "end", createPart("p", "badge"), createPart("button", "retry"));
  question.dir = thought.lastChild.dir = "auto";
  return createPart("article", "turn", question, createPart("button", "fold"), thought, createPart("div", "answer"), end);
}

/**
 * Draws a turn in its article. While it waits that is to be done each second, else where the row is a new one.
 *
 * @param {HTMLElement} article from `createArticle`
 * @param {import("./rows.js").Row} row
 * @param {object} options
 * @param {number} options.before how many answers come before its own
 * @param {(name: string, values?: object) => string} options.translate
 * @param {(parts: { thought: Element, answer: Element }, row: object, options: object) => void} [options.drawAnswer] that of
 *   element-answer.js; a turn without a word of the model needs none
 * @param {(tex: string, display: boolean) => Node | null | undefined} [options.renderMath]
 */
export function drawTurn(article, row, { before, translate, drawAnswer, renderMath }) {
  const [question, fold, thought, answer, end] = article.children;
  const [badge, retry] = end.children;
  const { status, pending } = row;
  const isFirst = status === "waiting" && !before;
  article.since = isFirst ? (article.since ?? Date.now()) : undefined;
  setText(badge, badgeOf(row, before, Math.floor((Date.now() - article.since) / SECOND_MS), translate));
  if (article.row === row) return;
  if (article.row?.question !== row.question) drawQuestion(question, fold, row.question);
  article.row = row;
  article.part = `turn ${status}`;
  article.className = row.reason ?? "";
  setText(fold, translate(fold.ariaExpanded === "true" ? "fold" : "unfold"));
  drawAnswer?.({ thought, answer }, row, { translate, renderMath });
  setPending(retry, Boolean(pending), translate(pending === "retry" ? "retrying" : "retry"));
}

/** Draws an answer as plain text: the `drawAnswer` where that of element-answer.js could not be loaded. */
export function drawPlainAnswer({ answer }, row) {
  answer.style.whiteSpace = "pre-wrap";
  setText(answer, row.answer);
}

/** Folds an article's question, or unfolds it. */
export function toggleFold({ children: [question, fold] }, translate) {
  const isFolded = fold.ariaExpanded === "true";
  fold.ariaExpanded = String(!isFolded);
  question.part = isFolded ? "question long folded" : "question long";
  setText(fold, translate(isFolded ? "unfold" : "fold"));
}

function drawQuestion(question, fold, text) {
  const isLong = text.length > LONG_CHARACTERS || LONG.test(text);
  setText(question, text);
  question.part = isLong ? "question long folded" : "question";
  fold.hidden = !isLong;
  fold.ariaExpanded = "false";
}

/** Returns what a turn waits for, or why it has no whole answer; for a reason that is not known here, its name. */
function badgeOf({ status, reason, error, answer }, before, seconds, translate) {
  if (status === "sending") return translate("sending");
  if (status === "waiting" && before) return translate(before > 1 ? "in_line_after" : "in_line", { before });
  if (status === "waiting") return seconds ? translate("waiting_time", { seconds }) : "";
  if (!reason || reason === "stop") return "";
  const text = error?.message ?? translate(reason);
  return answer && (error || reason === "interrupted") ? translate("broke_off", { reason: text }) : text;
}
