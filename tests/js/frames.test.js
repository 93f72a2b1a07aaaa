/** The types of frames, held against the frames of the recorded dialogues. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const WIRE = new URL("../wire/", import.meta.url);
const WRONG_ON_PURPOSE = "bad_frames.jsonl";
const FRAMES = fileURLToPath(new URL("../../client/frames", import.meta.url));
const TSC = fileURLToPath(new URL("node_modules/typescript/bin/tsc", import.meta.url));

const names = (await readdir(WIRE)).filter((name) => name.endsWith(".jsonl"));
const recorded = await Promise.all(
  names.map(async (name) => {
    const lines = (await readFile(new URL(name, WIRE), "utf8")).trim().split("\n");
    return { name, lines: lines.map((line) => JSON.parse(line)) };
  }),
);
const dialogues = recorded.filter(({ lines }) => !lines[0].clients_only); // the rest is of later versions
const sent = (mark, from) => from.flatMap(({ lines }) => lines.flatMap((line) => line[mark] ?? []));

/** What the compiler finds wrong with a program. */
async function faults(source) {
  const folder = await mkdtemp(join(tmpdir(), "askbot-types-"));
  const program = join(folder, "program.ts");
  await writeFile(program, `import type { ClientFrame, ServerFrame } from "${FRAMES}";\n${source}`);
  const flags = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--types", ""];
  const { stdout } = spawnSync(process.execPath, [TSC, ...flags, program], { encoding: "utf8" });
  await rm(folder, { recursive: true });
  return stdout;
}

test("every frame of the recorded dialogues has its type", async () => {
  const server = sent("<", dialogues);
  const client = sent(">", dialogues.filter(({ name }) => name !== WRONG_ON_PURPOSE));
  assert.ok(server.length > 100 && client.length > 30);
  const program = `export const server: ServerFrame[] = ${JSON.stringify(server)};
    export const client: ClientFrame[] = ${JSON.stringify(client)};`;
  assert.equal(await faults(program), "");
});

test("what is not a frame has no type", async () => {
  const wrong = [{}, { type: "dance" }, { type: "ask" }, { type: "ask", text: 7 }, { type: "ping", mood: "?" }];
  const program = wrong.map((frame, index) => `export const frame${index}: ClientFrame = ${JSON.stringify(frame)};`);
  const told = await faults(program.join("\n"));
  for (const index of wrong.keys()) assert.match(told, new RegExp(`program.ts\\(${index + 2},`));
});

test("a type tells frames apart, and says what may be missing", async () => {
  const program = `
    export const text = (frame: ServerFrame): string => frame.type === "token" ? frame.text : "";
    export const id = (frame: ServerFrame): string | undefined => frame.type === "question" ? frame.id : undefined;
    export const busy = (frame: ServerFrame): boolean => frame.type === "error" && frame.code === "busy";`;
  assert.equal(await faults(program), "");
  assert.match(await faults("export const text = (frame: ServerFrame): string => frame.text;"), /'text' does not exist/);
});
