/**
 * Markdown, as models write it, to DOM nodes. Never to HTML: markup in an answer stays text that one sees.
 *
 * Lines are parsed to blocks (markdown-blocks.js), a block's text to inline parts (markdown-inline.js), and here both are
 * drawn as elements. An answer is untrusted, so the time it takes is linear in its
 * length, but for the bounds of those modules: what exceeds them stays plain text. docs/markdown.md says what it reads.
 */
import { parseBlocks } from "./markdown-blocks.js";
import { parseInline } from "./markdown-inline.js";
import { AFTER_BLANK, COMPLETE, IN_WORD } from "./markdown-links.js";

/** Writes a text, which may have grown, over what a node shows: what both begin with stays, and with it a selection. */
function writeText(node, text) {
  const { data } = node;
  if (data === text) return;
  let same = 0;
  while (same < data.length && data[same] === text[same]) same += 1;
  node.replaceData(same, data.length - same, text.slice(same));
}

/** Writes a block of code into its element: the `write` of `update` where none is given. */
function writePlain(code, text) {
  if (!code.firstChild) code.append("");
  writeText(code.firstChild, text);
}

/** Sets the attributes that an element hasn't yet. One without a value is none, and what stays is not touched. */
function setAttributes(element, attributes, before = {}) {
  for (const key of Object.keys({ ...before, ...attributes })) {
    const value = attributes[key];
    if (value && value !== before[key]) element.setAttribute(key, value);
    if (!value) element.removeAttribute(key);
  }
}

/**
 * Returns what a library makes of a formula, or nothing where that is no node that can be taken out again, or it fails: the
 * formula then stays as it is. A node that is in use already is copied.
 */
function renderFormula({ formula }, old, renderMath) {
  if (!formula || !renderMath) return undefined;
  const key = formula.isDisplay + formula.tex;
  if (old?.key === key) return old;
  try {
    const node = renderMath(formula.tex, formula.isDisplay);
    return node?.remove && { key, node: node.parentNode ? node.cloneNode(true) : node };
  } catch {
    return undefined;
  }
}

/** Returns a part's inline parts and blocks. Inline parts are parsed where the text is not the same as before. */
function partsBelow(part, old, context) {
  const { text, growth, below } = part;
  const isSame = old && old.part.text === text && old.part.growth === growth && !context.isAnew;
  if (text !== undefined) part.inline = isSame ? old.part.inline : parseInline(text, { ...context, growth });
  const blocks = below.flatMap((block) => (block.name === "" ? partsBelow(block, undefined, context) : block));
  return part.inline ? part.inline.concat(blocks) : blocks;
}

/** Notes the links of what does not stay at its place. */
function noteLinks(old, links) {
  const { href } = old.part.attributes ?? {};
  if (href) links.get(href)?.push(old) ?? links.set(href, [old]);
  old.below?.forEach((below) => noteLinks(below, links));
}

/** Returns a link that was somewhere else, as before its emphasis was closed, so that a click on it still meets it. */
function takeLink({ attributes }, { links, document }) {
  const old = links.get(attributes?.href)?.shift();
  const node = old?.node;
  node?.replaceWith((old.node = document.createTextNode("")));
  return old && { ...old, node };
}

/** Draws a part, and what is below. The node of the part that was there before stays where it can. */
function drawPart(container, part, old, context) {
  if (old?.part === part && !context.isAnew) return old;
  const { document, renderMath, write } = context;
  const rendered = renderFormula(part, old, renderMath);
  const { key = part.name } = rendered ?? {};
  const kept = old?.key === key ? old : takeLink(part, context);
  const node = rendered?.node ?? kept?.node ?? (key ? document.createElement(key) : document.createTextNode(""));
  if (node !== old?.node) {
    container.insertBefore(node, old?.node ?? null);
    old?.node.remove();
  }
  const drawn = { key, part, node };
  if (rendered) return drawn;
  if (!key) writeText(node, part);
  else {
    setAttributes(node, part.attributes, kept?.part.attributes);
    drawn.below = draw(node, partsBelow(part, kept, context), kept?.below, context);
    if ("code" in part) write(node, part.code, part.language);
  }
  return drawn;
}

/** Draws parts one after the other over those before, and returns what is there now: `{ key, part, node, below }` each. */
function draw(container, parts, before = [], context) {
  before.forEach((old, index) => old.part.name === parts[index]?.name || noteLinks(old, context.links));
  const drawn = parts.map((part, index) => drawPart(container, part, before[index], context));
  for (const { node } of before.slice(parts.length)) node.remove();
  return drawn;
}

/** A line break ends a line, and begins none. */
const linesOf = (text) => (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");

const NOTHING = { text: "", parts: [], definitions: [] };
const drawnIn = new WeakMap(); // container -> what it shows

/**
 * Shows a text that grows. Only its last line can be unfinished, and change no more than its block and the one before,
 * which it may turn out to continue: the others stay, unless they refer to what is defined now.
 *
 * @param {Element} container
 * @param {string} text all of it
 * @param {import("./markdown.js").Options | import("./markdown.js").WriteCode} [options]
 */
export function update(container, text, options = {}) {
  const { write = writePlain, renderMath, isGrowing = false } = typeof options === "function" ? { write: options } : options;
  const links = new Map();
  let before = drawnIn.get(container) ?? NOTHING;
  if (!text.startsWith(before.text) || renderMath !== before.renderMath) {
    draw(container, [], before.drawn, { links });
    before = NOTHING;
  }
  const start = Math.min(before.parts.at(-2)?.start ?? 0, before.unclosed ?? Infinity);
  const kept = before.parts.filter((part) => part.start < start);
  const definitions = new Map(before.definitions.filter(([, definition]) => definition.start < start));
  const context = { document: container.ownerDocument, write, renderMath, definitions, links };
  const growth = !isGrowing ? COMPLETE : /\s$/.test(text) ? AFTER_BLANK : IN_WORD;
  const { blocks, unclosed } = parseBlocks(linesOf(text.slice(start)), start, { definitions, growth });
  const parts = [...kept, ...blocks];
  context.isAnew = JSON.stringify([...definitions]) !== JSON.stringify(before.definitions);
  const drawn = draw(container, parts, before.drawn, context);
  drawnIn.set(container, { text, parts, drawn, definitions: [...definitions], unclosed, renderMath });
}

/**
 * Returns the elements for a whole text.
 *
 * @param {string} text
 * @param {Document} document
 * @param {import("./markdown.js").Options | import("./markdown.js").WriteCode} [options]
 * @returns {Element[]}
 */
export function render(text, document, options) {
  const container = document.createElement("div");
  update(container, text, options);
  return [...container.childNodes];
}
