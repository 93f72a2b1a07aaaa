/**
 * Markdown, as models write it, to DOM nodes. Never to HTML: markup in an answer stays text that one sees.
 *
 * Lines become blocks, a block's text becomes inline parts, and parts are drawn. An answer is anybody's text, so all is
 * linear, but for two bounds: what exceeds them is plain text. A line break stays one, as models don't wrap lines.
 */

const DEPTH = 10; // of quotes and lists: each level reads its lines again
const OPEN = 48; // brackets and emphasis open at once, so also how deep elements nest

/** `text` is Markdown or has inline parts; what is below comes after it. */
const part = (name, text = [], below = [], attributes = {}) => ({ name, text, below, attributes });

const FENCE = /^[ \t]*(`{3,}|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s|$)/;
const RULE = /^ *([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^[ \t]*([-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const INTERRUPTS = /^[ \t]*(?:[-*+]|1[.)])[ \t]+\S/; // a number in a sentence may begin a line, but begins no list

const indentOf = (line) => /^[ \t]*/.exec(line)[0].replaceAll("\t", "    ").length;

function outdent(line, columns) {
  let at = 0;
  for (let left = columns; left > 0 && /[ \t]/.test(line[at]); at += 1) left -= indentOf(line[at]);
  return line.slice(at);
}

const cellsOf = (line) =>
  line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

export function blocks(lines, depth = 0, from = 0) {
  const found = [];
  const reader = new Lines(lines, depth, from);
  while (reader.at < lines.length) {
    const line = reader.at;
    if (reader.line.trim()) found.push({ ...reader.block(), line });
    else reader.at += 1;
  }
  return found;
}

class Lines {
  constructor(lines, depth, at) {
    Object.assign(this, { lines, depth, at });
  }

  get line() {
    return this.lines[this.at];
  }

  block() {
    const { line } = this;
    if (FENCE.test(line)) return this.fence();
    if (HEADING.test(line)) return this.heading();
    if (RULE.test(line)) return this.take() && part("hr");
    if (QUOTE.test(line) && this.depth < DEPTH) return this.quote();
    if (ITEM.test(line) && this.depth < DEPTH) return this.list();
    if (this.isTable()) return this.table();
    return part("p", this.take(() => this.endsParagraph()).map((text) => text.trim()).join("\n"));
  }

  /** This line, and those after it up to one that stops. */
  take(stops = () => true) {
    const from = this.at;
    do this.at += 1;
    while (this.at < this.lines.length && !stops(this.line));
    return this.lines.slice(from, this.at);
  }

  endsParagraph() {
    const { line } = this;
    return !line.trim() || [FENCE, HEADING, RULE, QUOTE, INTERRUPTS].some((start) => start.test(line)) || this.isTable();
  }

  isTable() {
    const [line, next = ""] = this.lines.slice(this.at, this.at + 2);
    const marks = line.includes("|") ? cellsOf(next) : [];
    return next.includes("|") && marks.every((mark) => /^:?-+:?$/.test(mark)) && marks.length === cellsOf(line).length;
  }

  fence() {
    const [, mark, info] = FENCE.exec(this.line);
    const [language] = info.trim().split(/\s/);
    const indent = indentOf(this.line);
    const [, ...lines] = this.take((line) => line.trim().startsWith(mark) && !line.replaceAll(mark[0], "").trim());
    this.at += 1;
    const code = { ...part("code"), code: lines.map((line) => outdent(line, indent)).join("\n"), language };
    return part("figure", [], [part("figcaption", [], [part("span", [language])]), part("pre", [], [code], { tabindex: "0" })]);
  }

  heading() {
    const [line] = this.take();
    const { length } = HEADING.exec(line)[1];
    return part(`h${Math.min(6, length + 2)}`, line.trim().replace(/ #+$/, "").slice(length).trim()); // h1 and h2 are the page's
  }

  quote() {
    const lines = this.take((line) => !QUOTE.test(line) && this.endsParagraph()).map((line) => line.replace(QUOTE, ""));
    return part("blockquote", [], blocks(lines, this.depth + 1));
  }

  /** Two columns are enough to belong to an item: below "1." models indent by two as often as by three. */
  list() {
    const [, first] = ITEM.exec(this.line);
    const indent = indentOf(this.line);
    const items = [];
    let [gap, loose] = [false, false];
    for (; this.at < this.lines.length; this.at += 1) {
      const { line } = this;
      const item = ITEM.exec(line);
      const inside = indentOf(line) >= indent + 2;
      const next = !inside && item?.[1].at(-1) === first.at(-1) && !RULE.test(line);
      const blank = !line.trim();
      if (next) items.push([line.slice(item[0].length)]);
      else if (blank || inside || !(gap || item || this.endsParagraph())) items.at(-1).push(outdent(line, indent + first.length + 1));
      else break;
      loose ||= gap && (next || (inside && !item && !blank));
      gap = blank;
    }
    const start = parseInt(first, 10); // NaN: bullets
    const below = items.map((lines) => itemOf(blocks(lines, this.depth + 1), loose));
    return part(start >= 0 ? "ol" : "ul", [], below, start >= 0 && start !== 1 && { start });
  }

  table() {
    const [head, marks, ...rows] = this.take((line) => !line.includes("|"));
    const aligns = cellsOf(marks).map((mark) => mark.endsWith(":") && { class: mark[0] === ":" ? "center" : "right" });
    const row = (name) => (line) => part("tr", [], cellsOf(line).slice(0, aligns.length).map((cell, at) => part(name, cell, [], aligns[at])));
    const below = [part("thead", [], [head].map(row("th"))), part("tbody", [], rows.map(row("td")))];
    return part("div", [], [part("table", [], below)], { class: "table", tabindex: "0" });
  }
}

function itemOf(below, loose) {
  const [first, ...rest] = below;
  if (first?.name !== "p") return part("li", [], below);
  first.text = first.text.replace(/^\[ \] /, "☐ ").replace(/^\[x\] /i, "☑ ");
  return loose ? part("li", [], below) : part("li", first.text, rest);
}

const SAFE = /^(?:https?:\/\/|mailto:)[^\s\0-\x1f]+$/i;
const TARGET = /\(\s?([^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"]*")?\s?\)/y;
const TICKS = /`+/g;
const WORD = /[\p{L}\p{N}_]/u;

/** A bare address has an ASCII host, as a Korean particle may follow at once; a full stop at its end is the sentence's. */
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
 * What is open is a stack of frames, the text itself the lowest. One that finds its end becomes an element in the frame
 * below; one that doesn't becomes text there.
 */
class Inline {
  constructor(text) {
    Object.assign(this, { text, at: 0, stack: [{ mark: "", parts: [] }] });
    this.lastTicks = new Map(Array.from(text.matchAll(/`+/g), ({ 0: ticks, index }) => [ticks.length, index]));
  }

  parse() {
    for (let found; (found = this.find(TOKEN)); ) {
      const [kind, token] = Object.entries(found.groups).find(([, matched]) => matched);
      this.add(this.text.slice(this.at, found.index));
      this.at = found.index + token.length;
      this[kind](token);
    }
    this.add(this.text.slice(this.at));
    this.flatten(1);
    return this.stack[0].parts;
  }

  find(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  add(added, { parts } = this.stack.at(-1)) {
    if (typeof added === "string" && typeof parts.at(-1) === "string") parts.push(parts.pop() + added);
    else if (added) parts.push(added);
  }

  open(mark) {
    if (this.stack.length > OPEN) this.add(mark);
    else this.stack.push({ mark, parts: [] });
  }

  /** From a place on, what is open becomes text. */
  flatten(place, count = Infinity) {
    for (const { mark, parts } of this.stack.splice(place, count))
      for (const added of [mark, ...parts]) this.add(added, this.stack[place - 1]);
  }

  escaped(token) {
    this.add(token[1]);
  }

  line() {
    this.add(part("br"));
  }

  ticks(ticks) {
    const start = this.at;
    if (!(this.lastTicks.get(ticks.length) >= start)) return this.add(ticks);
    let end;
    do this.at = (end = this.find(TICKS)).index + end[0].length;
    while (end[0].length !== ticks.length);
    const code = this.text.slice(start, end.index).replaceAll("\n", " ");
    this.add(part("code", [code.replace(/^ (.*) $/, "$1")]));
  }

  address(token) {
    const url = token.replace(/^<|>$/g, "");
    this.add(this.stack.some(isBracket) || !SAFE.test(url) ? token : this.link(url, [url.replace(/^mailto:/, "")]));
  }

  link(href, text) {
    return part("a", text, [], { href, rel: "noopener noreferrer nofollow", target: "_blank" });
  }

  close(token) {
    const place = this.stack.findLastIndex(isBracket);
    if (place < 0) return this.add(token);
    const [whole, url] = (!this.stack[place].linked && this.find(TARGET)) || [];
    if (!SAFE.test(url)) {
      this.flatten(place, 1); // emphasis reaches over brackets without a target
      return this.add(token);
    }
    this.flatten(place + 1);
    const { parts } = this.stack.pop();
    for (const outer of this.stack) outer.linked = true; // no link in a link
    this.add(this.link(url, parts.length ? parts : [url]));
    this.at += whole.length;
  }

  /** Flanking is as in CommonMark, but punctuation doesn't count: in Korean or Japanese a word goes on after the marks. */
  marks(run) {
    const [char] = run;
    const before = this.text[this.at - run.length - 1] ?? " ";
    const after = this.text[this.at] ?? " ";
    if (run.length > 3) return this.add(run);
    const opens = /\S/.test(after) && !(char === "_" && WORD.test(before));
    const closes = /\S/.test(before) && !(char === "_" && WORD.test(after));
    const left = closes ? this.end(run, opens) : run;
    if (left && opens) this.open(left);
    else this.add(left);
  }

  /** Ends as much emphasis as marks can, but in "**2*3**" only their like; returns what is left of them. */
  end(run, inWord) {
    const like = this.stack.findLast(({ mark }) => mark === run);
    const place = this.stack.indexOf(like ?? this.stack.findLast(({ mark }) => !inWord && mark[0] === run[0]));
    if (place < 1) return run;
    this.flatten(place + 1);
    const { mark, parts } = this.stack.pop();
    const used = Math.min(2, run.length, mark.length);
    const ended = part(run[0] === "~" ? "del" : used === 2 ? "strong" : "em", parts);
    if (mark.length === used) this.add(ended);
    else this.stack.push({ mark: mark.slice(used), parts: [ended] });
    return this.end(run.slice(used), inWord);
  }
}

/** Writes code that has grown into its element: whoever wants it coloured brings another. */
const plain = (code, text) => {
  const shown = code.firstChild;
  if (shown && text.startsWith(shown.data)) return shown.appendData(text.slice(shown.data.length));
  shown?.remove();
  code.append(text);
};

function build({ name, text, attributes }, document) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  for (const inner of typeof text === "string" ? new Inline(text).parse() : text)
    node.append(typeof inner === "string" ? inner : build(inner, document));
  return node;
}

const looks = ({ name, text, attributes }) => JSON.stringify([name, text, attributes]);

/** Draws parts over those before: a node that looks the same stays, with what the reader has selected there. */
function draw(node, parts, before, write) {
  parts.forEach((part, place) => {
    const old = before[place];
    if (part === old) return;
    const alike = old && looks(old) === looks(part);
    part.node = alike ? old.node : build(part, node.ownerDocument);
    if (!alike) node.insertBefore(part.node, old?.node ?? null);
    if (!alike) old?.node.remove();
    draw(part.node, part.below, alike ? old.below : [], write);
    if ("code" in part) write(part.node, part.code, part.language);
  });
  for (const { node: stale } of before.slice(parts.length)) stale.remove();
}

const held = new WeakMap(); // container -> its text, and the blocks it was last made of

/**
 * Show a text that grows. Only its last line can be unfinished, and change no more than its block and the one before,
 * which it may turn out to continue: the others stay.
 */
export function update(container, text, write = plain) {
  const before = held.get(container) ?? { text: "", parts: [] };
  const kept = text.startsWith(before.text) ? before.parts.slice(0, -2) : [];
  const from = kept.length && before.parts[kept.length].line;
  const parts = [...kept, ...blocks(text.split("\n"), 0, from)];
  draw(container, parts, before.parts, write);
  held.set(container, { text, parts });
}

export function render(text, document, write) {
  const container = document.createElement("div");
  update(container, text, write);
  return [...container.childNodes];
}
