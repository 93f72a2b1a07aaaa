import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

test("the core, view.js and askbot.js, is less than 4 KB as a server sends it", () => {
  const core = ["view.js", "askbot.js"].map((name) => readFileSync(new URL(`../../client/${name}`, import.meta.url)));
  const size = gzipSync(Buffer.concat(core), { level: 9 }).length;
  assert.ok(size < 4096, `${size} bytes`);
});
