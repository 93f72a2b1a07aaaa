import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const file = (name) => new URL(`../../client/${name}`, import.meta.url);
const zipped = (data) => gzipSync(data, { level: 9 }).length;
const readme = readFileSync(file("README.md"), "utf8");

/** What a bundler makes of a module and all that it imports at once. */
async function bundled(name) {
  const bundle = await rolldown({ input: file(name).pathname, external: /element-ko/ });
  const { output } = await bundle.generate({ minify: true });
  assert.equal(output.length, 1);
  return zipped(output[0].code);
}

/** README says it in KB, and is neither too modest nor too proud. */
function assertStated(size, words) {
  const [, stated] = new RegExp(`([\\d.]+) KB \\(${words}`).exec(readme) ?? assert.fail(`README doesn't say how large: ${words}`);
  assert.ok(size <= stated * 1024 && size > (stated - 1) * 1024, `${words}: ${size} bytes, stated are ${stated} KB`);
}

test("the core, view.js and askbot.js, is less than 4.1 KB with all its comments", () => {
  const size = zipped(Buffer.concat(["view.js", "askbot.js"].map((name) => readFileSync(file(name)))));
  assert.ok(size < 4198, `${size} bytes`);
  assertStated(size, "core, as it stands");
});

test("the core is less than 3 KB as a bundler ships it", async () => {
  const size = await bundled("askbot.js");
  assert.ok(size < 3072, `${size} bytes`);
  assertStated(size, "core, minified");
});

test("the element with the core and its Markdown is less than 12 KB as a bundler ships it", async () => {
  const size = await bundled("element.js");
  assert.ok(size < 12_288, `${size} bytes`);
  assertStated(size, "element, minified");
});

test("the element with all it imports is less than 12.1 KB with all its comments", () => {
  const names = ["view.js", "askbot.js", "markdown.js", "rows.js", "element.js"];
  const imports = names.flatMap((name) => Array.from(readFileSync(file(name), "utf8").matchAll(/from "\.\/([^"]+)"/g), ([, from]) => from));
  assert.deepEqual(imports.filter((name) => !names.includes(name)), []);
  const size = zipped(Buffer.concat(names.map((name) => readFileSync(file(name)))));
  assert.ok(size < 12_390, `${size} bytes`);
  assertStated(size, "element, as it stands");
});
