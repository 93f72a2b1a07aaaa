/**
 * The composer: the field for the question, and one button, which sends what is typed, and stops the answer where nothing
 * is. The Draft (unsent.js) of the conversation on the page writes into its field.
 */
import { byId, focusQuestion, touchScreen } from "./dom.js";
import { drawLength, fitHeight, submitOnEnter } from "./text-field.js";

const form = byId("ask");
const field = byId("question");
const send = byId("send");
const stop = byId("stop");
let limit; // of a question's length, in code points
let canStop = false;
let isTooLong = false;
let onInput = () => (isAskedEarly = false);
let onSubmit = () => (isAskedEarly = true);

/** Whether what is typed was submitted before the page was ready. */
export let isAskedEarly = false;

/** The text in the field. */
export const composerField = {
  get value() {
    return field.value;
  },
  set value(text) {
    field.value = text;
    draw();
  },
};

function draw() {
  const isEmpty = !field.value.trim();
  fitHeight(field);
  isTooLong = drawLength(field, byId("length"), limit);
  stop.hidden = !(canStop && isEmpty);
  send.hidden = !stop.hidden;
  send.disabled = isEmpty || isTooLong;
}

/**
 * Draws what the state of the conversation changes.
 *
 * @param {{ questionLimit?: number, canStop: boolean, isStopping: boolean }} state
 */
export function drawComposer(state) {
  stop.ariaBusy = String(state.isStopping);
  if (state.questionLimit === limit && state.canStop === canStop) return;
  limit = state.questionLimit;
  canStop = state.canStop;
  draw();
}

/**
 * Makes the composer work.
 *
 * @param {{ onInput: () => void, onSubmit: () => void, onStop: () => void }} actions `onSubmit` is not called where there is
 *   nothing to ask, or it is too long
 */
export function initComposer({ onStop, ...others }) {
  ({ onInput, onSubmit } = others);
  stop.addEventListener("click", onStop);
}

if (touchScreen.matches) field.enterKeyHint = "enter";
field.addEventListener("input", () => {
  draw();
  onInput();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!field.value.trim() || isTooLong) return;
  if (document.activeElement === send) focusQuestion(); // the button goes
  onSubmit();
});
submitOnEnter(field, form);
