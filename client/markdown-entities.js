/**
 * Escapes and entities. The names are those that models write: the 2,125 of HTML 5 would be larger than all else here, and
 * the browser's own decoder takes HTML, which an answer never becomes.
 */

/** Each name is followed by its code point. */
const NAMES =
  "quot34amp38lt60gt62apos39nbsp160cent162pound163yen165sect167copy169laquo171shy173reg174deg176plusmn177para182middot183" +
  "raquo187times215divide247Auml196Ouml214Uuml220szlig223agrave224ccedil231egrave232eacute233auml228ntilde241ouml246" +
  "uuml252Delta916Sigma931Omega937alpha945beta946gamma947delta948epsilon949theta952lambda955mu956pi960rho961sigma963" +
  "tau964phi966omega969ensp8194emsp8195thinsp8201ndash8211mdash8212lsquo8216rsquo8217ldquo8220rdquo8221bull8226hellip8230" +
  "euro8364trade8482larr8592uarr8593rarr8594darr8595harr8596lArr8656rArr8658hArr8660forall8704part8706exist8707isin8712" +
  "prod8719sum8721minus8722radic8730infin8734int8747asymp8776ne8800equiv8801le8804ge8805check10003";
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
