import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenizeLine, writeHighlighted } from "../../client/highlight.js";
import { render, update } from "../../client/markdown.js";
import { fakeDocument as document, seeded, cpuMilliseconds } from "./fakes.js";

/** A code as it is coloured: ‹class:text›. */
function coloured(text, language) {
  let open = -1;
  const lines = text.split("\n").map((line) => {
    const { tokens, open: after } = tokenizeLine(line, language, open);
    open = after;
    return tokens.map(([part, kind]) => (kind ? `‹${kind}:${part}›` : part)).join("");
  });
  return lines.join("\n");
}

const GOLDEN = {
  python: ['def f(x):  # why\n    """Doc\n    it."""\n    return x1 + 2.5e3 + "a\\"b" + \'c\'', '‹k:def› ‹f:f›(x):  ‹c:# why›\n    ‹s:"""Doc›\n‹s:    it."""›\n    ‹k:return› x1 + ‹n:2.5e3› + ‹s:"a\\"b"› + ‹s:\'c\'›'],
  js: ["const a = `x\n${y}`; /* c\n*/ g(0xff) // don't", "‹k:const› a = ‹s:`x›\n‹s:${y}`›; ‹c:/* c›\n‹c:*/› ‹f:g›(‹n:0xff›) ‹c:// don't›"],
  rust: ["fn f<'a>(x: &'a str) -> char { 'x' }", "‹k:fn› f<'a>(x: &'a str) -> char { ‹s:'x'› }"],
  sql: ["Select id FROM t -- c\nWHERE x = 'y'", "‹k:Select› id ‹k:FROM› t ‹c:-- c›\n‹k:WHERE› x = ‹s:'y'›"],
  sh: ["if [ $# -gt 1 ]; then # c\n  echo \"a#b\"\nfi", "‹k:if› [ $# -gt ‹n:1› ]; ‹k:then› ‹c:# c›\n  ‹k:echo› ‹s:\"a#b\"›\n‹k:fi›"],
  html: ["<!-- a\n--> <a href=\"x\">Don't</a>", "‹c:<!-- a›\n‹c:-->› <a href=‹s:\"x\"›>Don't</a>"],
  json: ['{"a": [1, true]}', '{‹s:"a"›: [‹n:1›, ‹k:true›]}'],
  css: ["a { color: red; /* c */ }", "a { color: red; ‹c:/* c */› }"],
  "a string that is being written": ['print("a', '‹f:print›(‹s:"a›', "py"],
  "a language in capitals": ["return 1", "‹k:return› ‹n:1›", "Python"],
  "a language that nobody knows": ['if "a" # b', 'if "a" # b', "constructor"],
  "no language": ["if 1", "if 1", ""],
};

for (const [name, [text, expected, language = name]] of Object.entries(GOLDEN))
  test(`code is coloured: ${name}`, () => assert.equal(coloured(text, language), expected));

const LANGUAGES = "js ts python c java rust go php sh yaml ruby sql lua html css json".split(" ");
const PIECES = ['"', "'", "`", "\\", "/*", "*/", "//", "#", "--", "[[", "]]", '"""', "<!--", "-->", "\n", "\n\n", " ", "if", "x1", "1e5", "(", ")", "한국", "🙂", "return ", "=", "<b>"];

test("whatever code says, it is shown to the letter, whether it comes at once or letter by letter", () => {
  for (let seed = 0; seed < 600; seed += 1) {
    const random = seeded(seed);
    const language = random.of(LANGUAGES);
    const text = Array.from({ length: 1 + random.below(30) }, () => random.of(PIECES)).join("");
    const whole = document.createElement("code");
    const grown = document.createElement("code");
    writeHighlighted(whole, text, language);
    for (let end = 0; end < text.length; end += 1 + random.below(4)) writeHighlighted(grown, text.slice(0, end), language);
    writeHighlighted(grown, text, language);
    assert.equal(whole.textContent, text);
    assert.equal(grown.html, whole.html, JSON.stringify(text));
  }
});

test("lines that stand stay the same nodes, and what was taken back goes", () => {
  const code = document.createElement("code");
  writeHighlighted(code, "a\nb\nc", "py");
  const [first, second] = code.childNodes;
  writeHighlighted(code, "a\nb\nc and\nd", "py");
  assert.deepEqual([code.childNodes[0] === first, code.childNodes[1] === second], [true, true]);
  writeHighlighted(code, "a", "py");
  assert.equal(code.html, '<code><span class="line">a</span></code>');
});

test("an answer's code is written by whom one brings, and its fence may come letter by letter", () => {
  const answer = "```py\nif x:\n    pass\n```\n\nDone.";
  const box = document.createElement("div");
  const figures = new Set();
  for (let end = 0; end <= answer.length; end += 1) {
    update(box, answer.slice(0, end), writeHighlighted);
    if (end > 6) figures.add(box.childNodes[0]);
  }
  assert.equal(box.inner, render(answer, document, writeHighlighted).map((node) => node.html).join(""));
  assert.match(box.inner, /<span class="k">if<\/span>/);
  assert.equal(figures.size, 1); // a reader may be selecting in it
});

const LONG = 100_000;
const HARD = ['"', "'", '\\"', "`", "/*", "#", "1", "1.", "a", "a(", "--", "[[", "(".repeat(3), "'a", "\\", '"""', "<!--", "$", " "];

test("code made to hurt takes no longer than its length", () => {
  for (const language of LANGUAGES) {
    for (const piece of HARD) {
      const line = piece.repeat(Math.ceil(1999 / piece.length)).slice(0, 1999);
      const start = cpuMilliseconds();
      for (const text of [line, piece.repeat(LONG)]) tokenizeLine(text, language);
      assert.ok(cpuMilliseconds() - start < 200, `${language} ${piece}`);
    }
  }
});
