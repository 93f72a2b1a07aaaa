/**
 * An answer of `<ask-bot>`, with the thinking before it, and their style. It is more than half of all there is, and who never
 * asks does not need it: the element loads it when somebody types, or there is a conversation already.
 */
import { markBlocks } from "./growing-blocks.js";
import { update } from "./markdown.js";
import { drawThinking } from "./thinking.js";

export const CSS = `
[part=thought] { margin-block-end: 0.75em; }
[part=thought-label] { inline-size: fit-content; cursor: pointer; }
[part=thought-text] { padding-inline-start: 1em; border-inline-start: 1px solid var(--line); white-space: pre-wrap; }
[part=answer] :is(p, ul, ol, blockquote, figure, .table, pre.math) { margin: 0 0 0.9em; }
[part=answer] > :last-child, li > :last-child, blockquote > :last-child { margin-block-end: 0; }
:is(h3, h4, h5, h6) { margin: 1.4em 0 0.5em; font-size: 1.05em; line-height: 1.3; }
[part=answer] > :first-child { margin-block-start: 0; }
ul, ol { padding-inline-start: 1.6em; }
li + li, li > :is(ul, ol) { margin-block-start: 0.35em; }
li::marker, blockquote { color: var(--soft); }
.task { list-style: none; margin-inline-start: -1.35em; }
blockquote { padding-inline-start: 1em; border-inline-start: 2px solid var(--cursor); }
hr { border: 0; border-block-start: 1px solid var(--line); margin: 1.5em 0; }
a { color: var(--accent); text-underline-offset: 0.18em; }
figure, pre, code { direction: ltr; text-align: left; }
code, figcaption { font: 0.875em/1.6 ui-monospace, monospace; }
code, figure, pre.math { background: var(--code); border-radius: 0.6em; }
code { padding: 0.1em 0.35em; border-radius: 0.3em; }
code.math { display: inline-block; max-inline-size: 100%; }
figcaption { padding: 0.5em 1.15em 0; color: var(--soft); }
pre { margin: 0; padding: 0.6em 1em 0.8em; tab-size: 4; }
pre, .table { overflow: auto; }
pre code { padding: 0; background: none; }
table { border-collapse: collapse; font-size: 0.925em; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4em 1.4em 0.4em 0; border-block-end: 1px solid var(--line); text-align: start; vertical-align: top; }
th { border-color: var(--soft); }
.right { text-align: right; }
.center { text-align: center; }
.footnotes { font-size: 0.875em; color: var(--soft); border-block-start: 1px solid var(--line); padding-block-start: 0.75em; }
@media print {
  h3 { break-after: avoid; }
  pre { white-space: pre-wrap; }
  .table { overflow: visible; }
}
`;

/**
 * Draws what a model has said.
 *
 * @param {{ thought: HTMLDetailsElement, answer: HTMLElement }} parts of the turn's article
 * @param {import("./rows.js").Row} row
 * @param {object} options
 * @param {(name: string, values?: object) => string} options.translate
 * @param {(tex: string, display: boolean) => Node | null | undefined} [options.renderMath]
 */
export function drawAnswer({ thought, answer }, row, { translate, renderMath }) {
  drawThinking(thought, row, (name, seconds) => translate(name, { seconds }));
  update(answer, row.answer, { renderMath, isGrowing: row.status !== "ended" });
  markBlocks(answer, row.status === "answering");
}
