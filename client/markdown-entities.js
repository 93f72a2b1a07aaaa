/**
 * Escapes and entities. The names are those that models write: the 2,125 of HTML 5 would be larger than all else here, and
 * the browser's own decoder takes HTML, which an answer never becomes.
 */

/** Each name is followed by its code point. */
const NAMES =
  "quot34amp38apos39lt60gt62nbsp160copy169laquo171reg174deg176plusmn177middot183raquo187times215auml228eacute233" +
  "ouml246divide247uuml252alpha945beta946pi960ndash8211mdash8212lsquo8216rsquo8217ldquo8220rdquo8221bull8226hellip8230" +
  "euro8364trade8482larr8592uarr8593rarr8594darr8595harr8596rArr8658sum8721minus8722infin8734ne8800" +
  "le8804ge8805";
const ENTITIES = new Map(Array.from(NAMES.matchAll(/(\D+)(\d+)/g), ([, name, code]) => [name, Number(code)]));

/** An escape or an entity. */
export const CHARACTER = /\\[!-/:-@[-`{-~]|&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|\w+);/g;

/** Returns the character that an escape or an entity stands for; a name that is not known stays as it is. */
export function characterOf(token) {
  if (token[0] === "\\") return token[1];
  const name = token.slice(1, -1);
  const isNumber = name[0] === "#";
  const code = isNumber ? Number(name.slice(1).replace(/^x/i, "0x")) : ENTITIES.get(name);
  if (code && code < 0x110000) return String.fromCodePoint(code).toWellFormed();
  return isNumber ? "\ufffd" : token;
}

/** Returns a text with the characters that its escapes and entities stand for. */
export function unescape(text) {
  return text.replace(CHARACTER, characterOf);
}
