/** The composer of `<ask-bot>`: the field for the question, and one button, which sends it, or stops the answer where it is empty. */
import { isComposing } from "./composing.js";
import { createPart, setPending, setText } from "./element-parts.js";
import { countCodePoints } from "./view.js";

const TOUCH_SCREEN = "(hover: none) and (pointer: coarse)"; // its keyboard covers the page, and has no Shift+Enter
const NEAR_LIMIT = 0.9; // the share of the limit from which on a question's length is shown

export const isTouchScreen = () => matchMedia(TOUCH_SCREEN).matches;

export class Composer {
  field = createPart("textarea", "field");
  isTooLong = false;
  #stop = createPart("button", "stop");
  #send = createPart("button", "send");
  #length = createPart("p", "length");
  form = createPart("form", "form", this.field, this.#stop, this.#send, this.#length);

  /**
   * @param {object} actions
   * @param {() => void} actions.onInput
   * @param {() => void} actions.onSubmit
   */
  constructor({ onInput, onSubmit }) {
    const { field, form } = this;
    field.rows = 1;
    field.dir = "auto";
    field.setAttribute("aria-describedby", (this.#length.id = "length"));
    this.#stop.type = "button";
    field.addEventListener("input", onInput);
    field.addEventListener("keydown", (event) => this.#onKeydown(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
  }

  /**
   * Draws the button that is of use, and the text's length where that is near the limit, or beyond it.
   *
   * @param {object} state
   * @param {number} [state.limit] of a question's length in code points, as far as it is known
   * @param {boolean} state.canStop
   * @param {boolean} state.isStopping
   * @param {(name: string, values?: object) => string} state.translate
   */
  draw({ limit, canStop, isStopping, translate }) {
    const text = this.field.value.trim();
    const count = text.length >= limit * NEAR_LIMIT ? countCodePoints(text) : 0;
    this.isTooLong = count > limit;
    this.field.ariaInvalid = String(this.isTooLong);
    setText(this.#length, count >= limit * NEAR_LIMIT ? translate(this.isTooLong ? "too_long" : "count", { count, limit }) : "");
    this.#stop.hidden = Boolean(text) || !canStop;
    this.#send.hidden = !this.#stop.hidden;
    setPending(this.#stop, isStopping, translate(isStopping ? "stopping" : "stop"));
  }

  /** Enter sends; Shift+Enter breaks the line, and on a touch screen so does Enter. */
  #onKeydown(event) {
    if (event.key !== "Enter" || isComposing(event)) return;
    const breaksLine = event.shiftKey || isTouchScreen();
    if (breaksLine && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.form.requestSubmit();
  }
}
