/**
 * Code, coloured: comments, strings, numbers, keywords, calls. No grammar, but what the common languages share, to be
 * read by an eye and not by a machine; a language that is not known here stays as it is.
 *
 * A line is made of its text and of what was open before it, so that code which grows has only its last line made anew.
 */

const WIDE = 2000; // characters of a line, beyond which it is data, not code

// --- languages -------------------------------------------------------------------------------------------------------

const set = (...words) => new Set(words.join(" ").split(" "));

const BASE = "if else for while do break continue return switch case default try catch finally throw true false null new class";
const C = "int char float double long short void bool unsigned signed const static struct enum union typedef sizeof goto extern inline volatile auto";
const TYPED = "public private protected interface extends implements abstract final import package static this super void int long double float boolean char byte short enum var instanceof override";
const JS = "let const var function async await of in import export from as extends static get set this super typeof instanceof delete void yield undefined type interface implements enum readonly declare namespace keyof";

const STRING = `"(?:[^"\\\\]|\\\\.)*"?`;
const SINGLE = `'(?:[^'\\\\]|\\\\.)*'?`;
const CHARACTER = `'(?:[^'\\\\]|\\\\[^']*|\\\\')'`; // where ' also begins a lifetime, or separates digits

/** `open`: what reaches over lines, as [begin, end, class]; `note`: what begins a comment up to the line's end. */
const family = ({ open = [], note, strings = [STRING, SINGLE], words }) => ({ open, words, pattern: patternOf(open, note, strings) });

const escaped = (text) => text.replace(/[/*+.()[\]{}^$|\\?]/g, "\\$&");

function patternOf(open, note, strings) {
  const parts = [
    `(?<open>${open.map(([begin]) => escaped(begin)).join("|") || "(?!)"})`,
    `(?<c>(?:${note ?? "(?!)"}).*)`,
    `(?<s>${strings.join("|")})`,
    "(?<n>(?<![\\p{L}_$])\\d[\\w.]*)",
    "[\\p{L}_$][\\p{L}\\p{N}_$]*",
  ];
  return new RegExp(parts.join("|"), "gu");
}

const BLOCK = ["/*", "*/", "c"];
const TICK = ["`", "`", "s"];

const script = family({ open: [BLOCK, TICK], note: "//", words: set(BASE, JS) });
const python = family({
  open: [['"""', '"""', "s"], ["'''", "'''", "s"]],
  note: "#",
  words: set("and as assert async await break class continue def del elif else except finally for from global if import in is lambda match case nonlocal not or pass raise return try while with yield None True False self"),
});
const clike = family({ open: [BLOCK], note: "//", strings: [STRING, CHARACTER], words: set(BASE, C, "namespace using template typename virtual override nullptr delete constexpr public private protected this operator include define ifdef endif") });
const typed = family({ open: [BLOCK], note: "//", strings: [STRING, CHARACTER], words: set(BASE, TYPED, "fun val when object data sealed companion let in is as func guard struct protocol extension string decimal namespace using get set async await record trait def match with lazy") });
const rust = family({ open: [BLOCK], note: "//", strings: [STRING, CHARACTER], words: set(BASE, "fn let mut pub impl trait struct enum match mod use crate self Self super where async await move ref loop in as dyn unsafe const static type Some None Ok Err") });
const go = family({ open: [BLOCK, TICK], note: "//", strings: [STRING, CHARACTER], words: set(BASE, "func var const type struct interface map chan go defer select range package import nil string int bool error byte rune fallthrough") });
const php = family({ open: [BLOCK], note: "//|#", words: set(BASE, TYPED, "function echo foreach as use namespace fn match trait require include array string self") });
const shell = family({ note: "(?<![^\\s])#", words: set("if then else elif fi for in do done while until case esac function return export local echo exit set cd source sudo") });
const hashed = family({ note: "(?<![^\\s])#", words: set("true false null yes no on off") });
const ruby = family({ note: "#", words: set("def end if elsif else unless while until do class module return yield begin rescue ensure raise require include attr_accessor nil true false self then case when in and or not lambda proc puts") });
const sql = family({ open: [BLOCK], note: "--", words: set("select from where and or not in is null as join left right inner outer on group by order having limit offset insert into values update set delete create table index view drop alter add primary key foreign references unique default distinct union all case when then else end exists between like with returning begin commit rollback integer text varchar boolean timestamp") });
const lua = family({ open: [["--[[", "]]", "c"], ["[[", "]]", "s"]], note: "--", words: set("and break do else elseif end false for function goto if in local nil not or repeat return then true until while") });
const markup = family({ open: [["<!--", "-->", "c"]], strings: [STRING], words: set("") });
const style = family({ open: [BLOCK], words: set("important media supports keyframes import from to var calc") });
const json = family({ strings: [STRING], words: set("true false null") });

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
 * A line as [text, class] pairs, the class empty for plain text, and what is open after it (a place in the language's
 * `open`, or -1). No pattern looks at a letter more than a bounded number of times, whatever the line says.
 */
export function colour(line, name, open = -1) {
  const language = LANGUAGES.get(name.toLowerCase());
  if (!language || line.length > WIDE) return { parts: line ? [[line, ""]] : [], open };
  const parts = [];
  for (let at = 0; at < line.length; ) {
    const piece = open < 0 ? next(line, at, language) : rest(line, at, language.open[open]);
    if (parts.at(-1)?.[1] === piece.kind) parts.at(-1)[0] += piece.text;
    else parts.push([piece.text, piece.kind]);
    at += piece.text.length;
    open = piece.open ?? (piece.ended ? -1 : open);
  }
  return { parts, open };
}

/** Of what was opened before: up to its end, or the line's. */
function rest(line, at, [, end, kind]) {
  const place = line.indexOf(end, at);
  return { text: line.slice(at, place < 0 ? undefined : place + end.length), kind, ended: place >= 0 };
}

function next(line, at, language) {
  language.pattern.lastIndex = at;
  const found = language.pattern.exec(line);
  if (found?.index !== at) return { text: line.slice(at, found?.index), kind: "" };
  const { 0: text, groups } = found;
  if (groups.open === undefined) return { text, kind: kindOf(found, language) };
  const open = language.open.findIndex(([begin]) => begin === text);
  return { text, kind: language.open[open][2], open };
}

function kindOf({ 0: text, groups, index, input }, language) {
  const kind = ["c", "s", "n"].find((name) => groups[name] !== undefined);
  if (kind) return kind;
  if (language.words.has(language === sql ? text.toLowerCase() : text)) return "k";
  return input[index + text.length] === "(" ? "f" : "";
}

// --- to the page -----------------------------------------------------------------------------------------------------

const held = new WeakMap(); // code element -> its language, its lines and what is open before each

/** Put code into its element, where some of it may stand: a `span.line` a line, so that only the last is laid out anew. */
export function write(code, text, language) {
  const before = held.get(code);
  const old = before?.language === language ? before.lines : [];
  const lines = text.split("\n").map((line, at, { length }) => (at < length - 1 ? `${line}\n` : line));
  let same = 0;
  while (same < old.length && old[same] === lines[same]) same += 1;
  while (code.childNodes.length > same) code.lastChild.remove();
  const opens = (before?.opens ?? [-1]).slice(0, same + 1);
  for (const line of lines.slice(same)) {
    const { parts, open } = colour(line, language, opens.at(-1));
    code.append(lineOf(parts, code.ownerDocument));
    opens.push(open);
  }
  held.set(code, { language, lines, opens });
}

function lineOf(parts, document) {
  const line = document.createElement("span");
  line.setAttribute("class", "line");
  for (const [text, kind] of parts) {
    const part = kind ? document.createElement("span") : line;
    if (kind) part.setAttribute("class", kind);
    part.append(text);
    if (kind) line.append(part);
  }
  return line;
}
