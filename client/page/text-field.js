/** Fields to write in: they grow with their text, Enter submits, and their length is counted. */
import { isComposing } from "../composing.js";
import { countCodePoints } from "../view.js";
import { announce, setText, touchScreen } from "./dom.js";
import { language, translate } from "./strings.js";

const NEAR_LIMIT = 0.9; // the share of a limit from which on the length is shown

/** Makes a text area as high as its text, where the browser does not do so itself. */
export function fitHeight(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

/**
 * Makes Enter in a field submit its form. Shift+Enter in a text area breaks the line, and on a touch screen so does Enter;
 * Ctrl+Enter and ⌘+Enter always submit. A key that belongs to the composing of a word does nothing.
 *
 * @param {HTMLTextAreaElement | HTMLInputElement} field
 * @param {HTMLFormElement} form
 */
export function submitOnEnter(field, form) {
  const isArea = field.localName === "textarea";
  field.addEventListener("input", () => fitHeight(field));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || isComposing(event)) return;
    const breaksLine = event.shiftKey || (isArea && touchScreen.matches);
    if (breaksLine && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

/**
 * Shows the length of a field's text where that comes near the limit, or is beyond it.
 *
 * @param {HTMLTextAreaElement} field
 * @param {HTMLElement} note
 * @param {number} [limit] in code points, as far as it is known
 * @returns {boolean} whether the text is too long
 */
export function drawLength(field, note, limit) {
  const length = field.value.length >= limit * NEAR_LIMIT ? countCodePoints(field.value.trim()) : 0;
  const isTooLong = length > limit;
  const values = { count: length.toLocaleString(language), limit: limit?.toLocaleString(language) };
  const isTold = note.classList.contains("alarm");
  setText(note, length >= limit * NEAR_LIMIT ? translate(isTooLong ? "too_long" : "length", values) : "");
  note.classList.toggle("alarm", isTooLong);
  field.setAttribute("aria-invalid", String(isTooLong));
  if (isTooLong && !isTold) announce(note.textContent);
  return isTooLong;
}
