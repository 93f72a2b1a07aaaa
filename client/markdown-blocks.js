/**
 * Blocks: the lines of a Markdown text, parsed to headings, paragraphs, lists, quotes, tables, code and formulas.
 *
 * As CommonMark describes it: a line goes on with the blocks that are open, from the outermost to the innermost, begins new
 * ones, and what is left of it is text of the innermost.
 */
import { Cursor } from "./markdown-cursor.js";
import { define, takeDefinitions } from "./markdown-links.js";

const MAX_DEPTH = 32; // of lists, items and quotes in each other: each reads each line, blank ones too

const HEADING = /^(#{1,6})(?:[ \t]+(.*))?$/;
const UNDERLINE = /^(?:(=+)|-+)[ \t]*$/;
const RULE = /^([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const FENCE = /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/;
const FORMULA = /^(?:\$\$|\\\[|\\begin\{(?:align|equation|gather)\*?\})/;
const ITEM = /^(?:[-*+]|(\d{1,9})[.)]|\[\^([^\][\s]{1,99})\]:)(?=[ \t]|$)/;
const TABLE_MARKS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;

/** Returns the texts of a table row's cells. */
export function cellsOf(line) {
  const inner = line.trim().replace(/^\||(?<!\\)\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

const isContainer = ({ kind }) => kind === "list" || kind === "item" || kind === "quote" || kind === "document";

const canHold = (parent, { kind }) => isContainer(parent) && (parent.kind === "list") === (kind === "item");

/**
 * A block is `{ kind, start, line, last, below }` and what its kind needs: `start` is its place in the whole text, `line`
 * and `last` are indices of its first line and of the last that is not blank, `below` the blocks in it.
 */
class BlockParser {
  position = 0; // index of the line
  closings = new Map(); // what ends a formula -> index of the next line with it

  constructor(lines, start, context) {
    Object.assign(this, { lines, start, context, open: [{ kind: "document", below: [] }] });
    this.footnotes = [...context.definitions.values()].filter(({ number }) => number).length;
  }

  parse() {
    for (; this.position < this.lines.length; this.position += 1) {
      const line = this.lines[this.position];
      this.cursor = new Cursor(line);
      this.parseLine();
      this.start += line.length + 1;
    }
    this.closeTo(1);
    return this.open[0].below;
  }

  parseLine() {
    const { cursor, open } = this;
    this.depth = 1; // of the blocks that go on
    while (this.depth < open.length && this.continues(open[this.depth])) this.depth += 1;
    const innermost = open[this.depth - 1];
    if (innermost.isVerbatim) return this.addVerbatim(innermost);
    while (!cursor.isBlank && this.begin()) if (!isContainer(open.at(-1))) return undefined;
    if (!cursor.isBlank && open.at(-1).kind === "paragraph") return this.addText(open.at(-1)); // which may be a lazy one
    this.closeTo(this.depth);
    if (cursor.isBlank) return undefined;
    return this.addText(open.at(-1).kind === "table" ? open.at(-1) : this.add({ kind: "paragraph", rows: [] }));
  }

  // --- open blocks ---

  /** Whether the line goes on with a block; what marks that is skipped. */
  continues(block) {
    const { cursor } = this;
    const { indent, isBlank } = cursor;
    switch (block.kind) {
      case "list":
        return true;
      case "quote":
        return this.skipQuoteMark();
      case "item":
        return isBlank ? block.below.length > 0 : this.skipItemIndent(block, indent);
      case "indented":
        return isBlank || indent >= 4;
      case "paragraph":
      case "table":
        return !isBlank;
      default:
        return block.isVerbatim && !block.isClosed;
    }
  }

  skipQuoteMark() {
    const { cursor } = this;
    const { indent } = cursor;
    if (indent > 3 || cursor.text[0] !== ">") return false;
    cursor.skip(indent);
    cursor.skipText(1);
    cursor.skip(1);
    this.touch(this.depth + 1);
    return true;
  }

  /** Below a number two columns are enough, but for the next number: models indent by two as often as by three. */
  skipItemIndent(item, indent) {
    const isNear = item.isOrdered && indent >= item.indent + 2 && !/^\d/.test(this.cursor.text);
    if (isNear) item.width = Math.min(item.width, indent);
    if (indent >= item.width) this.cursor.skip(item.width);
    return indent >= item.width;
  }

  add(block) {
    this.closeTo(this.depth);
    if (!canHold(this.open.at(-1), block)) this.closeTo(this.depth - 1);
    const added = Object.assign(block, { start: this.start, line: this.position, below: [] });
    this.open.at(-1).below.push(added);
    this.open.push(added);
    this.depth = this.open.length;
    this.touch();
    return added;
  }

  closeTo(depth) {
    for (const block of this.open.splice(depth).reverse()) this.close(block);
  }

  close(block) {
    block.isGrowing = this.context.isGrowing && block.last === this.lines.length - 1;
    if (block.kind === "paragraph") block.text = this.takeDefinitions(block);
  }

  takeDefinitions({ rows, start, isGrowing }) {
    return takeDefinitions(rows.join("\n").trimEnd(), start, { ...this.context, isGrowing });
  }

  touch(depth) {
    for (const block of this.open.slice(0, depth)) block.last = this.position;
  }

  addText(block) {
    block.rows.push(this.cursor.text);
    this.touch();
  }

  addVerbatim(block) {
    const { cursor } = this;
    const { indent, text, isBlank } = cursor;
    const isFenceEnd = block.fence && indent < 4 && text.startsWith(block.fence) && !text.trim().replaceAll(block.fence[0], "");
    block.isClosed = isFenceEnd || text.includes(block.end);
    cursor.skip(block.indent);
    if (!isFenceEnd) block.rows.push(cursor.rest);
    if (block.kind !== "indented" || !isBlank) this.touch();
  }

  // --- beginnings: each returns whether there is one, and takes what marks it ---

  begin() {
    const { indent, text } = this.cursor;
    const isParagraphOpen = this.open.at(-1).kind === "paragraph";
    if (indent >= 4) return !isParagraphOpen && this.beginIndentedCode();
    const innermost = this.open[this.depth - 1];
    const paragraph = innermost.kind === "paragraph" && innermost;
    const canNest = this.open.length < MAX_DEPTH;
    return (
      (canNest && this.beginQuote(text)) ||
      this.beginHeading(text) ||
      this.beginFence(text, indent) ||
      this.beginFormula(text, indent) ||
      (paragraph && this.underline(paragraph, text)) ||
      this.beginRule(text) ||
      (canNest && this.beginItem(text, indent, innermost)) ||
      (paragraph && this.beginTable(paragraph, text))
    );
  }

  beginIndentedCode() {
    const block = this.add({ kind: "indented", isVerbatim: true, indent: 4, rows: [] });
    this.addVerbatim(block);
    return true;
  }

  beginQuote(text) {
    if (text[0] !== ">") return false;
    this.add({ kind: "quote" });
    this.depth -= 1;
    this.skipQuoteMark();
    this.depth += 1;
    return true;
  }

  beginHeading(text) {
    const [, marks, content = ""] = HEADING.exec(text) ?? [];
    if (!marks) return false;
    let end = content.trimEnd().length;
    while (content[end - 1] === "#") end -= 1;
    const isClosed = end === 0 || /[ \t]/.test(content[end - 1]);
    this.add({ kind: "heading", level: marks.length, text: (isClosed ? content.slice(0, end) : content).trim() });
    return true;
  }

  beginFence(text, indent) {
    const [, ticks, tickInfo, tildes, tildeInfo] = FENCE.exec(text) ?? [];
    const fence = ticks ?? tildes;
    if (fence) this.add({ kind: "fence", isVerbatim: true, fence, indent, info: tickInfo ?? tildeInfo, rows: [] });
    return Boolean(fence);
  }

  /** A formula ends with a line that has its end; one without is text, unless it may still come. */
  beginFormula(text, indent) {
    const [open] = FORMULA.exec(text) ?? [];
    if (!open) return false;
    const end = { $: "$$", "[": "\\]" }[open[1]] ?? open.replace("begin", "end");
    const place = text.indexOf(end, open.length);
    const lastLine = place < 0 ? this.findLine(end) : text.slice(place);
    if (lastLine === undefined ? !this.context.isGrowing : lastLine.slice(end.length).trim()) return false;
    const block = this.add({ kind: "formula", isVerbatim: true, open, end, indent, rows: [text] });
    block.isClosed = place >= 0;
    return true;
  }

  /** Returns the next line with some text, from there on. */
  findLine(text) {
    let place = this.closings.get(text) ?? 0;
    if (place <= this.position) {
      place = this.position + 1;
      while (place < this.lines.length && !this.lines[place].includes(text)) place += 1;
      this.closings.set(text, place);
    }
    const line = this.lines[place];
    return line?.slice(line.indexOf(text));
  }

  /** Makes a paragraph a heading. While the text grows its last line may turn out to be a list. */
  underline(paragraph, text) {
    const [underline, isFirstLevel] = UNDERLINE.exec(text) ?? [];
    const mayGrow = this.context.isGrowing && this.position === this.lines.length - 1;
    const heading = underline && !mayGrow && this.takeDefinitions(paragraph);
    if (!heading) return false;
    this.touch();
    Object.assign(paragraph, { kind: "heading", level: isFirstLevel ? 1 : 2, text: heading });
    return true;
  }

  beginRule(text) {
    if (!RULE.test(text)) return false;
    this.add({ kind: "rule" });
    return true;
  }

  /** Begins a list's item, or a footnote, which is one of a list of its own. */
  beginItem(text, indent, innermost) {
    const [marker, number, label] = ITEM.exec(text) ?? [];
    const isEmpty = marker && !text.slice(marker.length).trim();
    const isSentence = innermost.kind === "paragraph" && !label && (isEmpty || Number(number ?? 1) !== 1);
    if (!marker || isSentence) return false;
    const { cursor } = this;
    cursor.skip(indent);
    cursor.skipText(marker.length);
    const padding = isEmpty || cursor.indent > 4 ? 1 : cursor.indent;
    cursor.skip(padding);
    const type = marker.at(-1);
    const first = label ? this.defineFootnote(label) : number && Number(number);
    if (innermost.type !== type) this.add({ kind: "list", type, first });
    const width = label ? 4 : indent + marker.length + padding;
    this.add({ kind: "item", indent, width, isOrdered: Boolean(number) });
    return true;
  }

  defineFootnote(label) {
    const { definitions } = this.context;
    if (define(`^${label}`, { number: this.footnotes + 1, start: this.start }, definitions)) this.footnotes += 1;
    return this.footnotes;
  }

  /** Makes the last line of a paragraph the head of a table. */
  beginTable(paragraph, text) {
    if (!text.includes("|") || !TABLE_MARKS.test(text)) return false;
    const head = paragraph.rows.at(-1);
    if (!head.includes("|") || cellsOf(head).length !== cellsOf(text).length) return false;
    paragraph.rows.pop();
    const { start, line } = paragraph;
    Object.assign(this.add({ kind: "table", rows: [head, text] }), { start, line: this.position - 1 });
    return true;
  }
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
