/**
 * Syntax highlighting: comments, strings, numbers, keywords and calls. No grammar, but what the common languages share;
 * code of a language that is not known here stays as it is.
 *
 * A line is tokenized by its text and by what was open before it, a comment or a string of several lines, so that code
 * which grows has only its last line tokenized again. The kinds of tokens are classes of the page's style sheet: `c` a
 * comment, `s` a string, `n` a number, `k` a keyword, `f` a function that is called.
 */

const MAX_LINE_CHARACTERS = 2000; // a longer line is data, not code
const NONE_OPEN = -1;

// --- languages -------------------------------------------------------------------------------------------------------

const wordsOf = (...lists) => new Set(lists.join(" ").split(" "));

const COMMON_WORDS = "if else for while do break continue return switch case default try catch finally throw true false null new class";
const C_WORDS = "int char float double long short void bool unsigned signed const static struct enum union typedef sizeof goto extern inline volatile auto";
const CLASS_WORDS = "public private protected interface extends implements abstract final import package static this super void int long double float boolean char byte short enum var instanceof override";
const SCRIPT_WORDS = "let const var function async await of in import export from as extends static get set this super typeof instanceof delete void yield undefined type interface implements enum readonly declare namespace keyof";

const DOUBLE_QUOTED = `"(?:[^"\\\\]|\\\\.)*"?`;
const SINGLE_QUOTED = `'(?:[^'\\\\]|\\\\.)*'?`;
const CHARACTER = `'(?:[^'\\\\]|\\\\[^']*|\\\\')'`; // in languages where ' also begins a lifetime, or separates digits
const NEVER = "(?!)"; // matches nothing

/**
 * Returns a language.
 *
 * @param {object} syntax
 * @param {[begin: string, end: string, kind: string][]} [syntax.multiline] tokens that may reach over several lines
 * @param {string} [syntax.lineComment] pattern of what begins a comment that ends with its line
 * @param {string[]} [syntax.strings] patterns
 * @param {Set<string>} syntax.words its keywords
 */
function defineLanguage({ multiline = [], lineComment, strings = [DOUBLE_QUOTED, SINGLE_QUOTED], words }) {
  return { multiline, words, pattern: tokenPattern(multiline, lineComment, strings) };
}

function tokenPattern(multiline, lineComment = NEVER, strings) {
  const openings = multiline.map(([begin]) => escapePattern(begin)).join("|") || NEVER;
  const alternatives = [
    `(?<open>${openings})`,
    `(?<c>(?:${lineComment}).*)`,
    `(?<s>${strings.join("|")})`,
    "(?<n>(?<![\\p{L}_$])\\d[\\w.]*)",
    "[\\p{L}_$][\\p{L}\\p{N}_$]*",
  ];
  return new RegExp(alternatives.join("|"), "gu");
}

function escapePattern(text) {
  return text.replace(/[/*+.()[\]{}^$|\\?]/g, "\\$&");
}

const BLOCK_COMMENT = ["/*", "*/", "c"];
const TEMPLATE = ["`", "`", "s"];

const script = defineLanguage({
  multiline: [BLOCK_COMMENT, TEMPLATE],
  lineComment: "//",
  words: wordsOf(COMMON_WORDS, SCRIPT_WORDS),
});
const python = defineLanguage({
  multiline: [['"""', '"""', "s"], ["'''", "'''", "s"]],
  lineComment: "#",
  words: wordsOf("and as assert async await break class continue def del elif else except finally for from global if import in is lambda match case nonlocal not or pass raise return try while with yield None True False self"),
});
const clike = defineLanguage({
  multiline: [BLOCK_COMMENT],
  lineComment: "//",
  strings: [DOUBLE_QUOTED, CHARACTER],
  words: wordsOf(COMMON_WORDS, C_WORDS, "namespace using template typename virtual override nullptr delete constexpr public private protected this operator include define ifdef endif"),
});
const typed = defineLanguage({
  multiline: [BLOCK_COMMENT],
  lineComment: "//",
  strings: [DOUBLE_QUOTED, CHARACTER],
  words: wordsOf(COMMON_WORDS, CLASS_WORDS, "fun val when object data sealed companion let in is as func guard struct protocol extension string decimal namespace using get set async await record trait def match with lazy"),
});
const rust = defineLanguage({
  multiline: [BLOCK_COMMENT],
  lineComment: "//",
  strings: [DOUBLE_QUOTED, CHARACTER],
  words: wordsOf(COMMON_WORDS, "fn let mut pub impl trait struct enum match mod use crate self Self super where async await move ref loop in as dyn unsafe const static type Some None Ok Err"),
});
const go = defineLanguage({
  multiline: [BLOCK_COMMENT, TEMPLATE],
  lineComment: "//",
  strings: [DOUBLE_QUOTED, CHARACTER],
  words: wordsOf(COMMON_WORDS, "func var const type struct interface map chan go defer select range package import nil string int bool error byte rune fallthrough"),
});
const php = defineLanguage({
  multiline: [BLOCK_COMMENT],
  lineComment: "//|#",
  words: wordsOf(COMMON_WORDS, CLASS_WORDS, "function echo foreach as use namespace fn match trait require include array string self"),
});
const shell = defineLanguage({
  lineComment: "(?<![^\\s])#",
  words: wordsOf("if then else elif fi for in do done while until case esac function return export local echo exit set cd source sudo"),
});
const hashed = defineLanguage({ lineComment: "(?<![^\\s])#", words: wordsOf("true false null yes no on off") });
const ruby = defineLanguage({
  lineComment: "#",
  words: wordsOf("def end if elsif else unless while until do class module return yield begin rescue ensure raise require include attr_accessor nil true false self then case when in and or not lambda proc puts"),
});
const sql = defineLanguage({
  multiline: [BLOCK_COMMENT],
  lineComment: "--",
  words: wordsOf("select from where and or not in is null as join left right inner outer on group by order having limit offset insert into values update set delete create table index view drop alter add primary key foreign references unique default distinct union all case when then else end exists between like with returning begin commit rollback integer text varchar boolean timestamp"),
});
const lua = defineLanguage({
  multiline: [["--[[", "]]", "c"], ["[[", "]]", "s"]],
  lineComment: "--",
  words: wordsOf("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"),
});
const markup = defineLanguage({ multiline: [["<!--", "-->", "c"]], strings: [DOUBLE_QUOTED], words: wordsOf("") });
const style = defineLanguage({
  multiline: [BLOCK_COMMENT],
  words: wordsOf("important media supports keyframes import from to var calc"),
});
const json = defineLanguage({ strings: [DOUBLE_QUOTED], words: wordsOf("true false null") });

const LANGUAGES = new Map(
  [
    [script, "js javascript mjs cjs jsx ts typescript tsx"],
    [python, "py python python3 pyi"],
    [clike, "c h cpp c++ cc hpp objc arduino glsl"],
    [typed, "java kotlin kt swift cs csharp c# scala dart groovy"],
    [rust, "rust rs"],
    [go, "go golang"],
    [php, "php"],
    [shell, "sh bash shell zsh console fish powershell"],
    [hashed, "yaml yml toml ini conf dockerfile makefile make properties env r perl elixir"],
    [ruby, "ruby rb"],
    [sql, "sql postgresql mysql sqlite plsql"],
    [lua, "lua"],
    [markup, "html xml svg vue svelte"],
    [style, "css scss less"],
    [json, "json jsonc json5"],
  ].flatMap(([language, names]) => names.split(" ").map((name) => [name, language])),
);

// --- a line ----------------------------------------------------------------------------------------------------------

/**
 * Returns the tokens of a line. No pattern looks at a character more than a bounded number of times, whatever the line is.
 *
 * @param {string} line
 * @param {string} name the language's, as a fence of Markdown has it
 * @param {number} [open] what is open before the line: an index of the language's `multiline`, or -1
 * @returns {{ tokens: [text: string, kind: string][], open: number }} the kind is empty for plain text; `open` is what is
 *   open after the line
 */
export function tokenizeLine(line, name, open = NONE_OPEN) {
  const language = LANGUAGES.get(name.toLowerCase());
  if (!language || line.length > MAX_LINE_CHARACTERS) return { tokens: line ? [[line, ""]] : [], open };
  const tokens = [];
  let position = 0;
  while (position < line.length) {
    const isOpen = open !== NONE_OPEN;
    const token = isOpen ? restOfMultiline(line, position, language, open) : nextToken(line, position, language);
    if (tokens.at(-1)?.[1] === token.kind) tokens.at(-1)[0] += token.text;
    else tokens.push([token.text, token.kind]);
    position += token.text.length;
    open = token.open;
  }
  return { tokens, open };
}

/** Returns the token that was opened before, up to its end or the line's. */
function restOfMultiline(line, position, language, open) {
  const [, end, kind] = language.multiline[open];
  const place = line.indexOf(end, position);
  if (place < 0) return { text: line.slice(position), kind, open };
  return { text: line.slice(position, place + end.length), kind, open: NONE_OPEN };
}

function nextToken(line, position, language) {
  language.pattern.lastIndex = position;
  const found = language.pattern.exec(line);
  if (found?.index !== position) return { text: line.slice(position, found?.index), kind: "", open: NONE_OPEN };
  const { 0: text, groups } = found;
  if (groups.open === undefined) return { text, kind: kindOf(found, language), open: NONE_OPEN };
  const open = language.multiline.findIndex(([begin]) => begin === text);
  return { text, kind: language.multiline[open][2], open };
}

function kindOf({ 0: text, groups, index, input }, language) {
  const kind = ["c", "s", "n"].find((name) => groups[name] !== undefined);
  if (kind) return kind;
  const word = language === sql ? text.toLowerCase() : text;
  if (language.words.has(word)) return "k";
  return input[index + text.length] === "(" ? "f" : "";
}

// --- to the page -----------------------------------------------------------------------------------------------------

const writtenIn = new WeakMap(); // code element -> { language, lines, openBefore }: what it shows

/**
 * Writes code into its element, where some of it may stand already: the `write` of markdown.js. Each line has a
 * `span.line`, so that only the last is laid out again.
 *
 * @param {Element} code
 * @param {string} text all of it
 * @param {string} language
 */
export function writeHighlighted(code, text, language) {
  const before = writtenIn.get(code);
  const oldLines = before?.language === language ? before.lines : [];
  const lines = text.split("\n").map((line, index, { length }) => (index < length - 1 ? `${line}\n` : line));
  let kept = 0;
  while (kept < oldLines.length && oldLines[kept] === lines[kept]) kept += 1;
  while (code.childNodes.length > kept) code.lastChild.remove();
  const openBefore = (before?.openBefore ?? [NONE_OPEN]).slice(0, kept + 1);
  for (const line of lines.slice(kept)) {
    const { tokens, open } = tokenizeLine(line, language, openBefore.at(-1));
    code.append(createLine(tokens, code.ownerDocument));
    openBefore.push(open);
  }
  writtenIn.set(code, { language, lines, openBefore });
}

function createLine(tokens, document) {
  const line = document.createElement("span");
  line.setAttribute("class", "line");
  for (const [text, kind] of tokens) {
    if (!kind) {
      line.append(text);
      continue;
    }
    const token = document.createElement("span");
    token.setAttribute("class", kind);
    token.append(text);
    line.append(token);
  }
  return line;
}
