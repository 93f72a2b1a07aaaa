/** Emphasis: runs of marks that begin and end it, as in CommonMark, and as Korean, Japanese and Chinese need it. */

const MAX_DEPTH = 32; // of elements in each other

/**
 * Returns the description of an element.
 *
 * @param {string} name the element's
 * @param {Array} [below] strings, and parts or blocks
 * @param {object} [attributes]
 */
export function createPart(name, below = [], attributes = {}) {
  return { name, below, attributes };
}

/** Returns the text of parts without their elements. */
export function textOf(parts) {
  return parts.map((part) => part.below ? textOf(part.below) : part).join("");
}

const BLANK = /^\s/;
const CJK = /^[\p{sc=Hang}\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Bopo}\u3000-\u303f\uff00-\uffef]/u;
const PUNCTUATION = /^[\p{P}\p{S}]/u;

const isPunctuation = (character) => PUNCTUATION.test(character) && !CJK.test(character);

/**
 * Whether marks belong to the text on one side of them. By CommonMark, marks between punctuation and a letter belong to
 * the letter's side; but in Korean, Japanese and Chinese a word goes on without a blank, as in **“quoted”**는.
 */
function belongsTo(inner, outer) {
  if (BLANK.test(inner)) return false;
  return !isPunctuation(inner) || BLANK.test(outer) || PUNCTUATION.test(outer) || CJK.test(outer);
}

/**
 * Returns the node of a run of marks.
 *
 * @param {string} text
 * @param {number} start
 * @param {number} end
 */
export function runOf(text, start, end) {
  const mark = text[start];
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1) ?? " ";
  const [after = " "] = text.slice(end, end + 2);
  const [opens, closes] = [belongsTo(after, before), belongsTo(before, after)];
  const isStrict = mark === "_"; // it is a letter in words
  return {
    mark,
    length: end - start,
    left: end - start,
    opens: opens && (!isStrict || !closes || PUNCTUATION.test(before)),
    closes: closes && (!isStrict || !opens || PUNCTUATION.test(after)),
  };
}

/** Whether one run may end what another began. A run that may do both is rather used up by its like: `**a*b**`. */
function fits(opening, closing) {
  if (opening.mark !== closing.mark) return false;
  const isAmbiguous = opening.closes || closing.opens;
  return !isAmbiguous || (opening.length + closing.length) % 3 !== 0 || (opening.length % 3 === 0 && closing.length % 3 === 0);
}

function elementOf(mark, count) {
  if (mark === "~") return "del";
  return count === 2 ? "strong" : "em";
}

/** Resolves the runs among some nodes. It is linear, as no kind of run is sought twice below the same place. */
class EmphasisResolver {
  parts = []; // with the runs that may still begin emphasis
  openings = []; // of these runs
  sought = new Map(); // kind of closing run -> how many openings had been seen when none fitted
  seen = 0;

  add(node) {
    if (!node.mark) return this.parts.push(node);
    if (node.closes) this.close(node);
    if (!node.left) return;
    if (node.opens) this.openings.push(Object.assign(node, { place: this.parts.length, order: (this.seen += 1) }));
    this.parts.push(node);
  }

  close(run) {
    const kind = run.mark + run.opens + (run.length % 3);
    const first = this.sought.get(kind) ?? 0;
    while (run.left) {
      const place = this.openings.findLastIndex((opening) => opening.order <= first || fits(opening, run));
      const isFound = this.openings[place]?.order > first;
      if (isFound) this.end(place, run);
      else return void this.sought.set(kind, this.seen);
    }
  }

  /** Ends the emphasis that a run began, with marks of another; if it is too deep, none that is open has an end. */
  end(place, run) {
    const opening = this.openings[place];
    const used = Math.min(2, opening.left, run.left);
    const below = join(this.parts.slice(opening.place + 1));
    const depth = below.reduce((deepest, part) => Math.max(deepest, part.depth ?? 0), 0) + 1;
    this.openings.length = depth > MAX_DEPTH ? 0 : place + 1;
    if (depth > MAX_DEPTH) return;
    this.parts.length = opening.place + 1;
    opening.left -= used;
    run.left -= used;
    if (!opening.left) {
      this.parts.pop();
      this.openings.pop();
    }
    this.parts.push({ ...createPart(elementOf(run.mark, used), below), depth });
  }
}

/** Returns nodes with the runs that are left as text, and one string where there were several. */
function join(nodes) {
  const joined = [];
  for (const node of nodes) {
    const part = node.mark ? node.mark.repeat(node.left) : node;
    if (typeof part === "string" && typeof joined.at(-1) === "string") joined.push(joined.pop() + part);
    else if (part) joined.push(part);
  }
  return joined;
}

/**
 * Returns the parts of nodes: emphasis has its element, and a run without its like is text.
 *
 * @param {Array} nodes strings, parts, and what `runOf` returns
 */
export function resolveEmphasis(nodes) {
  const resolver = new EmphasisResolver();
  for (const node of nodes) resolver.add(node);
  return join(resolver.parts);
}
