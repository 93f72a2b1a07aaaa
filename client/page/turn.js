/** One turn on the page: an article with its question, its answer, and the buttons of their actions. */
import { writeHighlighted } from "../highlight.js";
import { update } from "../markdown.js";
import { drawThinking } from "../thinking.js";
import { byId, copyText, createButton, createElement, setText } from "./dom.js";
import * as strings from "./strings.js";
import { fitHeight, submitOnEnter } from "./text-field.js";
import { badgeOf, metaOf } from "./turn-text.js";

const { translate } = strings;

const translateThinking = (name, seconds) => translate(name, { seconds });

/** Returns an article without a turn. */
export function createArticle() {
  const parts = {
    question: createElement("h2", { class: "question" }),
    thought: createElement("details", { class: "thought" }, createElement("summary"), createElement("div")),
    answer: createElement("div", { class: "answer" }),
    badge: createElement("p", { class: "badge" }),
    meta: createElement("p", { class: "meta" }),
  };
  const tools = createElement(
    "div",
    { class: "tools" },
    createButton("copy", translate("copy"), translate("copy_answer")),
    createButton("retry", translate("retry"), translate("ask_again")),
    createButton("edit", translate("edit"), translate("edit_question")),
  );
  const foot = createElement("div", { class: "foot" }, parts.meta, tools);
  const article = createElement("article", {}, parts.question, parts.thought, parts.answer, parts.badge, foot);
  return Object.assign(article, { parts });
}

/**
 * Draws a turn in its article; the same turn again costs nothing.
 *
 * @param {HTMLElement} article from `createArticle`
 * @param {import("../rows.js").Row & { isOffline?: boolean }} turn
 */
export function drawTurn(article, turn) {
  const { parts, drawn } = article;
  if (drawn === turn) return;
  article.drawn = turn;
  const { turn: id, id: questionId, status, reason } = turn;
  Object.assign(article.dataset, { turn: id ?? "", id: questionId ?? "", status, reason: reason ?? "" });
  article.setAttribute("aria-busy", String(status !== "ended"));
  setText(parts.question, turn.question);
  drawThinking(parts.thought, turn, translateThinking);
  if (drawn?.answer !== turn.answer) update(parts.answer, turn.answer, writeCode);
  setText(parts.badge, badgeOf(turn, strings));
  if (status !== "ended") return;
  const meta = metaOf(turn, strings).map((text) => createElement("span", {}, text));
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
 * Runs the action of a button in an article.
 *
 * @param {HTMLElement} button
 * @param {{ retry: (turn: string) => void, edit: (turn: string, text: string) => void }} actions what asks the server
 */
export function runAction(button, { retry, edit }) {
  const article = button.closest("article");
  if (!article) return; // the button was in a form that is closed
  const { turn, answer } = article.drawn;
  switch (button.dataset.do) {
    case "copy":
      return copyText(answer, button);
    case "copy-code":
      return copyText(button.closest("figure").querySelector("code").textContent, button);
    case "retry":
      return retry(turn);
    case "edit":
      return editQuestion(article, edit);
  }
}

/** Shows a form in the question's place, until the reader submits or cancels it. */
function editQuestion(article, edit) {
  const { turn, question } = article.drawn;
  const area = createElement("textarea", { "aria-label": translate("the_question"), rows: "1" }, question);
  const cancel = createButton("keep", translate("cancel"));
  const submit = createElement("button", { type: "submit" }, translate("ask_this"));
  const form = createElement("form", { class: "edit" }, area, createElement("div", {}, cancel, submit));

  function close() {
    form.remove();
    article.parts.question.classList.remove("aside");
    article.querySelector("[data-do=edit]").focus();
  }

  cancel.addEventListener("click", close);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!area.value.trim()) return;
    close();
    edit(turn, area.value.trim());
    byId("question").focus();
  });
  submitOnEnter(area, form);
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // the answer is not stopped
    close();
  });
  article.parts.question.classList.add("aside"); // for screen readers the answer keeps its heading
  article.parts.question.before(form);
  fitHeight(area);
  area.focus();
  area.setSelectionRange(question.length, question.length);
}
