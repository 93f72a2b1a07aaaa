/** Document functions that several modules use. */
import { translate } from "./strings.js";

const COPIED_NOTICE_MS = 1500; // for which a button shows that it has copied

/** A screen that is touched: its keyboard covers the page, and has no Shift+Enter. */
export const touchScreen = matchMedia("(hover: none) and (pointer: coarse)");

export function byId(id) {
  return document.getElementById(id);
}

/**
 * Returns a new element.
 *
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} content
 * @returns {HTMLElement}
 */
export function createElement(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

/**
 * Returns a button for an action.
 *
 * @param {string} action its `data-do`
 * @param {string} text
 * @param {string} [label] for screen readers, which do not show what the button belongs to
 * @returns {HTMLElement}
 */
export function createButton(action, text, label = text) {
  return createElement("button", { type: "button", "data-do": action, "aria-label": label }, text);
}

/** Sets an element's text, where it is not the same. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Gives the focus to the question's field, or on a touch screen, where that opens the keyboard, to the turns. */
export function focusQuestion() {
  byId(touchScreen.matches ? "turns" : "question").focus({ preventScroll: true });
}

/**
 * Draws, and gives the focus to the question's field where what had it is not shown any more.
 *
 * @param {() => void} draw
 */
export function drawWithFocus(draw) {
  const focused = document.activeElement;
  draw();
  const isGone = focused !== document.body && !focused.checkVisibility();
  if (isGone && (document.activeElement === focused || document.activeElement === document.body)) focusQuestion();
}

/** Shows on a button that what it does is not done yet, until a promise is settled. */
export async function showBusy(button, promise) {
  button.ariaBusy = "true";
  await promise.catch(() => {});
  button.ariaBusy = "false";
}

/** Has a text read aloud by screen readers. */
export function announce(text) {
  byId("announce").textContent = text;
}

/**
 * Makes these elements the children of another, in this order. One that stays in its place keeps the focus and its place
 * on the screen.
 *
 * @param {Element} parent
 * @param {Element[]} children
 */
export function setChildren(parent, children) {
  const focused = document.activeElement;
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

/**
 * Copies a text to the clipboard, and shows a notice on the button.
 *
 * @param {string} text
 * @param {Element} button which the reader has used
 */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // an insecure origin has no clipboard
  }
  setText(button, translate("copied"));
  announce(translate("copied"));
  setTimeout(() => setText(button, translate("copy")), COPIED_NOTICE_MS);
}

function copyBySelection(text) {
  const area = createElement("textarea", { class: "aside" }, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Offers a text as a file to download.
 *
 * @param {string} name the file's
 * @param {string} type its media type
 * @param {string} text
 */
export function downloadFile(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  createElement("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 0);
}
