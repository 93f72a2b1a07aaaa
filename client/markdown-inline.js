/** Inline parts: emphasis, links, code and formulas in a block's text. */
import { resolveEmphasis, runOf } from "./markdown-emphasis.js";
import { CHARACTER, characterOf } from "./markdown-entities.js";
import { createPart, linkTo, readTarget } from "./markdown-links.js";

const MAX_TICKS = 99; // each number of them is sought once in a text
const UNFINISHED_END = /^[.,:;!?*_~'}。、，)]*$/;

/** What ends a formula, by what begins it. */
const FORMULA_ENDS = { "\\(": /\\\)/g, "\\[": /\\\]/g, $$: /\$\$/g };

/**
 * By the method of InlineParser that handles it. A bare address has an ASCII host, as a Korean particle may follow at once;
 * a full stop at its end is the sentence's. A dollar begins a formula where one ends on the same line, and neither is a
 * price's or a variable's.
 */
const TOKENS = {
  formula: /\\[([]|\$\$/,
  dollars: /(?<![\w$])\$(?![\s$]|\d[\d.,]*\s+\p{L}{2})(?:\\.|[^\\$`\n])+(?<!\s)\$(?![\w$])/,
  dollar: /(?<![\w$])\$(?![\s\d$])[^$`\n]*$/,
  character: CHARACTER,
  line: /\\?\n|<[bB][rR]\s*\/?>/,
  ticks: /`+/,
  marks: /\*+|_+|~+/,
  open: /!?\[/,
  close: /\]/,
  angles: /<(?:[a-zA-Z][a-zA-Z\d+.-]{1,31}:[^\s<>]*|[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+)>/,
  tag: /<\/?[a-zA-Z][a-zA-Z\d-]*(?:\s+[a-zA-Z_:][\w.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*\s*\/?>/,
  address: /(?<![\p{L}\p{N}_])(?:https?:\/\/|www\.(?=[\w-]+\.))[\w.-]+(?::\d+)?(?:[/?#](?:(?!&\w+;(?!\S))[^\s<>"`()[\]]|\([^\s<>"`()[\]]*\))*)?(?<![.,:;!?*_~'}。、，])|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?<![-_])(?![\w-])/,
};
const TOKEN = new RegExp(Object.entries(TOKENS).map(([kind, { source }]) => `(?<${kind}>${source})`).join("|"), "gu");

/**
 * Parses a block's text to nodes: strings, parts, addresses, and runs of marks, which become emphasis at the end of the text
 * or of the link that they are in.
 */
class InlineParser {
  position = 0;
  nodes = [];
  brackets = []; // that are open
  active = 0; // how many of them are in no link's text
  absent = new Set(); // what was sought and is not in the rest of the text

  constructor(text, context) {
    Object.assign(this, { text, context });
  }

  parse() {
    for (let found; (found = this.find(TOKEN)); ) {
      const [kind, token] = Object.entries(found.groups).find(([, matched]) => matched);
      this.nodes.push(this.text.slice(this.position, found.index));
      this.position = found.index + token.length;
      this[kind](token);
    }
    this.nodes.push(this.text.slice(this.position));
    return resolveEmphasis(this.nodes);
  }

  find(pattern) {
    if (this.absent.has(pattern.source)) return undefined;
    pattern.lastIndex = this.position;
    const found = pattern.exec(this.text);
    if (!found) this.absent.add(pattern.source);
    return found;
  }

  /** Reads up to a pattern, and moves behind it. Returns what is before it, or nothing where it is not in the text. */
  readTo(pattern) {
    const found = this.find(pattern);
    if (!found) return undefined;
    const text = this.text.slice(this.position, found.index);
    this.position = found.index + found[0].length;
    return text;
  }

  // --- tokens: what each does, after the position has moved behind it ---

  character(token) {
    this.nodes.push(characterOf(token));
  }

  /** In Korean, one tilde is a range's: 3~5. */
  marks(run) {
    const isText = run[0] === "~" && run.length !== 2;
    this.nodes.push(isText ? run : runOf(this.text, this.position - run.length, this.position));
  }

  line() {
    this.nodes.push(this.nodes.pop().trimEnd(), createPart("br"));
  }

  tag(token) {
    this.nodes.push(token);
  }

  ticks(ticks) {
    const isShort = ticks.length <= MAX_TICKS;
    const code = isShort && this.readTo(new RegExp(`(?<!\`)${ticks}(?!\`)`, "g"))?.replaceAll("\n", " ");
    if (!code) return this.nodes.push(ticks);
    const isPadded = code.trim() && code.startsWith(" ") && code.endsWith(" ");
    this.nodes.push(createPart("code", [isPadded ? code.slice(1, -1) : code]));
  }

  /** A formula that is not closed is one while its text grows; else its beginning is text. */
  formula(open) {
    const { isGrowing } = this.context;
    const start = this.position - open.length;
    const tex = this.readTo(FORMULA_ENDS[open]);
    if (tex === undefined && isGrowing) this.position = this.text.length;
    const source = this.text.slice(start, this.position);
    if (tex?.trim()) this.addFormula(source, { tex: tex.trim(), isDisplay: open !== "\\(" });
    else if (source.length > open.length) this.addFormula(source);
    else this.nodes.push(open.replace("\\", ""));
  }

  dollars(source) {
    this.addFormula(source, { tex: source.slice(1, -1), isDisplay: false });
  }

  /** What may become a formula stays as it is written, so that it is not drawn as emphasis before. */
  dollar(rest) {
    const token = this.context.isGrowing ? rest : "$";
    this.position += token.length - rest.length;
    this.nodes.push(token);
  }

  addFormula(source, formula) {
    this.nodes.push(createPart("code", [source], { class: "math" }, { formula }));
  }

  angles(token) {
    const text = token.slice(1, -1);
    const link = linkTo({ url: /^[^@]+:/.test(text) ? text : `mailto:${text}` }, [text]);
    this.nodes.push(link[1] ? token : { address: text, link });
  }

  address(address) {
    const isUnfinished = this.context.isGrowing && UNFINISHED_END.test(this.text.slice(this.position));
    const scheme = address.includes("@") ? "mailto:" : "http://";
    const url = address.includes("://") ? address : scheme + address;
    this.nodes.push({ address, link: linkTo({ url: isUnfinished ? undefined : url }, [address]) });
  }

  open(mark) {
    this.brackets.push({ isImage: mark !== "[", place: this.nodes.length, start: this.position });
    this.nodes.push(mark);
  }

  /** Links are in no link: the inner one counts. */
  close(token) {
    const bracket = this.brackets.pop();
    if (!bracket) return this.nodes.push(token);
    const { isImage, place, start, hasBrackets } = bracket;
    const isActive = isImage || this.brackets.length >= this.active;
    const text = hasBrackets ? "" : this.text.slice(start, this.position - 1);
    const target = isActive && readTarget(this.text, this.position, text, this.context);
    if (this.brackets.length) this.brackets.at(-1).hasBrackets = true;
    this.active = Math.min(this.active, this.brackets.length);
    if (!target) return this.nodes.push(token);
    const below = resolveEmphasis(this.nodes.splice(place).slice(1), true);
    this.position += target.length;
    if (target.number) return this.nodes.push(isImage ? "!" : "", createPart("sup", [String(target.number)]));
    if (!isImage) this.active = this.brackets.length;
    const link = linkTo(target, isImage ? [textOf(below) || target.url] : below);
    this.nodes.push(isImage && link[1] ? "!" : "", ...link);
  }
}

function textOf(parts) {
  return parts.map((part) => (part.below ? textOf(part.below) : part)).join("");
}

/**
 * Returns the inline parts of a block's text.
 *
 * @param {string} text
 * @param {{ definitions: Map<string, object>, isGrowing?: boolean }} context
 * @returns {Array} strings, and parts as `createPart` makes them
 */
export function parseInline(text, context) {
  return new InlineParser(text, context).parse();
}
