/** Fields to write in: they grow with their text, and Enter submits. */

const COMPOSING_KEY_CODE = 229; // Safari reports the Enter that ends the composing of a syllable only by this

/** Makes a text area as high as its text, where the browser does not do so itself. */
export function fitHeight(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

/**
 * Makes Enter in a field submit its form; Shift+Enter, and the Enter that ends the composing of a syllable, don't.
 *
 * @param {HTMLTextAreaElement | HTMLInputElement} field
 * @param {HTMLFormElement} form
 */
export function submitOnEnter(field, form) {
  field.addEventListener("input", () => fitHeight(field));
  field.addEventListener("keydown", (event) => {
    const isComposing = event.isComposing || event.keyCode === COMPOSING_KEY_CODE;
    if (event.key !== "Enter" || event.shiftKey || isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
