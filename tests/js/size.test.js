/** The client's sizes, each with all that it imports, as a bundler ships them: minified by esbuild, then gzipped. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LOADED_LATER = ["./element-ko.js", "react"]; // not at once, and not ours
const TOLERANCE = 0.03; // by which a size that docs/clients-javascript.md states may differ
const BOUNDS_BYTES = {
  "askbot.js": 4096, // the core, view.js included
  "element.js": 12_288,
  "react.js": 5120,
  "rows.js": 1024,
  "markdown.js": 4096,
  "highlight.js": 4096,
  "page/page.js": 20_480,
};

const document = readFileSync(new URL("../../docs/clients-javascript.md", import.meta.url), "utf8");
const stated = new Map(Array.from(document.matchAll(/^\| `([\w./-]+\.js)` \|.*\| ([\d,]+) \| ([\d,]+) \|$/gm), ([, name, ...sizes]) => [name, sizes.map(numberOf)]));

function numberOf(text) {
  return Number(text.replaceAll(",", ""));
}

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

for (const [name, bound] of Object.entries(BOUNDS_BYTES))
  test(`${name} has at most ${bound} bytes, and about as many as the documentation says`, async () => {
    const size = await sizeOf(name);
    assert.ok(size <= bound, `${size} bytes`);
    assert.ok(stated.has(name), `docs/clients-javascript.md does not state the size: ${size} bytes`);
    const [statedSize, statedBound] = stated.get(name);
    assert.equal(statedBound, bound);
    assert.ok(Math.abs(size - statedSize) <= statedSize * TOLERANCE, `${size} bytes, stated are ${statedSize}`);
  });

test("the documentation states no other sizes", () => {
  assert.deepEqual([...stated.keys()].sort(), Object.keys(BOUNDS_BYTES).sort());
});
