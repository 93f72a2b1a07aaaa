/**
 * Drives Firefox, as tests/browser/drivers.py tells it: one JSON array a line from stdin, `[method, ...arguments]`. For
 * each, `{ value }` or `{ error }` is printed. It ends when stdin does. Its argument is the browser's path.
 */
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));

const browser = await puppeteer.launch({ browser: "firefox", executablePath: process.argv[2] });
const page = await browser.newPage();
const errors = [];

page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => {
  if (["error", "warn"].includes(message.type())) errors.push(message.text());
});

const METHODS = {
  open: (url) => page.goto(url),
  reload: () => page.reload(),
  evaluate: (expression) => page.evaluate(expression),
  submit: async (expression, text) => {
    const element = await page.evaluateHandle(expression);
    await element.type(text);
    await element.press("Enter");
  },
  click: async (expression) => (await page.evaluateHandle(expression)).click(),
  errors: () => errors,
};

async function answer([method, ...given]) {
  try {
    const value = await METHODS[method](...given);
    return ["evaluate", "errors"].includes(method) ? { value } : {};
  } catch (error) {
    return { error: String(error.stack) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
await browser.close();
