/** The form in a question's place, in which it is edited. What is typed is reported at once, so that it can be kept. */
import { isComposing } from "../composing.js";
import { createButton, createElement, focusQuestion } from "./dom.js";
import { translate } from "./strings.js";
import { drawLength, fitHeight, submitOnEnter } from "./text-field.js";

/**
 * Shows the form in an article (turn.js). Where there is one already, it stays as it is.
 *
 * @param {HTMLElement} article
 * @param {object} options
 * @param {string} options.text
 * @param {string} options.consequence what will leave the conversation; empty: nothing
 * @param {number} [options.limit] of the text's length, in code points
 * @param {boolean} [options.isFocused]
 * @param {(text: string | null) => void} options.onChange is called with what is typed; with null when the form is left
 * @param {(text: string) => void} options.onSubmit
 */
export function openEditForm(article, { text, consequence, limit, isFocused = true, onChange, onSubmit }) {
  if (article.querySelector("form.edit")) return;
  const area = createElement("textarea", { "aria-label": translate("the_question"), rows: "1", dir: "auto" }, text);
  const note = createElement("p", { class: "length" });
  const cancel = createButton("keep", translate("cancel"));
  const submit = createElement("button", { type: "submit" }, translate("ask_this"));
  const going = createElement("p", { class: "going" }, consequence);
  const form = createElement("form", { class: "edit" }, area, note, createElement("div", {}, going, cancel, submit));

  function draw() {
    submit.disabled = drawLength(area, note, limit) || !area.value.trim();
  }

  function close() {
    form.remove();
    article.parts.question.classList.remove("aside");
    onChange(null);
  }

  function leave() {
    close();
    article.querySelector("[data-do=edit]").focus();
  }

  area.addEventListener("input", () => {
    draw();
    onChange(area.value);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !isComposing(event)) leave();
  });
  cancel.addEventListener("click", leave);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    draw();
    if (submit.disabled) return;
    close();
    focusQuestion();
    onSubmit(area.value.trim());
  });
  submitOnEnter(area, form);
  article.parts.question.classList.add("aside"); // for screen readers the answer keeps its heading
  article.parts.question.before(form);
  fitHeight(area);
  draw();
  if (!isFocused) return;
  area.focus();
  area.setSelectionRange(text.length, text.length);
}
