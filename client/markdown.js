/**
 * Markdown, as models write it, to DOM nodes. Never to HTML: markup in an answer stays text that one sees.
 *
 * Lines are parsed to blocks (markdown-blocks.js), a block's text to inline parts (markdown-inline.js), and here both are
 * drawn as elements. An answer is untrusted, so the time it takes is linear in its length, but for the bounds of those
 * modules: what exceeds them stays plain text. A line break stays one, as models don't wrap lines.
 */
import { blocks } from "./markdown-blocks.js";
import { parseInline } from "./markdown-inline.js";

export { blocks };

/** Writes a block of code, which may have grown, into its element: the `write` of `update` where none is given. */
function writePlain(code, text) {
  const shown = code.firstChild;
  if (shown && text.startsWith(shown.data)) return shown.appendData(text.slice(shown.data.length));
  shown?.remove();
  code.append(text);
}

/** Returns a part's element, without what is below. */
function build({ name, text, attributes }, document) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  const inlineParts = typeof text === "string" ? parseInline(text) : text;
  for (const inline of inlineParts) element.append(typeof inline === "string" ? inline : build(inline, document));
  return element;
}

function hasSameAppearance(part, other) {
  const appearance = ({ name, text, attributes }) => JSON.stringify([name, text, attributes]);
  return appearance(part) === appearance(other);
}

/** Draws parts over those before: an element that would look the same stays, with what the reader has selected in it. */
function draw(container, parts, before, write) {
  parts.forEach((part, place) => {
    const old = before[place];
    if (part === old) return;
    const isKept = old && hasSameAppearance(part, old);
    part.node = isKept ? old.node : build(part, container.ownerDocument);
    if (!isKept) {
      container.insertBefore(part.node, old?.node ?? null);
      old?.node.remove();
    }
    draw(part.node, part.below, isKept ? old.below : [], write);
    if ("code" in part) write(part.node, part.code, part.language);
  });
  for (const { node } of before.slice(parts.length)) node.remove();
}

const drawnIn = new WeakMap(); // container -> { text, parts }: what it shows

/**
 * Shows a text that grows. Only its last line can be unfinished, and change no more than its block and the one before,
 * which it may turn out to continue: the others stay.
 *
 * @param {Element} container
 * @param {string} text all of it
 * @param {import("./markdown.js").WriteCode} [write]
 */
export function update(container, text, write = writePlain) {
  const before = drawnIn.get(container) ?? { text: "", parts: [] };
  const kept = text.startsWith(before.text) ? before.parts.slice(0, -2) : [];
  const from = kept.length && before.parts[kept.length].line;
  const parts = [...kept, ...blocks(text.split("\n"), 0, from)];
  draw(container, parts, before.parts, write);
  drawnIn.set(container, { text, parts });
}

/**
 * Returns the elements for a whole text.
 *
 * @param {string} text
 * @param {Document} document
 * @param {import("./markdown.js").WriteCode} [write]
 * @returns {Element[]}
 */
export function render(text, document, write) {
  const container = document.createElement("div");
  update(container, text, write);
  return [...container.childNodes];
}
