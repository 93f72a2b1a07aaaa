/**
 * Blocks: the lines of a Markdown text, parsed to headings, paragraphs, lists, quotes, tables, code and formulas.
 *
 * As CommonMark describes it: a line goes on with the blocks that are open, from the outermost to the innermost, begins new
 * ones, and what is left of it is text of the innermost.
 */
import { unescape } from "./markdown-entities.js";
import { COMPLETE, define, describePart, takeDefinitions } from "./markdown-links.js";

const MAX_DEPTH = 32; // of lists, items and quotes in each other: each reads each line, blank ones too
const MAX_FORMULA_LINES = 200; // in which its end is sought
const TAB = 4; // columns

const HEADING = /^(#{1,6})(?:[ \t]+(.*))?$/;
const UNDERLINE = /^(?:(=+)|-+)[ \t]*$/;
const RULE = /^([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const FENCE = /^(`{3,}(?!.*`)|~{3,})(.*)$/;
const FORMULA = /^(?:\$\$|\\\[|\\begin\{(?:align|equation|gather|multline)\*?\})/;
const ITEM = /^(?:[-*+]|(\d{1,9})[.)]|\[\^([^\][\s]{1,99})\]:)(?=[ \t]|$)/;
const TASK = /^\[( |x)\](?=[ \t])/gim;
const TABLE_MARKS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;

/** Returns the texts of a table row's cells. */
function cellsOf(line) {
  const inner = line.trim().replace(/^\||(?<!\\)\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

const isContainer = ({ name }) => /^(?:[uo]l|li|blockquote|)$/.test(name);

const canHold = (parent, name) => isContainer(parent) && Boolean(parent.type) === (name === "li");

/** Paragraphs of a tight list, without blank lines between its blocks, have no element of their own. */
function closeList({ below }) {
  const isApart = ({ line }, place, { [place - 1]: before }) => before && line > before.last + 1;
  const isLoose = below.some(isApart) || below.some((item) => item.below.some(isApart));
  for (const item of below) {
    const [first, ...others] = item.below;
    if (/^[☐☑]/.test(first?.text)) item.attributes = { class: "task" };
    if (isLoose) continue;
    for (const block of item.below) if (block.name === "p") block.name = "";
    if (first?.name === "") Object.assign(item, { text: first.text, growth: first.growth, below: others });
  }
}

function codeFrameOf({ rows, info = "", end }) {
  const [language] = unescape(info).trim().split(/\s/);
  const lines = end ? rows : rows.slice(0, 1 + rows.findLastIndex((row) => row.trim()));
  const code = describePart("code", [], {}, { code: lines.join("\n"), language });
  const caption = describePart("figcaption", [describePart("span", [language])]);
  return describePart("figure", [caption, describePart("pre", [code], { tabindex: "0" })]);
}

function formulaOf({ rows, isClosed }) {
  const source = rows.join("\n").trimEnd();
  const tex = source.startsWith("\\b") ? source : source.slice(2, -2).trim();
  const formula = isClosed && { tex, isDisplay: true };
  return describePart("pre", [describePart("code", [source])], { class: "math", tabindex: "0" }, { formula });
}

/** A row keeps the cells that it has, up to as many as the head. */
function tableOf({ rows: [head, marks, ...others], growth }) {
  const alignments = cellsOf(marks).map((mark) => ({ class: mark.endsWith(":") && (mark[0] === ":" ? "center" : "right") }));
  const rowOf = (line, name, place) => {
    const cells = cellsOf(line).slice(0, alignments.length);
    const last = place === others.length - 1 && !line.trimEnd().endsWith("|") && cells.length - 1;
    const cellOf = (text, column) => describePart(name, [], alignments[column], { text, growth: column === last ? growth : COMPLETE });
    return describePart("tr", cells.map(cellOf));
  };
  const rows = others.map((line, place) => rowOf(line, "td", place));
  const below = [describePart("thead", [rowOf(head, "th")]), describePart("tbody", rows)];
  return describePart("div", [describePart("table", below)], { class: "table", tabindex: "0" });
}

/**
 * Returns the blocks of some lines. A block is a part, as `describePart` makes them, with the `text` that is parsed when it is
 * drawn, the `code` that is written, or the `formula` that is rendered; without a name, what it has is its parent's. Each has
 * `start`, its place in the whole text, and `line` and `last`, indices of its first line and of its last that is not blank.
 *
 * @param {string[]} lines
 * @param {number} start where they begin in the whole text
 * @param {{ definitions: Map<string, object>, growth?: number }} context takes the definitions of links and footnotes
 * @returns {{ blocks: Array, unclosed?: number }} `unclosed` is the start of the first block that has the beginning of a
 *   formula whose end may still come
 */
export function parseBlocks(lines, start, { definitions, growth }) {
  const open = [describePart("")]; // the document, and blocks that may go on, from the outermost to the innermost
  let footnotes = [...definitions.values()].filter(({ number }) => number).length;
  let unclosed;
  let position = 0; // index of the line
  let depth; // how many of the open blocks go on with the line
  let rest; // what is left of the line
  let column; // where that begins: the width of a tab depends on it

  // --- the line ---

  /** Returns what is left without the blanks at its beginning. */
  const textLeft = () => (rest[0] > " " ? rest : rest.replace(/^[ \t]+/, ""));

  /** Returns the width of the blanks at the beginning, in columns. */
  function indentLeft() {
    let end = column;
    for (let index = 0; rest[index] === " " || rest[index] === "\t"; index += 1) end += rest[index] === " " ? 1 : TAB - (end % TAB);
    return end - column;
  }

  function skipText(length) {
    rest = rest.slice(length);
    column += length;
  }

  /** Skips columns of blanks, at most so many. Of a tab that is wider the others stay, as blanks. */
  function skipBlanks(columns) {
    for (let left = Math.min(columns, indentLeft()); left > 0; left -= 1) {
      if (rest[0] === "\t") rest = " ".repeat(TAB - (column % TAB)) + rest.slice(1);
      skipText(1);
    }
  }

  function skipQuoteMark() {
    const isQuote = indentLeft() < TAB && textLeft()[0] === ">";
    if (!isQuote) return false;
    skipBlanks(TAB);
    skipText(1);
    skipBlanks(1);
    touch(depth);
    return true;
  }

  /** Below a number two columns are enough, but for the next number: models indent by two as often as by three. */
  function skipItemIndent(item) {
    const indent = indentLeft();
    if (item.number && indent >= item.indent + 2 && !/^\d/.test(textLeft())) item.width = Math.min(item.width, indent);
    if (indent < item.width) return false;
    skipBlanks(item.width);
    return true;
  }

  // --- open blocks ---

  const touch = (count) => open.slice(0, count).forEach((block) => (block.last = position));

  /** Begins a block, after those that do not go on, or can't hold it, are closed. */
  function add(name, more) {
    const block = describePart(name, [], {}, { start, line: position, ...more });
    closeTo(depth);
    if (!canHold(open.at(-1), name)) closeTo(depth - 1);
    open.at(-1).below.push(block);
    depth = open.push(block);
    touch();
    return block;
  }

  function closeTo(count) {
    while (open.length > count) close(open.pop());
  }

  function close(block) {
    block.growth = block.last === lines.length - 1 ? growth : COMPLETE;
    if (block.type) closeList(block);
    else if (block.name === "pre") Object.assign(block, block.isFormula ? formulaOf(block) : codeFrameOf(block));
    else if (block.name === "div") Object.assign(block, tableOf(block));
    else if (block.name === "p") {
      block.text = textOf(block).replace(TASK, (_, mark) => (mark === " " ? "☐" : "☑"));
      if (!block.text) block.name = "";
    }
  }

  /** Returns a paragraph's text without the definitions at its beginning. */
  const textOf = (block) => takeDefinitions(block.rows.join("\n").trimEnd(), block.start, { definitions, growth: block.growth });

  /** Whether the line goes on with a block; what marks that is skipped. */
  function continues(block) {
    const text = textLeft();
    switch (block.name) {
      case "blockquote":
        return skipQuoteMark();
      case "li":
        return text ? skipItemIndent(block) : block.below.length;
      case "pre":
        return !block.isClosed && (block.end || !text || indentLeft() >= TAB);
      default:
        return block.type || (text && block.rows);
    }
  }

  function addVerbatim(block) {
    const text = textLeft();
    const { end, isFormula } = block;
    const isFenceEnd = end && indentLeft() < TAB && text.startsWith(end) && !text.trim().replaceAll(end[0], "");
    block.isClosed = isFormula ? text.includes(end) : isFenceEnd;
    skipBlanks(block.indent);
    if (isFormula || !isFenceEnd) block.rows.push(rest);
    if (end || text) touch();
  }

  // --- beginnings: each returns whether there is one, and takes what marks it ---

  function begin() {
    const isParagraphOpen = open.at(-1).name === "p";
    const indent = indentLeft();
    if (indent >= TAB) return !isParagraphOpen && beginVerbatim({ indent: TAB });
    const text = textLeft();
    const paragraph = open[depth - 1].name === "p" && open[depth - 1];
    const canNest = open.length < MAX_DEPTH;
    return (
      (canNest && skipQuoteMark() && add("blockquote")) ||
      beginHeading(text) ||
      beginFence(text, indent) ||
      beginFormula(text, indent) ||
      (paragraph && underline(paragraph, text)) ||
      beginRule(text) ||
      (canNest && beginItem(text, indent, paragraph)) ||
      (paragraph && beginTable(paragraph, text))
    );
  }

  /** h1 and h2 are the page's. */
  function beginHeading(text) {
    const [, marks, content = ""] = HEADING.exec(text) ?? [];
    return marks && add(`h${Math.min(6, marks.length + 2)}`, { text: content.trim().replace(/(?:^|[ \t])#+$/, "").trimEnd() });
  }

  function beginVerbatim(more) {
    const block = add("pre", { rows: [], ...more });
    if (block.info === undefined) addVerbatim(block);
    return block;
  }

  function beginFence(text, indent) {
    const [, end, info] = FENCE.exec(text) ?? [];
    return end && beginVerbatim({ end, info, indent });
  }

  /** A formula ends with a line that has its end; one without is text, unless it may still come. */
  function beginFormula(text, indent) {
    const [mark] = FORMULA.exec(text) ?? [];
    if (!mark) return false;
    const end = mark.replace("[", "]").replace("begin", "end");
    const others = lines.slice(position + 1, position + MAX_FORMULA_LINES);
    const last = [text.slice(mark.length), ...others].find((line) => line.includes(end));
    const mayEnd = last === undefined && others.length < MAX_FORMULA_LINES - 1;
    if (mayEnd) unclosed ??= open[1]?.start ?? start;
    const isFormula = last === undefined ? mayEnd && growth !== COMPLETE : !last.split(end)[1].trim();
    if (isFormula) beginVerbatim({ isFormula, end, indent }).isClosed = text.includes(end, 2);
    return isFormula;
  }

  /** Whether the line is the last one of a text that grows. */
  const mayGoOn = () => growth !== COMPLETE && position === lines.length - 1;

  /** While the text grows, `***` at its end may turn out to be emphasis, and `* **` an item with emphasis. */
  const beginRule = (text) => RULE.test(text) && !(mayGoOn() && !text.startsWith("---")) && add("hr");

  /** Makes a paragraph a heading. While the text grows its last line may turn out to be a list. */
  function underline(paragraph, text) {
    const [line, isFirstLevel] = UNDERLINE.exec(text) ?? [];
    const heading = line && !mayGoOn() && textOf(paragraph);
    if (!heading) return false;
    touch();
    return Object.assign(paragraph, { name: isFirstLevel ? "h3" : "h4", text: heading, rows: undefined });
  }

  /**
   * Begins a list's item, or a footnote, which is one of a list of its own. While the text grows, `3.` may become 3.14, and a
   * bullet emphasis: that is not shown yet.
   */
  function beginItem(text, indent, paragraph) {
    const [marker, number, label] = ITEM.exec(text) ?? [];
    const isEmpty = marker === text.trimEnd();
    const isSentence = paragraph && !label && (isEmpty || number > 1 || number < 1);
    const isUnfinished = marker === text && mayGoOn();
    if (!marker || isSentence || (number && isUnfinished)) return false;
    if (!label && isUnfinished) return (rest = "") === "";
    skipBlanks(indent);
    skipText(marker.length);
    const padding = isEmpty || indentLeft() > TAB ? 1 : indentLeft();
    skipBlanks(padding);
    if (label) define(`^${label}`, { number: (footnotes += 1), start }, definitions);
    const type = marker.at(-1);
    const first = label ? footnotes : Number(number); // NaN for bullets
    const attributes = { class: label && "footnotes", start: first >= 0 && first !== 1 && String(first) };
    if (open[depth - 1].type !== type) add(first >= 0 ? "ol" : "ul", { type, attributes });
    return add("li", { indent, width: label ? TAB : indent + marker.length + padding, number });
  }

  /** Makes the last line of a paragraph the head of a table. */
  function beginTable(paragraph, text) {
    const head = paragraph.rows.at(-1);
    const isTable = [head, text].every((line) => line.includes("|")) && TABLE_MARKS.test(text);
    if (!isTable || cellsOf(head).length !== cellsOf(text).length) return false;
    paragraph.rows.pop();
    return add("div", { rows: [head, text], start: paragraph.start, line: position - 1 });
  }

  // --- from the first line to the last ---

  function parseLine() {
    depth = 1;
    while (depth < open.length && continues(open[depth])) depth += 1;
    if (open[depth - 1].name === "pre") return addVerbatim(open[depth - 1]);
    while (textLeft() && begin()) if (!isContainer(open.at(-1))) return undefined;
    const text = textLeft();
    const isLazy = text && open.at(-1).name === "p";
    if (!isLazy) closeTo(depth);
    if (!text) return undefined;
    const { rows } = open.at(-1).rows ? open.at(-1) : add("p", { rows: [] });
    rows.push(text);
    return touch();
  }

  for (const line of lines) {
    rest = line.replace(/\r$/, "");
    column = 0;
    parseLine();
    start += line.length + 1;
    position += 1;
  }
  closeTo(1);
  return { blocks: open[0].below.filter(({ name }) => name), unclosed };
}
