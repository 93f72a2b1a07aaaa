/**
 * Blocks: the lines of a Markdown text, parsed to headings, paragraphs, lists, quotes, tables, code and formulas.
 *
 * As CommonMark describes it: a line goes on with the blocks that are open, from the outermost to the innermost, begins new
 * ones, and what is left of it is text of the innermost.
 */
import { unescape } from "./markdown-entities.js";
import { createPart, define, takeDefinitions } from "./markdown-links.js";

const MAX_DEPTH = 32; // of lists, items and quotes in each other: each reads each line, blank ones too
const MAX_FORMULA_LINES = 200; // in which its end is sought
const TAB = 4; // columns

const HEADING = /^(#{1,6})(?:[ \t]+(.*))?$/;
const UNDERLINE = /^(?:(=+)|-+)[ \t]*$/;
const RULE = /^([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const FENCE = /^(`{3,}(?!.*`)|~{3,})(.*)$/;
const FORMULA = /^(?:\$\$|\\\[)/;
const ITEM = /^(?:[-*+]|(\d{1,9})[.)]|\[\^([^\][\s]{1,99})\]:)(?=[ \t]|$)/;
const TASK = /^\[( |x)\](?=[ \t])/gim;
const TABLE_MARKS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;

/** Returns the texts of a table row's cells. */
function cellsOf(line) {
  const inner = line.trim().replace(/^\||(?<!\\)\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

const isContainer = ({ name }) => /^(?:[uo]l|li|blockquote|)$/.test(name);

const canHold = (parent, { name }) => isContainer(parent) && Boolean(parent.type) === (name === "li");

/** What is left of a line, and the column where that begins, on which the width of a tab depends. */
class Cursor {
  column = 0;

  constructor(line) {
    this.rest = line.replace(/\r$/, "");
  }

  /** What is left without the blanks at its beginning. */
  get text() {
    return this.rest.replace(/^[ \t]+/, "");
  }

  /** Width of the blanks at the beginning, in columns. */
  get indent() {
    let end = this.column;
    for (const blank of /^[ \t]*/.exec(this.rest)[0]) end += blank === " " ? 1 : TAB - (end % TAB);
    return end - this.column;
  }

  skipText(length) {
    this.rest = this.rest.slice(length);
    this.column += length;
  }

  /** Skips columns of blanks, at most so many. Of a tab that is wider the others stay, as blanks. */
  skip(columns) {
    for (let left = Math.min(columns, this.indent); left > 0; left -= 1) {
      this.rest = this.rest.replace(/^\t/, " ".repeat(TAB - (this.column % TAB)));
      this.skipText(1);
    }
  }
}

/**
 * A block is a part, as `createPart` makes them, with the `text` that is parsed when it is drawn, the `code` that is written,
 * or the `formula` that is rendered; without a name, what it has is its parent's. While it is open it has `rows`, and
 * always `start`, its place in the whole text, `line` and `last`, indices of its first line and of the last not blank.
 */
class BlockParser {
  position = 0; // index of the line

  constructor(lines, start, context) {
    Object.assign(this, { lines, start, context, open: [createPart("")] });
    this.footnotes = [...context.definitions.values()].filter(({ number }) => number).length;
  }

  parse() {
    for (const line of this.lines) {
      this.cursor = new Cursor(line);
      this.parseLine();
      this.start += line.length + 1;
      this.position += 1;
    }
    this.closeTo(1);
    return this.open[0].below;
  }

  get innermost() {
    return this.open.at(-1);
  }

  get isLastLine() {
    return this.position >= this.lines.length - 1;
  }

  parseLine() {
    const { cursor, open } = this;
    this.depth = 1; // of the blocks that go on
    while (this.depth < open.length && this.continues(open[this.depth])) this.depth += 1;
    const innermost = open[this.depth - 1];
    if (innermost.name === "pre") return this.addVerbatim(innermost);
    while (cursor.text && this.begin()) if (!isContainer(this.innermost)) return undefined;
    const isLazy = cursor.text && this.innermost.name === "p";
    if (!isLazy) this.closeTo(this.depth);
    return cursor.text && this.addText();
  }

  // --- open blocks ---

  /** Whether the line goes on with a block; what marks that is skipped. */
  continues(block) {
    const { text, indent } = this.cursor;
    if (block.name === "blockquote") return this.skipQuoteMark();
    if (block.name === "li") return text ? this.skipItemIndent(block) : block.below.length > 0;
    if (block.name === "pre") return !block.isClosed && (block.end || !text || indent >= TAB);
    return block.type || (text && block.rows);
  }

  skipQuoteMark() {
    const { cursor } = this;
    if (cursor.indent >= TAB || cursor.text[0] !== ">") return false;
    cursor.skip(cursor.indent);
    cursor.skipText(1);
    cursor.skip(1);
    this.touch(this.depth + 1);
    return true;
  }

  /** Below a number two columns are enough, but for the next number: models indent by two as often as by three. */
  skipItemIndent(item) {
    const { indent, text } = this.cursor;
    const isNear = item.number && indent >= item.indent + 2 && !/^\d/.test(text);
    if (isNear) item.width = Math.min(item.width, indent);
    const isInside = indent >= item.width;
    if (isInside) this.cursor.skip(item.width);
    return isInside;
  }

  /** Begins a block, after those that do not go on, or can't hold it, are closed. */
  add(name, more) {
    const block = createPart(name, [], {}, { start: this.start, line: this.position, ...more });
    this.closeTo(this.depth);
    if (!canHold(this.innermost, block)) this.closeTo(this.depth - 1);
    this.innermost.below.push(block);
    this.depth = this.open.push(block);
    this.touch();
    return block;
  }

  closeTo(depth) {
    while (this.open.length > depth) this.close(this.open.pop());
  }

  touch(depth) {
    for (const block of this.open.slice(0, depth)) block.last = this.position;
  }

  addText() {
    if (!this.innermost.rows) this.add("p", { rows: [] });
    this.innermost.rows.push(this.cursor.text);
    this.touch();
  }

  addVerbatim(block) {
    const { cursor } = this;
    const { indent, text } = cursor;
    const { end, isFence } = block;
    const isFenceEnd = isFence && indent < TAB && text.startsWith(end) && !text.trim().replaceAll(end[0], "");
    block.isClosed = isFence ? isFenceEnd : text.includes(end);
    cursor.skip(block.indent);
    if (!isFenceEnd) block.rows.push(cursor.rest);
    if (end || text) this.touch();
  }

  // --- beginnings: each returns whether there is one, and takes what marks it ---

  begin() {
    const { indent, text } = this.cursor;
    const isParagraphOpen = this.innermost.name === "p";
    if (indent >= TAB) return !isParagraphOpen && this.beginVerbatim({ indent: TAB });
    const innermost = this.open[this.depth - 1];
    const paragraph = innermost.name === "p" && innermost;
    const canNest = this.open.length < MAX_DEPTH;
    return (
      (canNest && this.beginQuote(text)) ||
      this.beginHeading(text) ||
      this.beginFence(text, indent) ||
      this.beginFormula(text, indent) ||
      (paragraph && this.underline(paragraph, text)) ||
      (RULE.test(text) && this.add("hr")) ||
      (canNest && this.beginItem(text, indent, paragraph)) ||
      (paragraph && this.beginTable(paragraph, text))
    );
  }

  beginQuote(text) {
    if (text[0] !== ">") return false;
    this.depth = this.open.indexOf(this.add("blockquote"));
    this.skipQuoteMark();
    this.depth += 1;
    return true;
  }

  beginHeading(text) {
    const [, marks, content = ""] = HEADING.exec(text) ?? [];
    if (!marks) return false;
    return this.add(headingName(marks.length), { text: content.trim().replace(/(?:^|[ \t])#+$/, "").trimEnd() });
  }

  beginVerbatim(more) {
    const block = this.add("pre", { rows: [], ...more });
    if (!block.isFence) this.addVerbatim(block);
    return block;
  }

  beginFence(text, indent) {
    const [, end, info] = FENCE.exec(text) ?? [];
    return end && this.beginVerbatim({ isFence: true, end, info, indent });
  }

  /** A formula ends with a line that has its end; one without is text, unless it may still come. */
  beginFormula(text, indent) {
    const [begin] = FORMULA.exec(text) ?? [];
    if (!begin) return false;
    const end = begin.replace("[", "]");
    const others = this.lines.slice(this.position + 1, this.position + MAX_FORMULA_LINES);
    const last = [text.slice(2), ...others].find((line) => line.includes(end));
    const isFormula = last === undefined ? this.context.isGrowing : !last.split(end)[1].trim();
    if (!isFormula) return false;
    const block = this.beginVerbatim({ end, indent });
    block.isClosed = text.includes(end, 2);
    return true;
  }

  /** Makes a paragraph a heading. While the text grows its last line may turn out to be a list. */
  underline(paragraph, text) {
    const [line, isFirstLevel] = UNDERLINE.exec(text) ?? [];
    if (!line || (this.context.isGrowing && this.isLastLine)) return false;
    const heading = this.textOf(paragraph);
    if (!heading) return false;
    this.touch();
    return Object.assign(paragraph, { name: headingName(isFirstLevel ? 1 : 2), text: heading, rows: undefined });
  }

  /** Begins a list's item, or a footnote, which is one of a list of its own. */
  beginItem(text, indent, paragraph) {
    const [marker, number, label] = ITEM.exec(text) ?? [];
    if (!marker) return false;
    const { cursor } = this;
    const isEmpty = text.trimEnd() === marker;
    if (paragraph && !label && (isEmpty || Number(number ?? 1) !== 1)) return false; // it is a sentence's
    cursor.skip(indent);
    cursor.skipText(marker.length);
    const padding = isEmpty || cursor.indent > TAB ? 1 : cursor.indent;
    cursor.skip(padding);
    const type = marker.at(-1);
    const first = label ? this.defineFootnote(label) : number && Number(number);
    const attributes = { ...(label && { class: "footnotes" }), ...(first !== 1 && { start: first }) };
    if (this.open[this.depth - 1].type !== type) this.add(first === undefined ? "ul" : "ol", { type, attributes });
    const width = label ? TAB : indent + marker.length + padding;
    return this.add("li", { indent, width, number });
  }

  defineFootnote(label) {
    this.footnotes += 1;
    define(`^${label}`, { number: this.footnotes, start: this.start }, this.context.definitions);
    return this.footnotes;
  }

  /** Makes the last line of a paragraph the head of a table. */
  beginTable(paragraph, text) {
    const head = paragraph.rows.at(-1);
    const isTable = [head, text].every((line) => line.includes("|")) && TABLE_MARKS.test(text);
    if (!isTable || cellsOf(head).length !== cellsOf(text).length) return false;
    paragraph.rows.pop();
    return this.add("div", { rows: [head, text], start: paragraph.start, line: this.position - 1 });
  }

  // --- what a block is, when all its lines are read ---

  close(block) {
    block.isGrowing = this.context.isGrowing && block.last === this.lines.length - 1;
    if (block.type) closeList(block);
    else if (block.name === "pre") Object.assign(block, block.isFence || !block.end ? codeFrameOf(block) : formulaOf(block));
    else if (block.name === "div") Object.assign(block, tableOf(block));
    else if (block.name === "p") {
      block.text = this.textOf(block).replace(TASK, (_, mark) => (mark === " " ? "☐" : "☑"));
      if (!block.text) block.name = "";
    }
  }

  /** Returns a paragraph's text without the definitions at its beginning. */
  textOf({ rows, start, isGrowing }) {
    return takeDefinitions(rows.join("\n").trimEnd(), start, { ...this.context, isGrowing });
  }
}

/** h1 and h2 are the page's. */
const headingName = (level) => `h${Math.min(6, level + 2)}`;

/** Paragraphs of a tight list, without blank lines between its blocks, have no element of their own. */
function closeList({ below }) {
  const isApart = ({ line }, place, { [place - 1]: before }) => before && line > before.last + 1;
  const isLoose = below.some(isApart) || below.some((item) => item.below.some(isApart));
  for (const item of below) {
    const [first, ...others] = item.below;
    if (/^[☐☑]/.test(first?.text)) item.attributes = { class: "task" };
    if (isLoose) continue;
    for (const block of item.below) if (block.name === "p") block.name = "";
    if (first?.name === "") Object.assign(item, { text: first.text, isGrowing: first.isGrowing, below: others });
  }
}

function codeFrameOf({ rows, isFence, info = "" }) {
  const [language] = unescape(info).trim().split(/\s/);
  const lines = isFence ? rows : rows.slice(0, 1 + rows.findLastIndex((row) => row.trim()));
  const code = createPart("code", [], {}, { code: lines.join("\n"), language });
  const caption = createPart("figcaption", [createPart("span", [language])]);
  return createPart("figure", [caption, createPart("pre", [code], { tabindex: "0" })]);
}

function formulaOf({ rows, isClosed }) {
  const source = rows.join("\n").trimEnd();
  const formula = isClosed && { tex: source.slice(2, -2).trim(), isDisplay: true };
  return createPart("pre", [createPart("code", [source])], { class: "math", tabindex: "0" }, { formula });
}

/** A row keeps the cells that it has, up to as many as the head. */
function tableOf({ rows: [head, marks, ...others], isGrowing }) {
  const alignments = cellsOf(marks).map((mark) => (mark.endsWith(":") ? { class: mark[0] === ":" ? "center" : "right" } : {}));
  const rowOf = (line, name, isLast) => {
    const cells = cellsOf(line).slice(0, alignments.length);
    return createPart("tr", cells.map((text, column) => createPart(name, [], alignments[column], { text, isGrowing: isLast })));
  };
  const rows = others.map((line, place) => rowOf(line, "td", isGrowing && place === others.length - 1));
  const below = [createPart("thead", [rowOf(head, "th")]), createPart("tbody", rows)];
  return createPart("div", [createPart("table", below.slice(0, rows.length + 1))], { class: "table", tabindex: "0" });
}

/**
 * Returns the blocks of some lines.
 *
 * @param {string[]} lines
 * @param {number} start where they begin in the whole text
 * @param {{ definitions: Map<string, object>, isGrowing?: boolean }} context takes the definitions of links and footnotes
 */
export function parseBlocks(lines, start, context) {
  return new BlockParser(lines, start, context).parse();
}
