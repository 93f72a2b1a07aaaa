/** Parts: what is drawn of each kind of block. */
import { cellsOf } from "./markdown-blocks.js";
import { createPart } from "./markdown-emphasis.js";
import { unescape } from "./markdown-entities.js";

const TASK = /^\[( |x)\](?=[ \t])/gim;

const isTask = (block) => /^[☐☑]/.test(block?.text);

/** Whether blank lines are between a list's items, or between the blocks of one. */
function isLoose(list) {
  const isApart = ({ line }, place, { [place - 1]: before }) => before && line > before.last + 1;
  return list.below.some(isApart) || list.below.some((item) => item.below.some(isApart));
}

function codeFrame({ rows }, language) {
  const code = { ...createPart("code"), code: rows.join("\n"), language };
  const caption = createPart("figcaption", [createPart("span", [language])]);
  return createPart("figure", [caption, createPart("pre", [code], { tabindex: "0" })]);
}

const PARTS = {
  paragraph({ text, isGrowing }, isTight) {
    const shown = text.replace(TASK, (_, mark) => (mark === " " ? "☐" : "☑"));
    return { ...createPart(isTight || !text ? "" : "p"), text: shown, isGrowing };
  },

  /** h1 and h2 are the page's. */
  heading({ level, text, isGrowing }) {
    return { ...createPart(`h${Math.min(6, level + 2)}`), text, isGrowing };
  },

  rule: () => createPart("hr"),

  quote: ({ below }) => createPart("blockquote", below.map((block) => partOf(block))),

  list(list) {
    const { type, first, below } = list;
    const isTight = !isLoose(list);
    const items = below.map((item) => PARTS.item(item, isTight));
    const start = first !== undefined && first !== 1 && { start: first };
    return createPart(first === undefined ? "ul" : "ol", items, { ...(type === ":" && { class: "footnotes" }), ...start });
  },

  /** Paragraphs of a tight list have no element of their own; the first is the item's text. */
  item({ below }, isTight) {
    const parts = below.map((block) => partOf(block, isTight));
    const [first, ...others] = parts;
    const attributes = isTask(first) ? { class: "task" } : {};
    if (first?.name !== "") return createPart("li", parts, attributes);
    return { ...createPart("li", others, attributes), text: first.text, isGrowing: first.isGrowing };
  },

  fence: (block) => codeFrame(block, unescape(block.info).trim().split(/\s/)[0]),

  indented: ({ rows }) => codeFrame({ rows: rows.slice(0, 1 + rows.findLastIndex((row) => row.trim())) }, ""),

  formula({ rows, open, end, isClosed }) {
    const source = rows.join("\n").trimEnd();
    const tex = open.startsWith("\\begin") ? source : source.slice(open.length, -end.length).trim();
    const part = createPart("pre", [createPart("code", [source])], { class: "math", tabindex: "0" });
    return isClosed ? { ...part, formula: { tex, isDisplay: true } } : part;
  },

  /** A row keeps the cells that it has, up to as many as the head. */
  table({ rows, isGrowing }) {
    const [head, marks, ...others] = rows;
    const alignments = cellsOf(marks).map((mark) => (mark.endsWith(":") ? { class: mark[0] === ":" ? "center" : "right" } : {}));
    const rowOf = (name) => (line, place, { length }) => {
      const cells = cellsOf(line).slice(0, alignments.length);
      const isLast = isGrowing && place === length - 1;
      return createPart("tr", cells.map((text, column) => ({ ...createPart(name, [], alignments[column]), text, isGrowing: isLast })));
    };
    const below = [createPart("thead", [head].map(rowOf("th"))), createPart("tbody", others.map(rowOf("td")))];
    const table = createPart("table", others.length ? below : below.slice(0, 1));
    return createPart("div", [table], { class: "table", tabindex: "0" });
  },
};

/**
 * Returns what is drawn of a block: `{ name, below, attributes }`, with the `text` that is parsed when it is drawn, the `code`
 * that is written, or the `formula` that is rendered. Without a name what it has is its parent's.
 */
export function partOf(block, isTight) {
  return { ...PARTS[block.kind](block, isTight), start: block.start };
}
