/** Inline parts: emphasis, links, code and formulas in a block's text. */
import { characterOf, ENTITY, ESCAPE } from "./markdown-entities.js";
import { createPart, resolveEmphasis, runOf, textOf } from "./markdown-emphasis.js";
import { linkTo, readTarget } from "./markdown-links.js";

const TICKS = /`+/g;
const UNFINISHED_END = /[.,:;!?*_~'}。、，)]*$/y;
const CLOSINGS = { "\\(": ["\\)", "("], "\\[": ["\\]", "["], $$: ["$$", "$$"] }; // and the text of what is not closed

/**
 * By the method of InlineParser that handles it. A bare address has an ASCII host, as a Korean particle may follow at once;
 * a full stop at its end is the sentence's. A dollar begins a formula where one ends on the same line, and neither is a
 * price's or a variable's.
 */
const TOKENS = {
  formula: /\\[([]|\$\$/,
  dollars: /(?<![\w$])\$(?![\s$]|\d[\d.,]*\s+\p{L}{2})(?:\\.|[^\\$`\n])+(?<!\s)\$(?![\w$])/u,
  unfinished: /(?<![\w$])\$(?![\s\d$])[^$`\n]*$/,
  character: new RegExp(`${ESCAPE.source}|${ENTITY.source}`),
  line: /\\?\n|<[bB][rR]\s*\/?>/,
  ticks: TICKS,
  marks: /\*+|_+|~+/,
  open: /!?\[/,
  close: /\]/,
  angles: /<(?:[a-zA-Z][a-zA-Z\d+.-]{1,31}:[^\s<>]*|[\w.!#$%&'*+/=?^`{|}~-]+@[a-zA-Z\d](?:[\w.-]*\w)?)>/,
  tag: /<\/?[a-zA-Z][a-zA-Z\d-]*(?:\s+[a-zA-Z_:][\w.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*\s*\/?>/,
  address: /(?<![\p{L}\p{N}_])(?:https?:\/\/[\w.-]+|www\.[\w-]+(?:\.[\w-]+)+)(?::\d+)?(?:[/?#](?:(?!&\w+;(?!\S))[^\s<>"`()[\]]|\([^\s<>"`()[\]]*\))*)?(?<![.,:;!?*_~'}。、，])|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?<![-_])(?![\w-])/u,
};
const TOKEN = new RegExp(Object.entries(TOKENS).map(([kind, { source }]) => `(?<${kind}>${source})`).join("|"), "gu");

/**
 * Parses a block's text to nodes: strings, parts, and runs of marks, which become emphasis at the end of the text or of
 * the link that they are in.
 */
class InlineParser {
  constructor(text, context) {
    Object.assign(this, { text, context, position: 0, nodes: [], brackets: [], active: 0, absent: new Set() });
    const runs = text.matchAll(/`+/g); // not TICKS: its `lastIndex` would be where to begin
    this.lastTicks = new Map(Array.from(runs, ({ 0: ticks, index }) => [ticks.length, index])); // by their number
  }

  parse() {
    for (let found; (found = this.findNext(TOKEN)); ) {
      const [kind, token] = Object.entries(found.groups).find(([, matched]) => matched);
      this.nodes.push(this.text.slice(this.position, found.index));
      this.position = found.index + token.length;
      this[kind](token);
    }
    this.nodes.push(this.text.slice(this.position));
    return resolveEmphasis(this.nodes);
  }

  findNext(pattern) {
    pattern.lastIndex = this.position;
    return pattern.exec(this.text);
  }

  // --- tokens: what each does, after the position has moved behind it ---

  character(token) {
    this.nodes.push(characterOf(token));
  }

  marks(run) {
    const isTilde = run[0] === "~"; // one is a range's, as in 3~5
    if (isTilde && run.length !== 2) this.nodes.push(run);
    else this.nodes.push(runOf(this.text, this.position - run.length, this.position));
  }

  line() {
    this.nodes.push(this.nodes.pop().trimEnd(), createPart("br"));
  }

  tag(token) {
    this.nodes.push(token);
  }

  ticks(ticks) {
    const start = this.position;
    const isClosed = this.lastTicks.get(ticks.length) >= start;
    if (!isClosed) return this.nodes.push(ticks);
    let end;
    do {
      end = this.findNext(TICKS);
      this.position = end.index + end[0].length;
    } while (end[0].length !== ticks.length);
    const code = this.text.slice(start, end.index).replaceAll("\n", " ");
    const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
    this.nodes.push(createPart("code", [isPadded ? code.slice(1, -1) : code]));
  }

  /** A formula that is not closed is one while its text grows; else its delimiter is text. */
  formula(open) {
    const [close, text] = CLOSINGS[open];
    const start = this.position;
    const end = this.absent.has(close) ? -1 : this.text.indexOf(close, start);
    if (end < 0) {
      this.absent.add(close);
      if (!this.context.isGrowing) return this.nodes.push(text);
      this.position = this.text.length;
      return this.nodes.push(createPart("code", [open + this.text.slice(start)], { class: "math" }));
    }
    const tex = this.text.slice(start, end);
    if (!tex.trim()) return this.nodes.push(text);
    this.position = end + 2;
    this.nodes.push(formulaOf(open + tex + close, tex, open !== "\\("));
  }

  dollars(token) {
    this.nodes.push(formulaOf(token, token.slice(1, -1), false));
  }

  /** What may become a formula stays as it is written, so that it is not drawn as emphasis before. */
  unfinished(token) {
    if (!this.context.isGrowing) this.position -= token.length - 1;
    this.nodes.push(this.context.isGrowing ? token : "$");
  }

  angles(token) {
    const [address] = token.match(/[^<>]+/);
    const url = /^[a-z][\w+.-]+:/i.test(address) ? address : `mailto:${address}`;
    const [link] = linkTo({ url }, [address], createPart);
    this.nodes.push(link.name ? link : token);
  }

  address(address) {
    const isUnfinished = this.context.isGrowing && this.findNext(UNFINISHED_END);
    const scheme = /^www\./i.test(address) ? "http://" : /^https?:/.test(address) ? "" : "mailto:";
    this.nodes.push(...linkTo({ url: isUnfinished ? undefined : scheme + address }, [address], createPart));
  }

  open(mark) {
    this.brackets.push({ mark, place: this.nodes.length, start: this.position });
    this.nodes.push(mark);
  }

  /** Links are in no link: the inner one counts, and an address in a link's text is only text. */
  close(token) {
    const bracket = this.brackets.pop();
    const isActive = bracket && (bracket.mark === "![" || this.brackets.length >= this.active);
    this.active = Math.min(this.active, this.brackets.length);
    const linkText = bracket?.hasBrackets ? "" : this.text.slice(bracket?.start, this.position - 1);
    const target = isActive && readTarget(this.text, this.position, linkText, this.context);
    if (this.brackets.length) this.brackets.at(-1).hasBrackets = true;
    if (!target) return this.nodes.push(token);
    const parts = resolveEmphasis(this.nodes.splice(bracket.place + 1));
    const [mark] = this.nodes.pop();
    this.position += target.length;
    this.nodes.push(...this.partsOf(target, mark, parts));
  }

  partsOf(target, mark, parts) {
    const isImage = mark === "!";
    if (target.number) return [isImage ? mark : "", createPart("sup", [String(target.number)])];
    if (isImage) {
      const link = linkTo(target, [textOf(parts) || target.url], createPart);
      return link.length > 1 ? [mark, ...link] : link;
    }
    this.active = this.brackets.length;
    return linkTo(target, withoutLinks(parts), createPart);
  }
}

const formulaOf = (source, tex, isDisplay) => ({
  ...createPart("code", [source], { class: "math" }),
  formula: { tex: tex.trim(), isDisplay },
});

function withoutLinks(parts) {
  return parts.flatMap((part) => {
    if (part.name === "a") return part.below;
    return part.below ? { ...part, below: withoutLinks(part.below) } : part;
  });
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
