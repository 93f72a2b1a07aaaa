import assert from "node:assert/strict";
import { test } from "node:test";
import { render, update } from "../../client/markdown.js";
import { fakeDocument as document, seeded, cpuMilliseconds } from "./fakes.js";

const html = (text) => render(text, document).map((node) => node.html).join("");
const link = (url, inner = url) => `<a href="${url}" rel="noopener noreferrer nofollow" target="_blank">${inner}</a>`;
const code = (text, language = "") => `<figure><figcaption><span>${language}</span></figcaption><pre tabindex="0"><code>${text}</code></pre></figure>`;

const GOLDEN = {
  paragraphs: ["one\n\ntwo", "<p>one</p><p>two</p>"],
  "a line break stays": ["one\ntwo  \nthree\\\nfour", "<p>one<br>two<br>three<br>four</p>"],
  headings: ["# A #\n## B\n###### F\n#no\n# C#", "<h3>A</h3><h4>B</h4><h6>F</h6><p>#no</p><h3>C#</h3>"],
  emphasis: ["*a* _b_ **c** __d__ ~~e~~ ***f***", "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> <del>e</del> <em><strong>f</strong></em></p>"],
  "emphasis in emphasis": ["**a *b* c** *a **b** c* ***a** b*", "<p><strong>a <em>b</em> c</strong> <em>a <strong>b</strong> c</em> <em><strong>a</strong> b</em></p>"],
  "emphasis with single marks in it": ["**2*3 = 6** *a**b*", "<p><strong>2*3 = 6</strong> <em>a**b</em></p>"],
  "not emphasis": ["snake_case_name 2 * 3 * 4 a_b_ ~one~ **open *x", "<p>snake_case_name 2 * 3 * 4 a_b_ ~one~ **open *x</p>"],
  "emphasis that ends before a Korean particle": ["**강조(x)**입니다 *말*은", "<p><strong>강조(x)</strong>입니다 <em>말</em>은</p>"],
  escapes: ["\\*a\\* \\[b] \\a \\\\", "<p>*a* [b] \\a \\</p>"],
  "inline code": ["`a*b*` ``c ` d`` ` e ` `open", "<p><code>a*b*</code> <code>c ` d</code> <code>e</code> `open</p>"],
  "a fence": ["```py\ndef f():\n    return '<b>'\n```\nafter", `${code("def f():\n    return '&lt;b>'", "py")}<p>after</p>`],
  "an open fence": ["~~~\n# not a heading\n\n```", code("# not a heading\n\n```")],
  "a longer fence around a fence": ["````md\n```js\n```\n````", code("```js\n```", "md")],
  "a fence ends a paragraph": ["text\n```\nx\n```", `<p>text</p>${code("x")}`],
  "unordered list": ["- a\n- b\n* c", "<ul><li>a</li><li>b</li></ul><ul><li>c</li></ul>"],
  "ordered list": ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
  "nested lists": ["1. a\n   - b\n     - c\n   - d\n2. e", "<ol><li>a<ul><li>b<ul><li>c</li></ul></li><li>d</li></ul></li><li>e</li></ol>"],
  "lists nested by two columns, or a tab": ["1. a\n  - b\n2. c\n\t- d", "<ol><li>a<ul><li>b</li></ul></li><li>c<ul><li>d</li></ul></li></ol>"],
  "a loose list": ["- a\n\n- b\n\n  c", "<ul><li><p>a</p></li><li><p>b</p><p>c</p></li></ul>"],
  "code in a list": ["1. a\n   ```sh\n   ls\n     -l\n   ```\n2. b", `<ol><li>a${code("ls\n  -l", "sh")}</li><li>b</li></ol>`],
  "a paragraph goes on in an item": ["- a\nb\n\nc", "<ul><li>a<br>b</li></ul><p>c</p>"],
  "a list after a paragraph": ["Steps:\n- a\n\nYear\n1984. It was", "<p>Steps:</p><ul><li>a</li></ul><p>Year<br>1984. It was</p>"],
  tasks: ["- [ ] a\n- [x] b", '<ul><li class="task">☐ a</li><li class="task">☑ b</li></ul>'],
  quotes: ["> a\n> > b\nlazy\n\nc", "<blockquote><p>a</p><blockquote><p>b<br>lazy</p></blockquote></blockquote><p>c</p>"],
  "a list in a quote": ["> - a\n> - b", "<blockquote><ul><li>a</li><li>b</li></ul></blockquote>"],
  rules: ["a\n\n---\n* * *\n___", "<p>a</p><hr><hr><hr>"],
  tables: [
    "text\n| a | *b* |\n|:--|--:|\n| 1 | x \\| y |\n| 2 |\n\nafter",
    '<p>text</p><div class="table" tabindex="0"><table><thead><tr><th>a</th><th class="right"><em>b</em></th></tr></thead><tbody><tr><td>1</td><td class="right">x | y</td></tr><tr><td>2</td></tr></tbody></table></div><p>after</p>',
  ],
  "not a table": ["a | b\n\nc | d\n-|\n", "<p>a | b</p><p>c | d<br>-|</p>"],
  links: ["[a](https://x.y/z) [*b*](<https://x.y/a b>) [c](https://x.y) [d](https://x.y/(e))", `<p>${link("https://x.y/z", "a")} ${link("https://x.y/a%20b", "<em>b</em>")} ${link("https://x.y", "c")} ${link("https://x.y/(e)", "d")}</p>`],
  "mail links": ["[a](mailto:a@b.c) <d@e.f>", `<p>${link("mailto:a@b.c", "a")} ${link("mailto:d@e.f", "d@e.f")}</p>`],
  "links of other schemes": ["[a](javascript:alert(1)) [b](data:text/html,x) [c](/d) [e](vbscript:x) <javascript:x>", "<p>[a](javascript:alert(1)) [b](data:text/html,x) [c](/d) [e](vbscript:x) &lt;javascript:x></p>"],
  "an image is a link": ["![alt](https://x.y/z.png) ![](https://x.y/z.png) ![a](javascript:x)", `<p>${link("https://x.y/z.png", "alt")} ${link("https://x.y/z.png")} ![a](javascript:x)</p>`],
  "no link in a link": ["[a [b](https://x.y) c](https://z.z) [https://x.y](https://z.z)", `<p>[a ${link("https://x.y", "b")} c](${link("https://z.z")}) ${link("https://z.z", "https://x.y")}</p>`],
  "brackets that are none": ["[a] a[1] *x [y]* ![z] ]", "<p>[a] a[1] <em>x [y]</em> ![z] ]</p>"],
  "a bare address": ["See https://x.y/a_b_(c)?d=e. (https://x.y) https://x.y에서 xhttps://no <https://x.y/z>", `<p>See ${link("https://x.y/a_b_(c)?d=e")}. (${link("https://x.y")}) ${link("https://x.y")}에서 xhttps://no ${link("https://x.y/z")}</p>`],
  "an address in emphasis": ["**https://x.y**", `<p><strong>${link("https://x.y")}</strong></p>`],
  "HTML is text": ["<b>a</b> <script>alert(1)</script>\n\n<img src=x onerror=alert(1)>", "<p>&lt;b>a&lt;/b> &lt;script>alert(1)&lt;/script></p><p>&lt;img src=x onerror=alert(1)></p>"],
  nothing: ["", ""],
  blank: [" \n\n\t\n", ""],
};

for (const [name, [text, expected]] of Object.entries(GOLDEN)) test(`markdown: ${name}`, () => assert.equal(html(text), expected));

const container = () => document.createElement("div");

test("a text that grows letter by letter ends as if it had been there at once", () => {
  for (const [name, [text]] of Object.entries(GOLDEN)) {
    const box = container();
    for (let end = 0; end <= text.length; end += 1) {
      update(box, text.slice(0, end));
      assert.equal(box.inner, html(text.slice(0, end)), `${name}, ${end}`);
    }
  }
});

test("the blocks before the last two stay the same nodes, and so does code that grows", () => {
  const box = container();
  update(box, "one\n\ntwo\n\nthree\n\nfour");
  const before = [...box.childNodes];
  update(box, "one\n\ntwo\n\nthree\n\nfour and\n\n```\nlet");
  assert.deepEqual(box.childNodes.slice(0, 3).map((node, place) => node === before[place]), [true, true, true]);
  const figure = box.lastChild;
  update(box, "one\n\ntwo\n\nthree\n\nfour and\n\n```\nlet x = 1;\n```");
  assert.equal(box.lastChild, figure);
  assert.equal(figure.textContent, "let x = 1;");
});

const byName = (box, name) => [...box.all()].filter((node) => node.name === name);

test("links and texts of a block that grows stay the same nodes, and what a text began with is not written again", () => {
  const box = container();
  const written = [];
  update(box, "See [a *b*](https://x.y) and **bo", { isGrowing: true });
  const [link] = byName(box, "a");
  const [first] = box.firstChild.childNodes;
  const last = box.firstChild.lastChild;
  for (const text of [first, last]) {
    const { replaceData } = text;
    text.replaceData = (...change) => written.push(change) && replaceData.apply(text, change);
  }
  update(box, "See [a *b*](https://x.y) and **bold", { isGrowing: true });
  update(box, "See [a *b*](https://x.y) and **bold** words\n- and a list", { isGrowing: true });
  assert.equal(byName(box, "a")[0], link);
  assert.equal(box.firstChild.firstChild, first);
  assert.equal(box.firstChild.childNodes[2], last);
  assert.deepEqual(written, [[9, 0, "ld"], [5, 6, ""]]);
});

test("items of a list, cells of a table and quotes that grow keep their links too", () => {
  for (const [before, after] of [["- [a](https://x.y)\n- b", "c\n- d"], ["|a|\n|-|\n|[a](https://x.y)|\n|b", "c|\n|d|"], ["> [a](https://x.y)\n> b", "c\n>\n> d"]]) {
    const box = container();
    update(box, before, { isGrowing: true });
    const [link] = byName(box, "a");
    update(box, before + after);
    assert.equal(byName(box, "a")[0], link, before);
  }
});

const LINKS = ["[a](https://example.org/b)", "https://example.org/b", "www.example.org/b", "<https://example.org/b>", "me@example.org", "![a](https://example.org/b)", "[a](<https://example.org/b>)", '[a](https://example.org/b "c d")', "[a][b]\n\n[b]: https://example.org/b", "|a|\n|-|\n|[a](https://example.org/b)|", "# https://example.org/b", "- [a](https://example.org/b)"];

test("a link leads nowhere until its target is complete, and then it is the same element", () => {
  for (const text of LINKS) {
    const box = container();
    const targets = new Set();
    for (let end = 1; end <= text.length; end += 1) {
      update(box, text.slice(0, end), { isGrowing: true });
      for (const { attributes } of byName(box, "a")) if (attributes.href) targets.add(attributes.href);
    }
    const [before] = byName(box, "a");
    update(box, text);
    const [link] = byName(box, "a");
    assert.ok([...targets].every((target) => target === link.attributes.href), `${text}: ${[...targets]}`);
    assert.ok(!before || before === link, text);
    assert.match(link.attributes.href, /example\.org/);
  }
});

test("a link at the end of a text that is complete, or that goes on with a blank, leads somewhere", () => {
  for (const text of ["https://x.y/z", "see www.x.com. ", "详见https://x.y/z。谢谢", "(https://x.y/z)이"]) {
    const box = container();
    update(box, text, { isGrowing: text !== "https://x.y/z" });
    assert.ok(byName(box, "a")[0].attributes.href, text);
  }
});

test("what is defined later makes a link of earlier references, and a footnote's number of its mark", () => {
  const box = container();
  update(box, "[a][1] and b[^n]\n\nc\n\nd\n\n[1]: https://x.y", { isGrowing: true });
  assert.match(box.inner, /^<p>\[a\]\[1\] and b\[\^n\]<\/p>/);
  const [, second] = box.childNodes;
  update(box, "[a][1] and b[^n]\n\nc\n\nd\n\n[1]: https://x.y\n[^n]: N", { isGrowing: true });
  assert.equal(box.inner, `<p>${link("https://x.y", "a")} and b<sup>1</sup></p><p>c</p><p>d</p><ol class="footnotes"><li>N</li></ol>`);
  assert.equal(box.childNodes[1], second);
  update(box, "[a][1]");
  assert.equal(box.inner, "<p>[a][1]</p>");
});

const ANSWER = String.raw`3.14 is **[π](https://x.y/pi)**, *[not](https://x.y/e)* ***both*** and $5-$10 or $x$.

*   **First:** see [a](https://x.y/a "A title") and [b](<https://x.y/b c>)

    More.
* **Second:** ~~[c](https://x.y/c)~~

| **[d](https://x.y/d)** | e |
|---|---|
| https://x.y/f | [![g](https://x.y/g.png)](https://x.y/g) |

***bold and italic***, [h] and ![i](https://x.y/i.png 'j').

[h]: https://x.y/h "A title"`;

test("an ordinary answer that grows has no half target, no link that goes, and no element that changes and changes back", () => {
  const hrefsOf = (box) => byName(box, "a").map(({ attributes }) => attributes.href);
  const final = new Set(hrefsOf({ all: () => render(ANSWER, document).flatMap((node) => [node, ...node.all()]) }));
  const box = container();
  const kinds = new Map(); // place of a block -> the elements it has been
  let links = [];
  for (let end = 1; end <= ANSWER.length; end += 1) {
    const text = ANSWER.slice(0, end);
    update(box, text, { isGrowing: true });
    const shown = byName(box, "a");
    for (const link of links) assert.ok(shown.includes(link) && link.attributes.href, `${link.textContent} in ${text}`);
    links = shown.filter(({ attributes }) => attributes.href);
    for (const { attributes } of links) assert.ok(final.has(attributes.href), `${attributes.href} in ${text}`);
    box.childNodes.forEach(({ name }, place) => {
      const before = kinds.get(place) ?? [];
      if (before.at(-1) !== name) kinds.set(place, [...before, name]);
      assert.equal(new Set(kinds.get(place)).size, kinds.get(place).length, `${kinds.get(place)} in ${text}`);
    });
  }
  update(box, ANSWER);
  assert.deepEqual(links, byName(box, "a").slice(0, links.length));
  assert.equal(box.inner, html(ANSWER));
});

test("a bullet at the end, which may be emphasis, changes nothing", () => {
  const box = container();
  for (const end of ["", "*", "**", "**b", "**b**"]) {
    update(box, `- [a](https://x.y)\n- b\n\n${end}`, { isGrowing: true });
    assert.deepEqual(byName(box, "li").map((item) => item.textContent), ["a", "b"], end);
    assert.equal(byName(byName(box, "ul")[0], "p").length, 0, end);
  }
});

test("marks, dollars and an image that are not complete are not drawn as what they will not be", () => {
  for (const [text, name] of [["**a*", "em"], ["***a**", "strong"], ["$5-$", "code"]]) {
    const box = container();
    update(box, text, { isGrowing: true });
    assert.deepEqual(byName(box, name), [], text);
    update(box, text);
    assert.equal(byName(box, name).length, 1, text);
  }
});

// --- formulas --------------------------------------------------------------------------------------------------------

const FORMULAS = ["\\(a*b*c\\)", "\\[a_1\n+ b_1\n- c\n\\]", "$$\nx*y*z\n\n= 1\n$$", "$a*b*c$", "a \\[b*c*d\\]", "- a\n  $$\n  - x*y*\n  $$"];

test("a formula is drawn as one while it grows: nothing in it is ever an element", () => {
  for (const formula of FORMULAS) {
    const box = container();
    for (let end = 0; end <= formula.length; end += 1) {
      update(box, formula.slice(0, end), { isGrowing: true });
      assert.deepEqual(byName(box, "em"), [], formula.slice(0, end));
      assert.equal(byName(box, "ul").length, formula.startsWith("- ") && end > 1 ? 1 : 0, formula.slice(0, end));
    }
    update(box, formula);
    const [shown] = byName(box, "code");
    assert.equal(shown.textContent.replace(/^(\$\$?|\\.)[^]*?(\$\$?|\\.)$/, "$1$2").length, formula.includes("$a") ? 2 : 4, formula);
  }
});

test("a library renders formulas once each; what it can't render stays as it is written", () => {
  const asked = [];
  const renderMath = (tex, isDisplay) => {
    asked.push([tex, isDisplay]);
    if (tex === "bad") throw new Error("no formula");
    if (tex === "none") return null;
    return Object.assign(document.createElement("math"), { childNodes: [] });
  };
  const box = container();
  const text = "\\(a\\) $b$ $bad$ \\(none\\)\n\n$$\nc\n$$\n\n\\(d";
  for (let end = 0; end <= text.length; end += 1) update(box, text.slice(0, end), { renderMath, isGrowing: true });
  const [first] = byName(box, "math");
  update(box, `${text}\\) e`, { renderMath });
  assert.equal(box.inner, '<p><math></math> <math></math> <code class="math">$bad$</code> <code class="math">\\(none\\)</code></p><math></math><p><math></math> e</p>');
  assert.equal(byName(box, "math")[0], first);
  const rendered = asked.filter(([tex]) => !["bad", "none"].includes(tex));
  assert.deepEqual(rendered, [["a", false], ["b", false], ["c", true], ["d", false]]);
  update(box, `${text}\\) e`);
  assert.deepEqual(byName(box, "math"), []);
});

test("what is no node is not put in a formula's place, and a node that is given twice is there twice", () => {
  const shared = document.createElement("math");
  for (const [renderMath, name, count] of [[() => shared, "math", 3], [() => "<b>", "code", 3], [() => ({ nodeType: 11 }), "code", 3], [() => Promise.resolve(shared), "code", 3]]) {
    const box = container();
    const text = "$a$ $b$\n\n$a$";
    for (let end = 0; end <= text.length; end += 1) update(box, text.slice(0, end), { renderMath, isGrowing: true });
    update(box, text, { renderMath });
    assert.equal(byName(box, name).length, count);
    update(box, "no formula", { renderMath });
    assert.equal(box.inner, "<p>no formula</p>");
  }
});

test("an environment is given to a renderer as it is written", () => {
  const asked = [];
  update(container(), "\\begin{align*}\na\n\\end{align*}", { renderMath: (...formula) => void asked.push(formula) });
  assert.deepEqual(asked, [["\\begin{align*}\na\n\\end{align*}", true]]);
});

test("a formula that is never closed is text when the answer has ended", () => {
  const box = container();
  for (const text of ["\\(a *b*", "$a *b*", "\\[\n*b*", "$$\n*b*"]) {
    update(box, text, { isGrowing: true });
    assert.deepEqual(byName(box, "em"), [], text);
    update(box, text);
    assert.equal(byName(box, "em").length, 1, text);
  }
});

test("a list that begins below a paragraph is never its heading's line", () => {
  const box = container();
  for (const text of ["a\n-", "a\n- ", "a\n- b"]) {
    update(box, text, { isGrowing: true });
    assert.deepEqual(byName(box, "h4"), [], text);
  }
});

test("another text than the one before is shown anew", () => {
  const box = container();
  update(box, "a\n\nb\n\nc\n\nd");
  update(box, "x\n\ny");
  assert.equal(box.inner, "<p>x</p><p>y</p>");
  update(box, "");
  assert.equal(box.inner, "");
});

// --- what an answer must never do ------------------------------------------------------------------------------------

const ELEMENTS = new Set("sup p h3 h4 h5 h6 em strong del code pre figure figcaption span a br hr ul ol li blockquote div table thead tbody tr th td".split(" "));
const ATTRIBUTES = { a: ["href", "rel", "target", "title"], ol: ["start", "class"], li: ["class"], code: ["class"], pre: ["tabindex", "class"], div: ["class", "tabindex"], th: ["class"], td: ["class"] };
const PIECES = ["*", "**", "_", "~~", "`", "```", "\n", "\n\n", "    ", "  ", "\t", "- ", "1. ", "> ", "# ", "|", "---", "|-|-|", "[", "](", ")", "!", "<", ">", "\\", "a", "b c", "한", "🙂",
  "https://x.y", "javascript:alert(1)", "JaVaScRiPt:", "data:text/html,", "vbscript:", "mailto:a@b", "\" onclick=\"x", "<img src=x onerror=y>", "<script>", "&#106;avascript:", "java\nscript:", "\u0000", "\u0001javascript:", "[a](", "(x)", "\"t\"", ":", "$", "$$", "\\(", "\\)", "\\[", "\\]", "[^1]", "[^1]: ", "[a]", "[a]: https://x.y", "[a]: javascript:x", "<br>", "[ ] ", "===", "www.x.y", "a@b.c", "&lt;", "&#x3c;script>"];

function assertHarmless(box, text) {
  for (const element of box.all()) {
    assert.ok(ELEMENTS.has(element.name), `<${element.name}> of ${JSON.stringify(text)}`);
    for (const [key, value] of Object.entries(element.attributes)) {
      assert.ok(ATTRIBUTES[element.name]?.includes(key), `${element.name} ${key} of ${JSON.stringify(text)}`);
      if (key === "href") assert.match(value, /^(https?:\/\/|mailto:)[^\s\0-\x1f]+$/i, JSON.stringify(text));
      if (key === "class") assert.match(value, /^(table|right|center|math|task|footnotes)$/);
      if (key === "start") assert.match(value, /^\d+$/);
    }
  }
}

test("whatever an answer says, it makes no element, attribute or link that we didn't mean", () => {
  for (let seed = 0; seed < 3000; seed += 1) {
    const random = seeded(seed);
    const text = Array.from({ length: 1 + random.below(40) }, () => random.of(PIECES)).join("");
    const box = container();
    update(box, text);
    assertHarmless(box, text);
    const grown = container();
    for (let end = 0; end < text.length; end += 1 + random.below(9)) {
      update(grown, text.slice(0, end), { isGrowing: random.below(2) === 0 });
      assertHarmless(grown, text);
    }
    update(grown, text);
    assert.equal(grown.inner, box.inner, JSON.stringify(text));
  }
});

test("no letter is lost", () => {
  for (let seed = 0; seed < 500; seed += 1) {
    const random = seeded(seed);
    const letters = Array.from({ length: 30 }, (_, place) => String.fromCodePoint(0x4e00 + place));
    const text = letters.map((letter) => letter + random.of(["", "", "*", "**", "_", "`", "[", "]", "~~", "\n", "\n\n- ", "\n> ", "\n# ", "<b>"])).join("");
    const box = container();
    update(box, text);
    assert.equal(box.textContent.replace(/[^\u4e00-\u4eff]/g, ""), letters.join(""), JSON.stringify(text));
  }
});

const SIZE = 40_000;
const full = (piece) => piece.repeat(Math.ceil(SIZE / piece.length)).slice(0, SIZE);
const ADVERSARIAL = {
  ...Object.fromEntries(["*", "_", "~", "`", "[", "]", "<", ">", "#", "|", "-", "!", "\\", " ", "\t", "\n", "(", "h"].map((char) => [JSON.stringify(char), full(char)])),
  ...Object.fromEntries(["*a ", "a* ", "*a_ ", "**a *b_ ", "*a **b", "[a](", "[a](b", "![", "[]", "](", "[](", "[a](https://x", "> ", "- ", "1. ", "`a``b", "` `` ``` ", "~~a ", "https://", "http://a", "<https://", "a|b\n", "|", "|-", "- a\n\n", "*\n", "_a_", "\\`", "[[a]](", "a\n-", "> a\n", "(".repeat(40), "**a** ", "$", "$a ", "$$", "$$\n", "\\(", "\\[\n", "&", "&a", "@", "a@", "a@b.", "www.", "<a b=\"", "<a ", "<!--", "[a]: b '\n", "[^a]: ", "[^a]", "[a][", "[a](b \"", "[a](<b", "***a*", "\u{1f600}*", "a\n=", "详见https://x.y/a。", "a@b.c,", "|a\n|-\n", "[a\n", "- - ", "> - ", "[ ] "].map((piece) => [JSON.stringify(piece), full(piece)])),
  "runs of every length": Array.from({ length: 280 }, (_, length) => "`".repeat(length)).join(" "),
  "an end after many tildes": `${full("~")}\``,
  "a rule that is none": `${full("-")}x`,
  "a table mark that is none": `|a\n|${full("-")}x`,
  "blanks before a mark": `#${full(" ")}#x`,
  "brackets, then emphasis, then ends": "[".repeat(50) + full("_a ").slice(0, SIZE / 2) + full("]").slice(0, SIZE / 2),
  "emphasis, then links": full("_a ").slice(0, SIZE / 2) + full("[x](https://y) ").slice(0, SIZE / 2),
  "a wide table": `${full("|a").slice(0, SIZE / 3)}|\n${full("|-").slice(0, SIZE / 3)}|\n${full("|\n").slice(0, SIZE / 3)}`,
  "nested lists": Array.from({ length: 280 }, (_, depth) => `${" ".repeat(depth)}- a`).join("\n"),
  "deeper lists": Array.from({ length: 300 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n"),
  "quotes in lists": full("> - ").slice(0, SIZE),
  "a link to many blanks": `[a](${full(" ")}x`,
  "a definition of many blanks": `[a]:${full(" ")}x`,
  "emphasis too deep, again and again": full(`${"*a ".repeat(99)}${" a*".repeat(99)}`),
  "definitions, then references": full("[a]: https://x.y\n").slice(0, SIZE / 2) + full("\n[a] ").slice(0, SIZE / 2),
  "many footnotes": Array.from({ length: 4000 }, (_, place) => `[^${place}]: a`).join("\n"),
  "nested lists, then blank lines": Array.from({ length: 100 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n") + full("\n"),
  "names of environments": Array.from({ length: 2500 }, (_, place) => `\\begin{a${place}}`).join("\n"),
};

const depthOf = (node) => 1 + Math.max(0, ...(node.childNodes ?? []).map(depthOf));

test("an answer made to hurt takes no longer than its length, and nests no deeper than the bounds", () => {
  for (const [name, text] of Object.entries(ADVERSARIAL)) {
    const start = cpuMilliseconds();
    const nodes = render(text, document);
    render(text, document, { isGrowing: true });
    const took = cpuMilliseconds() - start; // both
    assert.ok(took < 600, `${name}: ${Math.round(took)} ms`);
    assert.ok(nodes.reduce((deepest, node) => Math.max(deepest, depthOf(node)), 0) < 120, `${name} is deep`);
  }
});

test("a long answer stays cheap while it grows", () => {
  const text = "A paragraph of *some* length, with `code`.\n\n- and\n- a list\n\n".repeat(1000);
  const box = container();
  const start = cpuMilliseconds();
  for (let end = 0; end < text.length; end += 50) update(box, text.slice(0, end));
  assert.ok(cpuMilliseconds() - start < 5000);
});
