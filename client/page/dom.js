/** Small things for the document. */
import { say } from "./strings.js";

const DONE = 1500; // milliseconds for which a button says that it has copied

export const $ = (id) => document.getElementById(id);

export function node(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

export const button = (action, text, label = text) =>
  node("button", { type: "button", "data-do": action, "aria-label": label }, text);

export const set = (element, text) => element.textContent !== text && (element.textContent = text);

/** Said to those who listen instead of looking. */
export const announce = (text) => ($("announce").textContent = text);

/** Give a list these children. One that stays where it is keeps the focus, and its place on the screen. */
export function order(parent, children) {
  const focused = document.activeElement;
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

export async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // an insecure origin has no clipboard
  }
  set(from, say("copied"));
  announce(say("copied"));
  setTimeout(() => set(from, say("copy")), DONE);
}

function copyBySelection(text) {
  const area = node("textarea", { class: "aside" }, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Offer a text as a file. */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  node("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 0);
}
