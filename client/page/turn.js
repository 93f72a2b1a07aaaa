/** One turn on the page: an article with its question, its answer, and the buttons of their actions. */
import { markBlocks } from "../growing-blocks.js";
import { writeHighlighted } from "../highlight.js";
import { update } from "../markdown.js";
import { drawThinking } from "../thinking.js";
import { copyText, createButton, createElement, setText } from "./dom.js";
import { renderMath } from "./math.js";
import * as strings from "./strings.js";
import { badgeOf, estimateLineCount, isCode, MAX_SHOWN_LINES, metaOf, waitText } from "./turn-text.js";

const SECOND_MS = 1000;
const BROKEN = ["error", "interrupted"]; // reasons of an end that the reader may want to try again

const { translate } = strings;

const translateThinking = (name, seconds) => translate(name, { seconds });

/** Returns an article without a turn. */
export function createArticle() {
  const parts = {
    question: createElement("h2", { class: "question", dir: "auto" }),
    fold: createButton("fold", ""),
    thought: createElement("details", { class: "thought" }, createElement("summary"), createElement("div", { dir: "auto" })),
    wait: createElement("p", { class: "wait" }),
    answer: createElement("div", { class: "answer" }),
    badge: createElement("p", { class: "badge" }),
    again: createButton("retry", translate("retry"), translate("ask_again")), // beside the badge
    meta: createElement("p", { class: "meta" }),
    retry: createButton("retry", translate("retry"), translate("ask_again")),
  };
  const { question, fold, thought, wait, answer, badge, again, meta, retry } = parts;
  const tools = createElement(
    "div",
    { class: "tools" },
    createButton("copy", translate("copy"), translate("copy_answer")),
    retry,
    createButton("edit", translate("edit"), translate("edit_question")),
    createButton("branch", translate("branch"), translate("branch_here")),
  );
  const about = createElement("summary", { "aria-label": translate("details_of") }, translate("details"));
  parts.details = createElement("details", { class: "about" }, about, meta);
  const end = createElement("div", { class: "end" }, badge, again);
  const foot = createElement("div", { class: "foot" }, tools, parts.details);
  parts.question.id = `question-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  fold.setAttribute("aria-controls", question.id);
  const article = createElement("article", {}, question, fold, thought, wait, answer, end, foot);
  return Object.assign(article, { parts });
}

/**
 * A row as the page draws it.
 *
 * @typedef {import("../rows.js").Row & { isOffline?: boolean, before?: number }} PageRow `isOffline`: it, or a command about
 *   it, waits for the connection; `before`: how many answers come before that of one that waits
 */

/**
 * Draws a turn in its article; the same turn again costs nothing.
 *
 * @param {HTMLElement} article from `createArticle`
 * @param {PageRow} turn
 */
export function drawTurn(article, turn) {
  const { parts, drawn } = article;
  if (drawn === turn) return;
  article.drawn = turn;
  const { turn: id, id: questionId, status, reason } = turn;
  Object.assign(article.dataset, { turn: id ?? "", id: questionId ?? "", status, reason: reason ?? "" });
  article.setAttribute("aria-busy", String(status !== "ended"));
  if (drawn?.question !== turn.question) drawQuestion(article, turn.question);
  drawThinking(parts.thought, turn, translateThinking);
  drawWait(article);
  if (drawn?.answer !== turn.answer || drawn.status !== status) drawAnswer(parts.answer, turn);
  drawEnd(article, turn);
}

/** Draws a question; one of many lines is folded, until the reader unfolds it. */
function drawQuestion({ parts: { question, fold } }, text) {
  const isLong = estimateLineCount(text) > MAX_SHOWN_LINES;
  setText(question, text);
  question.classList.toggle("long", isLong);
  question.classList.toggle("code", isCode(text));
  fold.hidden = !isLong;
  setFolded(question, fold, isLong);
}

function setFolded(question, fold, isFolded) {
  const count = question.textContent.split("\n").length;
  const label = count > MAX_SHOWN_LINES ? translate("unfold", { count }) : translate("unfold_all");
  question.classList.toggle("folded", isFolded);
  fold.setAttribute("aria-expanded", String(!isFolded));
  fold.removeAttribute("aria-label"); // its text says it
  setText(fold, isFolded ? label : translate("fold"));
}

/** Says that a turn waits, or for how long it does, counting the seconds. */
function drawWait(article) {
  const { parts, drawn } = article;
  clearTimeout(article.waitTimer);
  const isFirst = drawn.status === "waiting" && !drawn.before;
  article.waitsSince = isFirst ? (article.waitsSince ?? Date.now()) : null;
  const seconds = isFirst ? Math.floor((Date.now() - article.waitsSince) / SECOND_MS) : 0;
  setText(parts.wait, waitText(drawn, seconds, strings));
  if (isFirst) article.waitTimer = setTimeout(() => article.isConnected && drawWait(article), SECOND_MS);
}

/** Draws an answer as far as it has come. Each block has its own direction, and the last one has the cursor. */
function drawAnswer(element, { answer, status }) {
  update(element, answer, { write: writeCode, renderMath, isGrowing: status !== "ended" });
  markBlocks(element, status === "answering");
}

/** Draws what is said below an answer, and what can be done with it. */
function drawEnd(article, turn) {
  const { parts } = article;
  const isBroken = BROKEN.includes(turn.reason);
  setText(parts.badge, badgeOf(turn, strings));
  parts.again.hidden = !isBroken;
  parts.retry.hidden = isBroken;
  for (const button of article.querySelectorAll(".tools > button, .end > button")) {
    const isAbout = !["copy", "copy-code"].includes(button.dataset.do);
    button.ariaBusy = String(turn.pending === button.dataset.do.replace("branch", "fork"));
    button.ariaDisabled = String(isAbout && Boolean(turn.pending));
  }
  if (turn.status !== "ended") return;
  const meta = metaOf(turn, strings).map((text) => createElement("span", {}, text));
  parts.details.hidden = !meta.length;
  parts.meta.replaceChildren(...meta);
}

/** Writes highlighted code, and gives its caption a button to copy it. */
function writeCode(code, text, language) {
  if (!code.firstChild) {
    const caption = code.parentNode.previousSibling;
    caption.append(createButton("copy-code", translate("copy"), translate("copy_code")));
  }
  writeHighlighted(code, text, language);
}

/**
 * Runs the action of a button in an article, unless the same turn has a command that is not answered yet.
 *
 * @param {HTMLElement} button
 * @param {Record<"retry" | "edit" | "branch", (article: HTMLElement) => void>} actions what asks the server
 */
export function runAction(button, actions) {
  const article = button.closest("article");
  if (!article || button.ariaDisabled === "true") return; // it was in a form that is closed, or is pending
  const { parts, drawn } = article;
  switch (button.dataset.do) {
    case "copy":
      return copyText(drawn.answer, button);
    case "copy-code":
      return copyText(button.closest("figure").querySelector("code").textContent, button);
    case "fold":
      return setFolded(parts.question, parts.fold, !parts.question.classList.contains("folded"));
    default:
      return actions[button.dataset.do]?.(article);
  }
}
