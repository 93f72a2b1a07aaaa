/** Inline parts: emphasis, links, code and formulas in a block's text. */
import { resolveEmphasis, runOf } from "./markdown-emphasis.js";
import { CHARACTER, characterOf } from "./markdown-entities.js";
import { COMPLETE, describePart, IN_WORD, linkTo, readTarget } from "./markdown-links.js";

const MAX_TICKS = 99; // each number of them is sought once in a text

/** What ends a formula, by what begins it. */
const FORMULA_ENDS = { "\\(": /\\\)/g, "\\[": /\\\]/g, $$: /\$\$/g };

const PARTICLE = String.raw`(?<=[\w/])(?:[은는이가을를와과의도만에로]|에서|으로|까지|부터|입니다)[은는도의]?(?![\p{L}\p{N}/%_-])`; // of Korean
const CJK_MARKS = "“”‘’…、。〈-】！-／：-？［］｛｝";
const PATH = String.raw`[/?#](?:(?!&\w+;(?!\S)|${PARTICLE})[^\s<>"\x60()[\]${CJK_MARKS}]|\([^\s<>"\x60()[\]]*\))*`;
const WEB = String.raw`(?=https?:|www\.)(?<![\p{L}\p{N}](?<![぀-ヿ㐀-鿿가-힣]))(?:https?:\/\/|www\.(?=[\w-]+\.))[\w.-]+(?::\d+)?(?:${PATH})?(?<![.,:;!?*_~'}])`;
const MAIL = String.raw`(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?<![-_])(?![\w-])`;
const ADDRESS_END = new RegExp(`[\\s<>"\`)[\\]${CJK_MARKS}]`); // is never in one, or not without its like

/**
 * By the handler of each. A bare address has an ASCII host, as a Korean particle may follow at once; a full stop at its end is
 * the sentence's, and so are a particle behind a path's ASCII, and what is behind Chinese or Japanese punctuation. A dollar
 * begins a formula where one ends on the same line, and neither is a price's or a variable's.
 */
const TOKENS = {
  formula: /\\[([]|\$\$/,
  dollars: /\$(?<![\w$]\$)(?![\s$]|\d[\d.,]*\s+\p{L}{2})(?:\\.|[^\\$`\n])+(?<!\s)\$(?![\w$])/,
  dollar: /\$(?<![\w$]\$)(?![\s\d$])[^$`\n]*$/,
  character: CHARACTER,
  line: /\\?\n|<[bB][rR]\s*\/?>/,
  ticks: /`+/,
  marks: /\*+|_+|~+/,
  open: /!?\[/,
  close: /\]/,
  angles: /<[a-zA-Z/][^<>]*>/,
  address: new RegExp(`${WEB}|${MAIL}`, "u"),
};
const TOKEN = new RegExp(Object.entries(TOKENS).map(([kind, { source }]) => `(?<${kind}>${source})`).join("|"), "gu");

/**
 * Returns the inline parts of a block's text. It is parsed to nodes: strings, parts, addresses and images, and runs of marks,
 * which become emphasis at the end of the text or of the link that they are in.
 *
 * @param {string} text
 * @param {{ definitions: Map<string, object>, growth?: number }} context
 * @returns {Array} strings, and parts as `describePart` makes them
 */
export function parseInline(text, context) {
  const { growth } = context;
  const nodes = [];
  const brackets = []; // that are open
  const absent = new Set(); // what was sought and is not in the rest of the text
  const lastWord = growth === IN_WORD ? text.split(ADDRESS_END).at(-1).length : -1; // in which an address may go on
  let position = 0;
  let active = 0; // the first bracket that is in no link's text

  /** Reads up to a pattern, and moves behind it. Returns what is before it, or nothing where it is not in the text. */
  function readTo(pattern) {
    pattern.lastIndex = position;
    const found = !absent.has(pattern.source) && pattern.exec(text);
    if (!found) return void absent.add(pattern.source);
    const before = text.slice(position, found.index);
    position = found.index + found[0].length;
    return before;
  }

  const addFormula = (source, formula) => nodes.push(describePart("code", [source], { class: "math" }, { formula }));

  /** By kind of token, what it does when the position has moved behind it. */
  const handlers = {
    character: (token) => nodes.push(characterOf(token)),

    line: () => nodes.push(nodes.pop().trimEnd(), describePart("br")),

    /** One tilde is a range's: 3~5. */
    marks(run) {
      const isText = run[0] === "~" && run.length !== 2;
      nodes.push(isText ? run : runOf(text, position - run.length, position, growth));
    },

    ticks(ticks) {
      const isShort = ticks.length <= MAX_TICKS;
      const code = isShort && readTo(new RegExp(`(?<!\`)${ticks}(?!\`)`, "g"))?.replaceAll("\n", " ");
      if (!code) return nodes.push(ticks);
      const isPadded = code.trim() && /^ [^]* $/.test(code);
      return nodes.push(describePart("code", [isPadded ? code.slice(1, -1) : code]));
    },

    /** A formula that is not closed is one while its text grows; else its beginning is text. */
    formula(open) {
      const start = position - open.length;
      const tex = readTo(FORMULA_ENDS[open]);
      if (tex === undefined && growth === COMPLETE) return nodes.push(open.replace("\\", ""));
      if (tex === undefined) position = text.length;
      return addFormula(text.slice(start, position), tex && { tex: tex.trim(), isDisplay: open !== "\\(" });
    },

    /** What is behind its end may still make it two prices. */
    dollars(source) {
      if (growth === IN_WORD && position === text.length) return nodes.push(source);
      return addFormula(source, { tex: source.slice(1, -1), isDisplay: false });
    },

    /** What may become a formula stays as it is written, so that it is not drawn as emphasis before. */
    dollar(rest) {
      const token = growth === COMPLETE ? "$" : rest;
      position += token.length - rest.length;
      nodes.push(token);
    },

    /** An address, or markup, which stays as it is written. */
    angles(token) {
      const address = token.slice(1, -1);
      const isMail = /^[^\s:@\\]+@[\w.-]+$/.test(address);
      const link = linkTo({ url: isMail ? `mailto:${address}` : address }, [address]);
      nodes.push(link[1] || /\s/.test(address) ? token : { inLink: [address], parts: link });
    },

    address(address) {
      const isUnfinished = text.length - position <= lastWord;
      const scheme = address.includes("@") ? "mailto:" : "http://";
      const url = address.includes("://") ? address : scheme + address;
      nodes.push({ inLink: [address], parts: linkTo({ url: isUnfinished ? undefined : url }, [address]) });
    },

    open(mark) {
      brackets.push({ place: nodes.length, start: position });
      nodes.push(mark);
    },

    /** Links are in no link: the inner one counts, but for an image, which is text there. */
    close(token) {
      const { place = 0, start = position, hasBrackets } = brackets.pop() ?? {};
      const isImage = nodes[place] === "![";
      const isActive = isImage || (start < position && brackets.length >= active);
      const label = hasBrackets ? "" : text.slice(start, position - 1);
      const target = isActive && readTarget(text, position, label, context);
      if (brackets.length) brackets.at(-1).hasBrackets = true;
      active = Math.min(active, brackets.length);
      if (!target) return nodes.push(token);
      const below = resolveEmphasis(nodes.splice(place).slice(1), true);
      position += target.length;
      if (target.number) return nodes.push(isImage ? "!" : "", describePart("sup", [String(target.number)]));
      const isUnfinished = isImage && growth && brackets.length;
      const link = linkTo(isUnfinished ? {} : target, below);
      if (isImage && !link[1]) return nodes.push({ inLink: link[0].below, parts: link });
      if (!isImage) active = brackets.length;
      return nodes.push(isImage ? "!" : "", ...link);
    },
  };

  for (;;) {
    TOKEN.lastIndex = position;
    const found = TOKEN.exec(text);
    nodes.push(text.slice(position, found?.index));
    if (!found) return resolveEmphasis(nodes);
    position = TOKEN.lastIndex;
    for (const kind in found.groups) if (found.groups[kind]) handlers[kind](found.groups[kind]);
  }
}
