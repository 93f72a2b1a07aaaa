/** Growing blocks: an answer's blocks as a reader sees them, each in its own direction, the last one with a cursor. */

const DIRECTED = "p, li, h3, h4, h5, h6, blockquote, th, td"; // what Markdown is drawn as, and has its own direction
const GROWING = `${DIRECTED}, ul, ol, pre, pre code, .line, div, figure, table, thead, tbody, tr`;

/** Returns the block at whose end the next word will stand. */
function lastBlockOf(element) {
  let block = element;
  for (;;) {
    const cells = block.matches("tr") ? [...block.cells].filter(({ firstChild }) => firstChild) : [];
    const next = cells.at(-1) ?? block.lastElementChild;
    if (!next?.matches(GROWING)) return block;
    block = next;
  }
}

/**
 * Gives each block of an answer its direction, and the block that grows, if one does, the attribute `data-growing`: to be
 * called after each drawing.
 *
 * @param {Element} element has the answer
 * @param {boolean} isGrowing
 */
export function markBlocks(element, isGrowing) {
  for (const block of element.querySelectorAll(`:is(${DIRECTED}):not([dir])`)) block.dir = "auto";
  element.querySelector("[data-growing]")?.removeAttribute("data-growing");
  if (isGrowing) lastBlockOf(element).setAttribute("data-growing", "");
}
