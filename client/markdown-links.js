/** Links: their targets, the definitions that references lead to, and what is drawn of a link. */
import { unescape } from "./markdown-entities.js";

const SAFE_URL = /^(?:https?:\/\/|mailto:)[^\s\0-\x1f]+$/i;

// Brackets in brackets and lengths are bounded, so that what is never closed costs a bounded time for each beginning.
const LABEL = String.raw`\[(?!\s*\])((?:\\.|[^\\[\]]){1,999})\]`;
const bracketed = (inner) => String.raw`(?:\\\S|[^\\\s()\0-\x1f]|\(${inner}\))*`;
const TARGET = String.raw`\s*(?!\s)(?:<((?:\\.|[^\\<>\n]){0,999})>|(?!<)(${bracketed(bracketed(bracketed("")))}))`;
const TITLE = String.raw`(?:\s+((?<quote>["'])(?:\\[^]|(?!\k<quote>)[^\\]){0,999}\k<quote>|\((?:\\[^]|[^\\()]){0,999}\)))?`;

const INLINE = new RegExp(String.raw`\(${TARGET}${TITLE}\s*\)`, "y");
const REFERENCE = new RegExp(String.raw`${LABEL}|\[\]`, "y");
const DEFINITION = new RegExp(String.raw`${LABEL}:(?=\s*\S)${TARGET}${TITLE}[ \t]*(?:\n|$)`, "y");
const UNFINISHED = /\(\s*(?:<[^\n<>[\]]*>?|[^\s[\]]*)(?:\s+(?:["'(][^\n[\]]*)?)?$/y;
const UNFINISHED_DEFINITION = new RegExp(String.raw`${LABEL}:\s*\S+[ \t]+["'(][^\n]*$`, "y");

/** How the end of a text may go on: not at all, after a blank, or in the middle of a word. */
export const COMPLETE = 0;
export const AFTER_BLANK = 1;
export const IN_WORD = 2;

/**
 * Returns the description of an element: a block or an inline part.
 *
 * @param {string} name the element's
 * @param {Array} [below] strings and parts
 * @param {object} [attributes]
 * @param {object} [more] what else is known of it
 */
export function describePart(name, below = [], attributes = {}, more = {}) {
  return { name, below, attributes, ...more };
}

function matchAt(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

/** Returns a label as it is compared: in no case, with single blanks. */
const normalize = (label) => label.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase();

const targetOf = (length, [inAngles, bare, title = ""]) => ({
  length,
  url: unescape(inAngles ?? bare),
  title: unescape(title.slice(1, -1)),
});

/**
 * Returns what the text behind a link's text says about its target, if it is a link at all.
 *
 * @param {string} text
 * @param {number} position behind the closing bracket
 * @param {string} linkText as it is written; empty where it can't be a label
 * @param {{ definitions: Map<string, object>, growth?: number }} context
 * @returns {{ length: number, url?: string, title?: string, number?: number } | undefined | false} `length` is that of what
 *   was read; without a `url` or a footnote's `number` the target is not complete
 */
export function readTarget(text, position, linkText, { definitions, growth }) {
  const [inline, ...target] = matchAt(INLINE, text, position) ?? [];
  if (inline) return targetOf(inline.length, target);
  const unfinished = growth && matchAt(UNFINISHED, text, position);
  if (unfinished) return { length: unfinished[0].length };
  const [{ length }, label = linkText] = matchAt(REFERENCE, text, position) ?? [""];
  const definition = definitions.size && definitions.get(normalize(label));
  return definition && { ...definition, length };
}

/**
 * Takes the definitions of references from a paragraph's beginning, and returns the text that is left. At the end of a text
 * that grows they are taken and not kept, as a title may follow.
 *
 * @param {string} text
 * @param {number} start where the paragraph begins in the whole text
 * @param {{ definitions: Map<string, object>, growth?: number }} context
 */
export function takeDefinitions(text, start, { definitions, growth }) {
  let position = 0;
  for (let found; (found = matchAt(DEFINITION, text, position)); ) {
    const [whole, label, ...target] = found;
    position += whole.length;
    if (!growth || position < text.length) define(label, { ...targetOf(0, target), start }, definitions);
  }
  return growth && matchAt(UNFINISHED_DEFINITION, text, position) ? "" : text.slice(position);
}

/** Keeps a definition, unless its label has one. */
export function define(label, definition, definitions) {
  const key = normalize(label);
  if (!definitions.has(key)) definitions.set(key, definition);
}

/**
 * Returns the parts of a link: its element, or, where it leads to what an answer has no business with, its text and its
 * target as one would write them.
 */
export function linkTo({ url, title }, parts) {
  if (url === undefined) return [describePart("a", parts)];
  const href = url.replace(/\s/g, encodeURIComponent);
  if (!SAFE_URL.test(href)) return ["[", ...parts, `](${url})`];
  return [describePart("a", parts.length ? parts : [url], { href, rel: "noopener noreferrer nofollow", target: "_blank", title })];
}
