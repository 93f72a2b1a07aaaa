/**
 * Markdown, as models write it, to DOM nodes. Never to HTML: markup in an answer stays text that one sees.
 *
 * Two steps: lines to blocks, text to inline nodes. An answer is anybody's text, so both are linear, but for the bounds
 * named here, and what exceeds one is shown as plain text. A line break stays one, as models don't wrap lines.
 */

const DEPTH = 10; // of quotes and lists: each level reads its lines again
const OPEN = 48; // brackets and emphasis open at once, so also how deep elements nest
const RUN = 6; // marks in one run of emphasis
const DESTINATION = 2000; // characters of a link's target
const PARENS = 16; // open in one: as every "](" looks for its end, this bounds how often a character is looked at

// --- lines to blocks -------------------------------------------------------------------------------------------------

const FENCE = /^[ \t]*(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s|$)/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const INTERRUPTS = /^[ \t]*(?:[-*+]|1[.)])[ \t]+\S/; // a number in a sentence may begin a line, but begins no list

const width = (blank) => blank.replaceAll("\t", "    ").length;
const indentOf = (line) => width(line.slice(0, line.length - line.trimStart().length));
const isRule = (line) => /^ *[-*_]/.test(line) && /^(?:-{3,}|\*{3,}|_{3,})$/.test(line.replace(/\s/g, ""));

const cellsOf = (line) =>
  line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));

function isTable(line, next) {
  if (!line.includes("|") || !next?.includes("-") || !/^[\s|:-]+$/.test(next)) return false;
  const marks = cellsOf(next);
  return marks.every((cell) => /^:?-+:?$/.test(cell)) && marks.length === cellsOf(line).length;
}

const interrupts = (lines, at) =>
  [FENCE, HEADING, QUOTE, INTERRUPTS].some((start) => start.test(lines[at])) ||
  isRule(lines[at]) || isTable(lines[at], lines[at + 1]);

function outdent(line, columns) {
  let at = 0;
  for (let left = columns; left > 0 && (line[at] === " " || line[at] === "\t"); at += 1) left -= width(line[at]);
  return line.slice(at);
}

/** The blocks of some lines, each with the `line` where it begins. */
export function blocks(lines, depth = 0) {
  const found = [];
  for (let at = 0; at < lines.length; ) {
    if (lines[at].trim()) {
      const [block, end] = blockAt(lines, at, depth);
      found.push({ ...block, line: at });
      at = end;
    } else at += 1;
  }
  return found;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return fence(lines, at);
  if (HEADING.test(line)) return [heading(line), at + 1];
  if (isRule(line)) return [{ type: "rule" }, at + 1];
  if (QUOTE.test(line) && depth < DEPTH) return quote(lines, at, depth);
  if (ITEM.test(line) && depth < DEPTH) return list(lines, at, depth);
  if (isTable(line, lines[at + 1])) return table(lines, at);
  return paragraph(lines, at);
}

function fence(lines, at) {
  const [, mark, info] = FENCE.exec(lines[at]);
  const indent = indentOf(lines[at]);
  const closes = (line) => line.startsWith(mark) && line === mark[0].repeat(line.length);
  let end = at + 1;
  while (end < lines.length && !closes(lines[end].trim())) end += 1;
  const text = lines.slice(at + 1, end).map((line) => outdent(line, indent)).join("\n");
  return [{ type: "code", language: info.trim().split(/\s/)[0], text }, end + 1];
}

function heading(line) {
  const level = HEADING.exec(line)[1].length;
  const text = line.trim().slice(level).trim();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  const closed = end === 0 || text[end - 1] === " ";
  return { type: "heading", level, text: closed ? text.slice(0, end).trim() : text };
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && (QUOTE.test(lines[end]) || (lines[end].trim() && !interrupts(lines, end)))) end += 1;
  return [{ type: "quote", blocks: blocks(lines.slice(at, end).map((line) => line.replace(QUOTE, "")), depth + 1) }, end];
}

/** Blank lines at the end are nobody's, not even those of a fence that is open. */
function trimmedEnd(lines) {
  let end = lines.length;
  while (end > 0 && !lines[end - 1]) end -= 1;
  return lines.slice(0, end);
}

/** Two columns are enough to belong to an item: below "1." models indent by two as often as by three. */
function list(lines, at, depth) {
  const [, blank, first] = ITEM.exec(lines[at]);
  const base = width(blank);
  const items = [];
  let [end, gap, loose] = [at, false, false];
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const item = ITEM.exec(line);
    if (!line.trim()) {
      items.at(-1).push("");
      gap = true;
      continue;
    }
    if (item && width(item[1]) < base + 2 && item[2].at(-1) === first.at(-1) && !isRule(line)) {
      loose ||= gap;
      items.push([line.slice(item[0].length)]);
    } else if (indentOf(line) >= base + 2) {
      loose ||= gap && !item;
      items.at(-1).push(outdent(line, base + first.length + 1));
    } else if (gap || item || interrupts(lines, end)) break;
    else items.at(-1).push(line);
    gap = false;
  }
  const start = Number.parseInt(first, 10); // NaN: bullets
  return [{ type: "list", start, loose, depth, items: items.map((inner) => trimmedEnd(inner).join("\n")) }, end];
}

function table(lines, at) {
  const align = cellsOf(lines[at + 1]).map((mark) => (mark.endsWith(":") ? (mark[0] === ":" ? "center" : "right") : ""));
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  return [{ type: "table", head: lines[at], align, items: lines.slice(at + 2, end) }, end];
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !interrupts(lines, end)) end += 1;
  return [{ type: "paragraph", text: lines.slice(at, end).map((line) => line.trim()).join("\n") }, end];
}

// --- text to inline nodes --------------------------------------------------------------------------------------------

const SPECIAL = /[\\`*_~[\]!<h\n]/g;
const SAFE = /^(?:https?:\/\/|mailto:)[^\s\0-\x1f]+$/i;
const ADDRESS = /https?:\/\/[\w.-]+(?::\d+)?(?:[/?#][^\s<>"`]*)?/y; // ASCII hosts: a Korean particle may follow at once
const ANGLED = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/y;
const MARKS = /([*_~])\1*/y;
const TICKS = /`+/g;
const WORD = /[\p{L}\p{N}_]/u;

function matchAt(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** A full stop, or a bracket opened before, belongs to the sentence. */
function trimmed(url) {
  let end = url.length;
  let extra = url.split(")").length - url.split("(").length;
  while (/[.,:;!?*_~'\]}。、，]/.test(url[end - 1]) || (url[end - 1] === ")" && extra-- > 0)) end -= 1;
  return url.slice(0, end);
}

/** A link's target and its end, at "(": null where it is none, or of a scheme that we don't link to. */
function targetAt(text, at) {
  if (text[at] !== "(") return null;
  const part = text.slice(at + 1, at + DESTINATION);
  const angled = /^\s?<([^<>\n]*)>/.exec(part);
  const url = angled ? angled[1] : balanced(part);
  const rest = /^(?:\s+(?:"[^"]*"|'[^']*'))?\s?\)/.exec(part.slice(angled ? angled[0].length : url.length));
  if (!rest || !SAFE.test(url)) return null;
  return { url, end: at + 1 + (angled ? angled[0].length : url.length) + rest[0].length };
}

function balanced(part) {
  let [at, open] = [0, 0];
  for (; at < part.length && part[at] > " " && open <= PARENS; at += 1) {
    if (part[at] === "(") open += 1;
    if (part[at] === ")" && open-- === 0) break;
  }
  return part.slice(0, at);
}

const join = (nodes, node) => {
  if (typeof node === "string" && typeof nodes.at(-1) === "string") nodes[nodes.length - 1] += node;
  else nodes.push(node);
};

/**
 * What is open is a stack of frames, the text itself the lowest. A frame that finds its end becomes an element of the
 * frame below; one that doesn't becomes plain text there.
 */
class Inline {
  constructor(text, make) {
    Object.assign(this, { text, make, at: 0, stack: [{ nodes: [] }] });
    this.lastTicks = new Map(Array.from(text.matchAll(/`+/g), ({ 0: ticks, index }) => [ticks.length, index]));
  }

  parse() {
    while (this.at < this.text.length) {
      const at = matchAt(SPECIAL, this.text, this.at)?.index ?? this.text.length;
      if (at > this.at) this.literal(at - this.at);
      else this.special(this.text[at], this.text[at + 1]);
    }
    this.flatten(1);
    return this.stack[0].nodes;
  }

  special(char, next = "") {
    if (char === "\n") return this.add(this.make("br"), 1);
    if (char === "\\" && next === "\n") return this.add(this.make("br"), 2);
    if (char === "\\" && /[!-/:-@[-`{-~]/.test(next)) return this.add(next, 2);
    if (char === "`") return this.code();
    if (char === "*" || char === "_" || char === "~") return this.marks();
    if (char === "[") return this.open(1);
    if (char === "!" && next === "[") return this.open(2);
    if (char === "]") return this.close();
    if (char === "h" || char === "<") return this.address(char);
    this.literal(1);
  }

  add(node, length) {
    join(this.stack.at(-1).nodes, node);
    this.at += length;
  }

  literal(length) {
    this.add(this.text.slice(this.at, this.at + length), length);
  }

  /** From a place on, what is open stays open no longer. */
  flatten(place) {
    for (const { mark, nodes } of this.stack.splice(place)) [mark, ...nodes].forEach((node) => join(this.stack.at(-1).nodes, node));
  }

  code() {
    const { length } = matchAt(TICKS, this.text, this.at)[0];
    const start = this.at + length;
    if (!(this.lastTicks.get(length) >= start)) return this.literal(length);
    let end = matchAt(TICKS, this.text, start);
    while (end[0].length !== length) end = TICKS.exec(this.text);
    const code = this.text.slice(start, end.index).replaceAll("\n", " ");
    const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
    this.add(this.make("code", [padded ? code.slice(1, -1) : code]), end.index + length - this.at);
  }

  address(char) {
    const found = matchAt(char === "<" ? ANGLED : ADDRESS, this.text, this.at);
    const inWord = char === "h" && WORD.test(this.text[this.at - 1] ?? "");
    const inLink = this.stack.some(({ bracket }) => bracket);
    const url = found && (found[1] ?? trimmed(found[0]));
    if (!found || inWord || inLink || !SAFE.test(url)) return this.literal(1);
    this.add(this.link(url, [url.replace(/^mailto:/i, "")]), found[1] ? found[0].length : url.length);
  }

  link(url, nodes) {
    return this.make("a", nodes, { href: url, rel: "noopener noreferrer nofollow", target: "_blank" });
  }

  open(length) {
    const mark = this.text.slice(this.at, this.at + length);
    if (this.stack.length > OPEN) return this.literal(length);
    this.stack.push({ mark, bracket: true, nodes: [] });
    this.at += length;
  }

  close() {
    const place = this.stack.findLastIndex(({ bracket }) => bracket);
    if (place < 0) return this.literal(1);
    const frame = this.stack[place];
    const target = frame.linked ? null : targetAt(this.text, this.at + 1);
    if (!target) return this.unbracket(place);
    this.flatten(place + 1);
    this.stack.pop();
    for (const outer of this.stack) outer.linked = true; // no link in a link
    this.add(this.link(target.url, frame.nodes.length ? frame.nodes : [target.url]), target.end - this.at);
  }

  /** Brackets without a target are text, and emphasis reaches over them. */
  unbracket(place) {
    const [{ mark, nodes }] = this.stack.splice(place, 1);
    [mark, ...nodes].forEach((node) => join(this.stack[place - 1].nodes, node));
    this.literal(1);
  }

  /** Flanking is as in CommonMark, but punctuation doesn't count: in Korean or Japanese a word goes on after the marks. */
  marks() {
    const [{ length }, char] = matchAt(MARKS, this.text, this.at);
    const before = this.text[this.at - 1] ?? " ";
    const after = this.text[this.at + length] ?? " ";
    if (length > RUN || (char === "~" && length !== 2)) return this.literal(length);
    const opens = /\S/.test(after) && !(char === "_" && WORD.test(before));
    const closes = /\S/.test(before) && !(char === "_" && WORD.test(after));
    const left = closes ? this.end(char, length, opens) : length;
    if (left && opens && this.stack.length <= OPEN) {
      this.stack.push({ mark: char.repeat(left), char, both: closes, nodes: [] });
      this.at += left;
    } else this.literal(left);
  }

  /** Ends as much emphasis as a run of marks can; returns how many marks are left. */
  end(char, length, both) {
    for (let left = length; ; ) {
      const place = left ? this.opener(char, left, both) : -1;
      if (place < 0) return left;
      this.flatten(place + 1);
      const { mark, nodes, ...frame } = this.stack.pop();
      const used = Math.min(2, left, mark.length);
      const inner = this.make(char === "~" ? "del" : used === 2 ? "strong" : "em", nodes);
      left -= used;
      if (mark.length === used) this.add(inner, used);
      else {
        this.stack.push({ ...frame, mark: mark.slice(used), nodes: [inner] });
        this.at += used;
      }
    }
  }

  opener(char, length, both) {
    for (let place = this.stack.length - 1; place > 0 && !this.stack[place].bracket; place -= 1) {
      const frame = this.stack[place];
      const three = (frame.mark.length + length) % 3 === 0 && length % 3 !== 0; // CommonMark's "multiple of 3"
      if (frame.char === char && !(three && (both || frame.both))) return place;
    }
    return -1;
  }
}

// --- to the page -----------------------------------------------------------------------------------------------------

/** How code comes to stand in its element, again each time that it has grown: whoever wants it coloured brings another. */
const plain = (code, text) => {
  const shown = code.firstChild;
  if (shown && text.startsWith(shown.data)) return shown.appendData(text.slice(shown.data.length));
  shown?.remove();
  code.append(text);
};

const maker = (document, write) =>
  Object.assign((name, nodes = [], attributes = {}) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value) element.setAttribute(key, value);
    for (const node of nodes) element.append(node); // a string becomes a text node
    return element;
  }, { write });

function build(block, make) {
  const inline = (text) => new Inline(text, make).parse();
  switch (block.type) {
    case "paragraph":
      return make("p", inline(block.text));
    case "heading":
      return make(`h${Math.min(6, block.level + 2)}`, inline(block.text)); // h1 and h2 are the page's
    case "rule":
      return make("hr");
    case "code":
      return buildCode(block, make);
    case "quote":
      return make("blockquote", block.blocks.map((inner) => build(inner, make)));
    case "list":
      return buildList(block, make);
    case "table":
      return buildTable(block, make);
  }
}

function buildCode({ language, text }, make) {
  const code = make("code");
  const figure = make("figure", [make("figcaption", [make("span", [language])]), make("pre", [code], { tabindex: "0" })]);
  make.write(code, text, language);
  return figure;
}

function buildList(block, make) {
  const ordered = !Number.isNaN(block.start);
  const items = block.items.map((item) => ITEMS.list(block, item, make));
  return make(ordered ? "ol" : "ul", items, ordered && block.start !== 1 && { start: `${block.start}` });
}

function buildTable(block, make) {
  const rows = block.items.map((line) => ITEMS.table(block, line, make));
  const parts = [make("thead", [row(block, block.head, "th", make)]), make("tbody", rows)];
  return make("div", [make("table", parts)], { class: "table", tabindex: "0" });
}

const row = ({ align }, line, name, make) =>
  make("tr", cellsOf(line).slice(0, align.length).map((cell, at) => make(name, new Inline(cell, make).parse(), { class: align[at] })));

const task = (text) => text.replace(/^\[([ xX])\] /, (_, mark) => (mark === " " ? "☐ " : "☑ "));

/** What may be thousands, and so is made one by one. */
const ITEMS = {
  table: (block, line, make) => row(block, line, "td", make),
  list: ({ loose, depth }, item, make) =>
    make("li", blocks(item.split("\n"), depth + 1).flatMap((block, place) => {
      if (block.type !== "paragraph") return [build(block, make)];
      const text = place ? block.text : task(block.text);
      return loose ? [build({ ...block, text }, make)] : new Inline(text, make).parse();
    })),
};

/** Nodes for a whole text. */
export const render = (text, document, write = plain) => blocks(text.split("\n")).map((block) => build(block, maker(document, write)));

const held = new WeakMap(); // container -> its text, and the blocks it was last made of

/**
 * Show a text that grows. Only the last line can be unfinished, and it can change no more than the block it is in and,
 * as it may turn out to continue that one, the block before: the others stay as they are.
 */
export function update(container, text, write = plain) {
  const before = held.get(container) ?? { text: "", parts: [] };
  const kept = text.startsWith(before.text) ? before.parts.slice(0, -2) : [];
  const open = before.parts.slice(kept.length);
  const from = kept.length && open.length ? open[0].from : 0;
  const make = maker(container.ownerDocument, write);
  const parts = partsOf(text, from).map((part) => {
    const old = open.find((other) => other.from === part.from);
    if (old?.source === part.source) return old;
    return { ...part, node: (old && grown(old, part, make)) ?? build(part.block, make) };
  });
  place(container, kept.at(-1)?.node, parts);
  held.set(container, { text, parts: [...kept, ...parts] });
}

function partsOf(text, from) {
  const lines = text.slice(from).split("\n");
  const starts = [from];
  for (const line of lines) starts.push(starts.at(-1) + line.length + 1);
  const found = blocks(lines);
  return found.map((block, index) => {
    const end = starts[found[index + 1]?.line ?? lines.length];
    return { block, from: starts[block.line], source: text.slice(starts[block.line], end) };
  });
}

/** Code, lists and tables are often long; and a node that stays keeps what the reader has selected. */
function grown({ block: old, node }, { block }, make) {
  const fixed = ({ type, language, start, loose, head, align }) => `${[type, language, start, loose, head, align]}`;
  if (fixed(old) !== fixed(block)) return null;
  if (block.type === "code") make.write(node.lastChild.firstChild, block.text, block.language);
  else if (block.items) regrow(block.type === "list" ? node : node.firstChild.lastChild, old.items, block, make);
  else return null;
  return node;
}

function regrow(parent, old, block, make) {
  const { items, type } = block;
  let same = 0;
  while (same < old.length && old[same] === items[same]) same += 1;
  for (let left = old.length; left > same; left -= 1) parent.lastChild.remove();
  parent.append(...items.slice(same).map((item) => ITEMS[type](block, item, make)));
}

function place(container, last, parts) {
  let next = last ? last.nextSibling : container.firstChild;
  for (const { node } of parts) {
    if (node === next) next = next.nextSibling;
    else container.insertBefore(node, next);
  }
  while (next) {
    const stale = next;
    next = next.nextSibling;
    stale.remove();
  }
}
