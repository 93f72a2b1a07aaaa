/**
 * Escapes and entities. The names are those that models write: the 2,125 of HTML 5 would be larger than all else here, and
 * the browser's own decoder takes HTML, which an answer never becomes.
 */

/** Each name is followed by its character. */
const NAMES =
  "quot\"amp&lt<gt>apos'nbsp\u00a0hellip…mdash—ndash–lsquo‘rsquo’ldquo“rdquo”laquo«raquo»bull•middot·deg°times×divide÷plusmn±minus−" +
  "larr←uarr↑rarr→darr↓harr↔lArr⇐rArr⇒hArr⇔ne≠le≤ge≥asymp≈equiv≡infin∞sum∑prod∏int∫radic√part∂isin∈forall∀exist∃" +
  "alphaαbetaβgammaγdeltaδDeltaΔepsilonεthetaθlambdaλmuμpiπsigmaσphiφomegaωOmegaΩ" +
  "copy©reg®trade™euro€pound£yen¥cent¢sect§para¶check✓sup2²sup3³frac12½" +
  "aumläoumlöuumlüAumlÄOumlÖUumlÜszligßeacuteéegraveèccedilçshy\u00adensp\u2002emsp\u2003thinsp\u2009";

const ENTITIES = new Map(Array.from(NAMES.matchAll(/(\w+)(\W)/g), ([, name, character]) => [name, character]));

/** An escape or an entity. */
export const CHARACTER = /\\[!-/:-@[-`{-~]|&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|\w+);/g;

/** Returns the character that an escape or an entity stands for; a name that is not known stays as it is. */
export function characterOf(token) {
  if (token[0] === "\\") return token[1];
  if (token[1] !== "#") return ENTITIES.get(token.slice(1, -1)) ?? token;
  const code = Number(token.slice(2, -1).replace(/^x/i, "0x"));
  return code && code < 0x110000 ? String.fromCodePoint(code).toWellFormed() : "\ufffd";
}

/** Returns a text with the characters that its escapes and entities stand for. */
export function unescape(text) {
  return text.replace(CHARACTER, characterOf);
}
