/** One turn, drawn: an article with its question, its answer, and what can be done about them. */
import { writeHighlighted } from "../highlight.js";
import { update } from "../markdown.js";
import { button, copy, node, set } from "./dom.js";
import { grow, sends } from "./text-field.js";
import { badgeOf, metaOf } from "./turn-text.js";
import { language, say, sayError, sayReason } from "./strings.js";

export function article() {
  const parts = {
    question: node("h2", { class: "question" }),
    answer: node("div", { class: "answer" }),
    badge: node("p", { class: "badge" }),
    meta: node("p", { class: "meta" }),
  };
  const acts = [["copy", "copy", "copy_answer"], ["retry", "retry", "ask_again"], ["edit", "edit", "edit_question"]];
  const tools = node("div", { class: "tools" }, ...acts.map(([act, text, label]) => button(act, say(text), say(label))));
  const foot = node("div", { class: "foot" }, parts.meta, tools);
  return Object.assign(node("article", {}, parts.question, parts.answer, parts.badge, foot), { parts });
}

/** Show what a turn has come to; the same turn again costs nothing. */
export function draw(element, turn) {
  if (element.drawn === turn) return;
  const { parts, drawn } = element;
  element.drawn = turn;
  Object.assign(element.dataset, { turn: turn.turn ?? "", id: turn.id ?? "", status: turn.status, reason: turn.reason ?? "" });
  element.setAttribute("aria-busy", String(turn.status !== "ended"));
  set(parts.question, turn.question);
  if (drawn?.answer !== turn.answer) update(parts.answer, turn.answer, writeCode);
  set(parts.badge, badgeOf(turn, say, sayError, sayReason));
  if (turn.status === "ended") parts.meta.replaceChildren(...metaOf(turn, say, language).map((text) => node("span", {}, text)));
}

function writeCode(code, text, name) {
  if (!code.firstChild) code.parentNode.previousSibling.append(button("copy-code", say("copy"), say("copy_code")));
  writeHighlighted(code, text, name);
}

/** Do what a button in an article is for. */
export function act(from, bot) {
  const element = from.closest("article");
  if (!element) return; // the button was in a form that is done with
  const { turn, answer } = element.drawn;
  const acts = {
    copy: () => copy(answer, from),
    "copy-code": () => copy(from.closest("figure").querySelector("code").textContent, from),
    retry: () => bot.retry(turn),
    edit: () => edit(element, bot),
  };
  acts[from.dataset.do]?.();
}

function edit(element, bot) {
  const { turn, question } = element.drawn;
  const area = node("textarea", { "aria-label": say("the_question"), rows: "1" }, question);
  const cancel = button("keep", say("cancel"));
  const form = node("form", { class: "edit" }, area, node("div", {}, cancel, node("button", { type: "submit" }, say("ask_this"))));
  const end = () => {
    form.remove();
    element.parts.question.classList.remove("aside");
    element.querySelector("[data-do=edit]").focus();
  };
  cancel.addEventListener("click", end);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!area.value.trim()) return;
    end();
    bot.edit(turn, area.value.trim());
    document.getElementById("question").focus();
  });
  sends(area, form);
  area.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), end()));
  element.parts.question.classList.add("aside"); // who listens still finds the answer under its heading
  element.parts.question.before(form);
  grow(area);
  area.focus();
  area.setSelectionRange(question.length, question.length);
}
