/** The dialect that the page and the terminal share: a table of cases, and the examples of CommonMark's specification. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import specification from "commonmark-spec";
import { render, update } from "../../client/markdown.js";
import { fakeDocument as document } from "./fakes.js";
import { comparable, htmlOf, specifiedHtml } from "./markdown-html.js";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const CASES = JSON.parse(read("tests/dialect/cases.json"));
const DEVIATIONS = JSON.parse(read("tests/dialect/deviations.json"));
const GUIDE = read("docs/markdown.md");

const html = (markdown) => htmlOf(render(markdown, document));

for (const { name, markdown, html: expected } of CASES) test(`dialect: ${name}`, () => assert.equal(html(markdown), expected));

test("each case that grows letter by letter ends as if it had been there at once", () => {
  for (const { name, markdown, html: expected } of CASES)
    for (const isGrowing of [false, true]) {
      const box = document.createElement("div");
      for (let end = 0; end <= markdown.length; end += 1) update(box, markdown.slice(0, end), { isGrowing });
      update(box, markdown);
      assert.equal(htmlOf(box.childNodes), expected, name);
    }
});

// --- CommonMark ------------------------------------------------------------------------------------------------------

const withTabs = (text) => text.replaceAll("→", "\t");
const examples = specification.tests.map(({ markdown, html, ...example }) => ({
  ...example,
  markdown: withTabs(markdown),
  html: withTabs(html),
}));

const isAsSpecified = (example) => comparable(html(example.markdown)) === comparable(specifiedHtml(example));

const deviating = DEVIATIONS.flatMap((deviation) => deviation.examples);

test("every example of the specification comes out as it says, but for those that are named with a reason", () => {
  assert.equal(examples.length, 652);
  const others = examples.filter((example) => !isAsSpecified(example)).map(({ number }) => number);
  assert.deepEqual(others, deviating.toSorted((one, other) => one - other));
});

test("the documentation names each deviation, and the share of the examples by section", () => {
  for (const { reason } of DEVIATIONS) assert.ok(GUIDE.replaceAll(/\s+/g, " ").includes(reason.replaceAll("\\", "\\\\")), reason);
  const sections = Map.groupBy(examples, ({ section }) => section);
  const rows = Array.from(sections, ([section, all]) => {
    const count = all.filter(({ number }) => !deviating.includes(number)).length;
    return `| ${section} | ${count} of ${all.length} |`;
  });
  const stated = GUIDE.match(/^\| .* \| \d+ of \d+ \|$/gm);
  assert.deepEqual(stated, [...rows, `| all | ${652 - deviating.length} of 652 |`]);
});
