/**
 * Escapes and entities. The names are those of HTML 4 without its rarest: the 2,125 of HTML 5 would be most of this
 * package, and the browser's own decoder takes HTML, which an answer never becomes.
 */

const LATIN_1 = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest";
const LATIN_LETTERS = "Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN";
const GREEK_LETTERS = "Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho sigmaf Sigma Tau Upsilon Phi Chi Psi Omega";
const OTHERS =
  'quot " amp & lt < gt > apos \' szlig ß divide ÷ hellip … mdash — ndash – lsquo ‘ rsquo ’ sbquo ‚ ldquo “ rdquo ” bdquo „ bull • prime ′ Prime ″ ' +
  "trade ™ euro € larr ← uarr ↑ rarr → darr ↓ harr ↔ lArr ⇐ rArr ⇒ hArr ⇔ forall ∀ part ∂ exist ∃ empty ∅ nabla ∇ isin ∈ notin ∉ " +
  "prod ∏ sum ∑ minus − radic √ prop ∝ infin ∞ ang ∠ and ∧ or ∨ cap ∩ cup ∪ int ∫ there4 ∴ asymp ≈ ne ≠ equiv ≡ le ≤ ge ≥ sub ⊂ sup ⊃ " +
  "sdot ⋅ dagger † permil ‰ check ✓ cross ✗ ensp \u2002 emsp \u2003 thinsp \u2009 zwnj \u200c zwj \u200d";

const inOrder = (names, first) => names.split(" ").map((name, place) => [name, String.fromCodePoint(first + place)]);

const ENTITIES = new Map([
  ...inOrder(LATIN_1, 0xa0),
  ...inOrder(LATIN_LETTERS.toLowerCase(), 0xe0),
  ...inOrder(LATIN_LETTERS, 0xc0),
  ...inOrder(GREEK_LETTERS.toLowerCase(), 0x3b1),
  ...inOrder(GREEK_LETTERS, 0x391),
  ...Array.from(OTHERS.matchAll(/(\w+) (.)/gu), ([, name, character]) => [name, character]),
]);

export const ESCAPE = /\\[!-/:-@[-`{-~]/;
export const ENTITY = /&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[a-zA-Z][a-zA-Z\d]{1,31});/;
const ESCAPE_OR_ENTITY = new RegExp(`${ESCAPE.source}|${ENTITY.source}`, "g");

/** Returns the character that an escape or an entity stands for; a name that is not known stays as it is. */
export function characterOf(token) {
  if (token[0] === "\\") return token[1];
  const [, hex, decimal, name] = /^&(?:#x(.+)|#(\d+)|(.+));$/i.exec(token);
  if (name) return ENTITIES.get(name) ?? token;
  const code = hex ? parseInt(hex, 16) : Number(decimal);
  const isCharacter = code > 0 && code < 0x110000 && (code & ~0x7ff) !== 0xd800;
  return isCharacter ? String.fromCodePoint(code) : "\ufffd";
}

/** Returns a text with the characters that its escapes and entities stand for. */
export function unescape(text) {
  return text.replace(ESCAPE_OR_ENTITY, characterOf);
}
