/** Emphasis: runs of marks that begin and end it, as in CommonMark, and as Korean, Japanese and Chinese need it. */
import { describePart, IN_WORD } from "./markdown-links.js";

const MAX_DEPTH = 32; // of elements in each other

const BLANK = /^\s/;
const PUNCTUATION = /^[\p{P}\p{S}]/u;
const CASELESS = /^[\p{Lo}\u3000-\u30ff\uff00-\uffef]/u; // letters of scripts without case, and what is written with them

/**
 * Whether marks belong to the text on one side of them. By CommonMark, marks between punctuation and a letter belong to
 * the letter's side; but in Korean, Japanese and Chinese a word goes on without a blank, as in **“quoted”**는.
 */
function belongsTo(inner, outer) {
  if (BLANK.test(inner)) return false;
  const isPunctuation = PUNCTUATION.test(inner) && !CASELESS.test(inner);
  return !isPunctuation || [BLANK, PUNCTUATION, CASELESS].some((pattern) => pattern.test(outer));
}

/**
 * Returns the node of a run of marks.
 *
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @param {number} [growth] how the text may go on
 */
export function runOf(text, start, end, growth) {
  const mark = text[start];
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1) ?? " ";
  const [after = " "] = text.slice(end, end + 2);
  const begins = belongsTo(after, before);
  const ends = belongsTo(before, after);
  const isLetter = mark === "_"; // in words
  return {
    mark,
    length: end - start,
    left: end - start,
    isUnfinished: growth === IN_WORD && end === text.length,
    begins: begins && !(isLetter && ends && !PUNCTUATION.test(before)),
    ends: ends && !(isLetter && begins && !PUNCTUATION.test(after)),
  };
}

/** Whether one run may end what another began. A run that may do both is rather used up by its like: `**a*b**`. */
function fits(opening, closing) {
  const isAmbiguous = opening.ends || closing.begins;
  const isUneven = (opening.length + closing.length) % 3 === 0 && closing.length % 3 !== 0;
  return opening.mark === closing.mark && !(isAmbiguous && isUneven);
}

/**
 * Returns the parts of nodes: emphasis has its element, a run without its like is text, and so is an address or an image in
 * a link. A run that may go on ends no longer one: to `**a*` another mark will come. It is linear, as no kind of run is
 * sought twice below the same place.
 *
 * @param {Array} nodes strings, parts, `{ inLink, parts }` of addresses and images, and what `runOf` returns
 * @param {boolean} [isInLink]
 */
export function resolveEmphasis(nodes, isInLink) {
  const resolved = []; // with the runs that may still begin emphasis
  const sought = {}; // kind of closing run -> how many nodes had been read when no opening fitted
  let openings = []; // of these runs

  /** Ends what a run began, with marks of another. If that is too deep, so is what the other openings begin. */
  function end(place, run) {
    const opening = openings[place];
    const used = Math.min(2, opening.left, run.left);
    const below = join(resolved.slice(opening.place + 1), isInLink);
    const depth = below.reduce((deepest, part) => Math.max(deepest, part.depth ?? 0), 0) + 1;
    if (depth > MAX_DEPTH) openings = [];
    else {
      opening.left -= used;
      run.left -= used;
      openings.length = place + Math.sign(opening.left);
      resolved.length = opening.place + Math.sign(opening.left);
      const name = run.mark === "~" ? "del" : used === 2 ? "strong" : "em";
      resolved.push(describePart(name, below, {}, { depth }));
    }
  }

  nodes.forEach((node, order) => {
    const kind = node.mark + node.begins + (node.length % 3);
    const first = sought[kind] ?? -1;
    while (node.ends && node.left) {
      const place = openings.findLastIndex((opening) => opening.order <= first || fits(opening, node));
      if (!(openings[place]?.order > first) || (node.isUnfinished && openings[place].left > node.left)) break;
      end(place, node);
    }
    if (node.ends && node.left) sought[kind] = order - 1;
    if (node.begins && node.left) openings.push(Object.assign(node, { place: resolved.length, order }));
    resolved.push(node);
  });
  return join(resolved, isInLink);
}

/** Returns nodes as parts, and one string where there were several. */
function join(nodes, isInLink) {
  const joined = [];
  for (const node of nodes) {
    const parts = node.mark ? [node.mark.repeat(node.left)] : !node.parts ? [node] : isInLink ? node.inLink : node.parts;
    for (const part of parts) {
      if (typeof part === "string" && typeof joined.at(-1) === "string") joined.push(joined.pop() + part);
      else if (part) joined.push(part);
    }
  }
  return joined;
}
