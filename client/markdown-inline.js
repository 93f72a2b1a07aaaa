/** Inline parts: emphasis, links and code in a block's text. */

const MAX_OPEN_MARKS = 48; // brackets and emphasis that are open at once, so also how deep elements nest

/**
 * Returns the description of an element: a block or an inline part.
 *
 * @param {string} name the element's
 * @param {string | Array} [text] Markdown, or inline parts and strings
 * @param {Array} [below] blocks that come after the text, as in a list or a quote
 * @param {object | false} [attributes]
 */
export function createPart(name, text = [], below = [], attributes = {}) {
  return { name, text, below, attributes };
}

const SAFE_URL = /^(?:https?:\/\/|mailto:)[^\s\0-\x1f]+$/i;
const LINK_TARGET = /\(\s?([^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"]*")?\s?\)/y;
const TICKS = /`+/g;
const WORD_CHARACTER = /[\p{L}\p{N}_]/u;

/**
 * By the method of InlineParser that handles it. A bare address has an ASCII host, as a Korean particle may follow at once;
 * a full stop at its end is the sentence's.
 */
const TOKENS = {
  escaped: /\\[!-/:-@[-`{-~]/,
  line: /\\?\n/,
  ticks: TICKS,
  marks: /\*+|_+|~~+/,
  open: /!?\[/,
  close: /\]/,
  address: /<(?:https?:\/\/|mailto:)[^\s<>]+>|(?<![\p{L}\p{N}_])https?:\/\/[\w.-]+(?::\d+)?(?:[/?#](?:[^\s<>"`()[\]]|\([^\s<>"`()[\]]*\))*)?(?<![.,:;!?*_~'}。、，])/u,
};
const TOKEN = new RegExp(Object.entries(TOKENS).map(([kind, { source }]) => `(?<${kind}>${source})`).join("|"), "gu");

const isBracket = ({ mark }) => mark.endsWith("[");

/**
 * Parses a block's text. What is open is a stack of marks with the parts after them, the text itself the lowest. A mark
 * that finds its end becomes an element in the entry below; one that doesn't becomes text there.
 */
class InlineParser {
  constructor(text) {
    Object.assign(this, { text, position: 0, stack: [{ mark: "", parts: [] }] });
    const runs = text.matchAll(/`+/g); // not TICKS: its `lastIndex` would be where to begin
    this.lastTicks = new Map(Array.from(runs, ({ 0: ticks, index }) => [ticks.length, index])); // by their number
  }

  parse() {
    for (let found; (found = this.findNext(TOKEN)); ) {
      const [kind, token] = Object.entries(found.groups).find(([, matched]) => matched);
      this.add(this.text.slice(this.position, found.index));
      this.position = found.index + token.length;
      this[kind](token);
    }
    this.add(this.text.slice(this.position));
    this.flatten(1);
    return this.stack[0].parts;
  }

  findNext(pattern) {
    pattern.lastIndex = this.position;
    return pattern.exec(this.text);
  }

  /** Adds a part or a text to an entry of the stack, by default to the highest. */
  add(added, { parts } = this.stack.at(-1)) {
    if (typeof added === "string" && typeof parts.at(-1) === "string") parts.push(parts.pop() + added);
    else if (added) parts.push(added);
  }

  /** Turns `count` entries of the stack, from a place on, into text of the entry below. */
  flatten(place, count = Infinity) {
    for (const { mark, parts } of this.stack.splice(place, count)) {
      for (const added of [mark, ...parts]) this.add(added, this.stack[place - 1]);
    }
  }

  // --- tokens: what each does, after the position has moved behind it ---

  escaped(token) {
    this.add(token[1]);
  }

  line() {
    this.add(createPart("br"));
  }

  ticks(ticks) {
    const start = this.position;
    const isClosed = this.lastTicks.get(ticks.length) >= start;
    if (!isClosed) return this.add(ticks);
    let end;
    do {
      end = this.findNext(TICKS);
      this.position = end.index + end[0].length;
    } while (end[0].length !== ticks.length);
    const code = this.text.slice(start, end.index).replaceAll("\n", " ");
    this.add(createPart("code", [code.replace(/^ (.*) $/, "$1")]));
  }

  address(token) {
    const url = token.replace(/^<|>$/g, "");
    const isInBrackets = this.stack.some(isBracket);
    if (isInBrackets || !SAFE_URL.test(url)) this.add(token);
    else this.add(linkTo(url, [url.replace(/^mailto:/, "")]));
  }

  open(mark) {
    if (this.stack.length > MAX_OPEN_MARKS) this.add(mark);
    else this.stack.push({ mark, parts: [] });
  }

  close(token) {
    const place = this.stack.findLastIndex(isBracket);
    if (place < 0) return this.add(token);
    const target = this.stack[place].hasLink ? null : this.findNext(LINK_TARGET); // no link in a link
    const [whole, url] = target ?? [];
    if (!SAFE_URL.test(url)) {
      this.flatten(place, 1); // emphasis reaches over brackets without a target
      return this.add(token);
    }
    this.flatten(place + 1);
    const { parts } = this.stack.pop();
    for (const outer of this.stack) outer.hasLink = true;
    this.add(linkTo(url, parts.length ? parts : [url]));
    this.position += whole.length;
  }

  /** Flanking is as in CommonMark, but punctuation doesn't count: in Korean or Japanese a word goes on after the marks. */
  marks(run) {
    const [character] = run;
    const before = this.text[this.position - run.length - 1] ?? " ";
    const after = this.text[this.position] ?? " ";
    if (run.length > 3) return this.add(run);
    const opens = /\S/.test(after) && !(character === "_" && WORD_CHARACTER.test(before));
    const closes = /\S/.test(before) && !(character === "_" && WORD_CHARACTER.test(after));
    const left = closes ? this.closeEmphasis(run, opens) : run;
    if (left && opens) this.open(left);
    else this.add(left);
  }

  /** Ends as much emphasis as marks can, but in "**2*3**" only their like. Returns what is left of the marks. */
  closeEmphasis(run, isInWord) {
    const same = this.stack.findLast(({ mark }) => mark === run);
    const opening = same ?? this.stack.findLast(({ mark }) => !isInWord && mark[0] === run[0]);
    const place = this.stack.indexOf(opening);
    if (place < 1) return run;
    this.flatten(place + 1);
    const { mark, parts } = this.stack.pop();
    const used = Math.min(2, run.length, mark.length);
    const ended = createPart(emphasisOf(run[0], used), parts);
    if (mark.length === used) this.add(ended);
    else this.stack.push({ mark: mark.slice(used), parts: [ended] });
    return this.closeEmphasis(run.slice(used), isInWord);
  }
}

/**
 * Returns the inline parts of a block's text.
 *
 * @param {string} text
 * @returns {Array} strings, and parts as `createPart` makes them
 */
export function parseInline(text) {
  return new InlineParser(text).parse();
}

function linkTo(href, text) {
  return createPart("a", text, [], { href, rel: "noopener noreferrer nofollow", target: "_blank" });
}

function emphasisOf(character, count) {
  if (character === "~") return "del";
  return count === 2 ? "strong" : "em";
}
