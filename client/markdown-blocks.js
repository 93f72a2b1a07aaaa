/** Blocks: the lines of a Markdown text, parsed to headings, paragraphs, lists, quotes, tables and code. */
import { createPart } from "./markdown-inline.js";

const MAX_DEPTH = 10; // quotes and lists in each other: each level reads its lines again

const FENCE = /^[ \t]*(`{3,}|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s|$)/;
const RULE = /^ *([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^[ \t]*([-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const INTERRUPTING_ITEM = /^[ \t]*(?:[-*+]|1[.)])[ \t]+\S/; // a line of a sentence may begin with another number

/** Returns the width of a line's indentation in columns; a tab has four. */
function indentOf(line) {
  const [indent] = /^[ \t]*/.exec(line);
  return indent.replaceAll("\t", "    ").length;
}

/** Returns a line without so many columns of its indentation. */
function outdent(line, columns) {
  let start = 0;
  for (let left = columns; left > 0 && /[ \t]/.test(line[start]); start += 1) left -= indentOf(line[start]);
  return line.slice(start);
}

/** Returns the texts of a table row's cells. */
function cellsOf(line) {
  const inner = line.trim().replace(/^\||(?<!\\)\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/**
 * Returns the blocks of some lines.
 *
 * @param {string[]} lines
 * @param {number} [depth] of the quotes and lists that the lines are in
 * @param {number} [from] index of the first line to parse
 * @returns {import("./markdown.js").Block[]}
 */
export function blocks(lines, depth = 0, from = 0) {
  const found = [];
  const parser = new BlockParser(lines, depth, from);
  while (!parser.isAtEnd) {
    const line = parser.position;
    if (parser.line.trim()) found.push({ ...parser.parseBlock(), line });
    else parser.position += 1;
  }
  return found;
}

/** Parses the block that begins at its position, and moves behind it. */
class BlockParser {
  constructor(lines, depth, position) {
    Object.assign(this, { lines, depth, position });
  }

  get line() {
    return this.lines[this.position];
  }

  get isAtEnd() {
    return this.position >= this.lines.length;
  }

  parseBlock() {
    const { line } = this;
    const canNest = this.depth < MAX_DEPTH;
    if (FENCE.test(line)) return this.parseFence();
    if (HEADING.test(line)) return this.parseHeading();
    if (RULE.test(line)) return this.parseRule();
    if (QUOTE.test(line) && canNest) return this.parseQuote();
    if (ITEM.test(line) && canNest) return this.parseList();
    if (this.isTable()) return this.parseTable();
    return this.parseParagraph();
  }

  /** Returns this line and those after it, up to one that `isEnd` or the last, and moves behind them. */
  readLines(isEnd) {
    const start = this.position;
    do this.position += 1;
    while (!this.isAtEnd && !isEnd(this.line));
    return this.lines.slice(start, this.position);
  }

  endsParagraph() {
    const { line } = this;
    const beginnings = [FENCE, HEADING, RULE, QUOTE, INTERRUPTING_ITEM];
    return !line.trim() || beginnings.some((beginning) => beginning.test(line)) || this.isTable();
  }

  isTable() {
    const [line, next = ""] = this.lines.slice(this.position, this.position + 2);
    const marks = line.includes("|") ? cellsOf(next) : [];
    return next.includes("|") && marks.every((mark) => /^:?-+:?$/.test(mark)) && marks.length === cellsOf(line).length;
  }

  parseParagraph() {
    const lines = this.readLines(() => this.endsParagraph());
    return createPart("p", lines.map((line) => line.trim()).join("\n"));
  }

  parseRule() {
    this.position += 1;
    return createPart("hr");
  }

  parseFence() {
    const [, mark, info] = FENCE.exec(this.line);
    const [language] = info.trim().split(/\s/);
    const indent = indentOf(this.line);
    const [, ...lines] = this.readLines((line) => line.trim().startsWith(mark) && !line.replaceAll(mark[0], "").trim());
    this.position += 1; // the closing fence
    const code = { ...createPart("code"), code: lines.map((line) => outdent(line, indent)).join("\n"), language };
    const caption = createPart("figcaption", [], [createPart("span", [language])]);
    return createPart("figure", [], [caption, createPart("pre", [], [code], { tabindex: "0" })]);
  }

  parseHeading() {
    const { line } = this;
    this.position += 1;
    const { length } = HEADING.exec(line)[1];
    const level = Math.min(6, length + 2); // h1 and h2 are the page's
    return createPart(`h${level}`, line.trim().replace(/ #+$/, "").slice(length).trim());
  }

  parseQuote() {
    const lines = this.readLines((line) => !QUOTE.test(line) && this.endsParagraph());
    return createPart("blockquote", [], blocks(lines.map((line) => line.replace(QUOTE, "")), this.depth + 1));
  }

  /** Two columns are enough to belong to an item: below "1." models indent by two as often as by three. */
  parseList() {
    const [, first] = ITEM.exec(this.line);
    const indent = indentOf(this.line);
    const items = [];
    let isAfterBlank = false;
    let isLoose = false; // blank lines between its items or their paragraphs
    for (; !this.isAtEnd; this.position += 1) {
      const { line } = this;
      const item = ITEM.exec(line);
      const isBlank = !line.trim();
      const isInside = indentOf(line) >= indent + 2;
      const isNext = !isInside && item?.[1].at(-1) === first.at(-1) && !RULE.test(line);
      const continues = isBlank || isInside || !(isAfterBlank || item || this.endsParagraph());
      if (isNext) items.push([line.slice(item[0].length)]);
      else if (continues) items.at(-1).push(outdent(line, indent + first.length + 1));
      else break;
      isLoose ||= isAfterBlank && (isNext || (isInside && !item && !isBlank));
      isAfterBlank = isBlank;
    }
    const start = parseInt(first, 10); // NaN for bullets
    const below = items.map((lines) => itemOf(blocks(lines, this.depth + 1), isLoose));
    return createPart(start >= 0 ? "ol" : "ul", [], below, start >= 0 && start !== 1 && { start });
  }

  parseTable() {
    const [head, marks, ...rows] = this.readLines((line) => !line.includes("|"));
    const alignments = cellsOf(marks).map((mark) => mark.endsWith(":") && { class: mark[0] === ":" ? "center" : "right" });
    const rowOf = (line, cellName) => {
      const cells = cellsOf(line).slice(0, alignments.length);
      return createPart("tr", [], cells.map((cell, column) => createPart(cellName, cell, [], alignments[column])));
    };
    const below = [
      createPart("thead", [], [rowOf(head, "th")]),
      createPart("tbody", [], rows.map((line) => rowOf(line, "td"))),
    ];
    return createPart("div", [], [createPart("table", [], below)], { class: "table", tabindex: "0" });
  }
}

/** Returns a list item of its blocks. The first paragraph of a tight list has no element of its own. */
function itemOf(below, isLoose) {
  const [first, ...rest] = below;
  if (first?.name !== "p") return createPart("li", [], below);
  first.text = first.text.replace(/^\[ \] /, "☐ ").replace(/^\[x\] /i, "☑ ");
  return isLoose ? createPart("li", [], below) : createPart("li", first.text, rest);
}
