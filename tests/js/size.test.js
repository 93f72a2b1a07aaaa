/** The client's sizes, each with all that it imports, as a bundler ships them: minified by esbuild, then gzipped. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LOADED_LATER = ["./credentials.js", "./element-answer.js", "./element-ko.js", "react"]; // not at once, and not ours
const TOLERANCE = 0.03; // by which a size that docs/clients-javascript.md states may differ
const BOUNDS_BYTES = {
  "askbot.js": 6272, // the core, with view.js
  "credentials.js": 768,
  "view.js": 1344,
  "rows.js": 512,
  "element.js": 15_168, // until somebody asks
  "element-answer.js": 8576, // then
  "react.js": 8896,
  "markdown.js": 7296,
  "highlight.js": 4096,
  "page/page.js": 33_344,
};

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const guide = read("docs/clients-javascript.md");
const readme = read("client/README.md");

/** The table's rows, by module: [size, bound]. */
const stated = new Map(
  Array.from(guide.matchAll(/^\| `([\w./-]+\.js)` \|.*\| ([\d,]+) \| ([\d,]+) \|$/gm), ([, name, ...numbers]) => [
    name,
    numbers.map((number) => Number(number.replaceAll(",", ""))),
  ]),
);

/** Returns how many bytes a module has with its imports. */
async function sizeOf(name) {
  const entry = fileURLToPath(new URL(`../../client/${name}`, import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: LOADED_LATER,
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

function assertNear(size, statedSize) {
  assert.ok(Math.abs(size - statedSize) <= statedSize * TOLERANCE, `${size} bytes, stated are ${statedSize}`);
}

for (const [name, bound] of Object.entries(BOUNDS_BYTES))
  test(`${name} has at most ${bound} bytes, and about as many as the documentation says`, async () => {
    const size = await sizeOf(name);
    assert.ok(size <= bound, `${size} bytes`);
    assert.ok(stated.has(name), `docs/clients-javascript.md does not state the size: ${size} bytes`);
    const [statedSize, statedBound] = stated.get(name);
    assert.equal(statedBound, bound);
    assertNear(size, statedSize);
  });

test("the documentation states no other sizes", () => {
  assert.deepEqual([...stated.keys()].sort(), Object.keys(BOUNDS_BYTES).sort());
});

for (const [name, module] of [["askbot-ws", "askbot.js"], ["askbot-ws/element", "element.js"]])
  test(`the package's README says how large ${name} is`, async () => {
    const [, kilobytes] = new RegExp(`^\\| \`${name}\` \\|.*?([\\d.]+) KB`, "m").exec(readme);
    assertNear(await sizeOf(module), kilobytes * 1000);
  });
