/** The page's key: where it is kept, and that no tab takes away what another one has signed in with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Storage } from "./fakes.js";

const NAME = "askbot.token /";

/** Loads the module as a page of a browser whose tabs share one storage. */
async function openTab(localStorage, { sessionStorage = new Storage(), hash = "" } = {}) {
  const location = { href: `http://test/${hash}` };
  const history = { replaceState: (_, __, url) => (location.href = String(url)) };
  Object.assign(globalThis, { document: { baseURI: "http://test/" }, location, history });
  for (const [name, value] of Object.entries({ localStorage, sessionStorage }))
    Object.defineProperty(globalThis, name, { configurable: true, get: () => value ?? assert.fail("SecurityError") });
  const key = await import(`../../client/page/key.js?${Math.random()}`);
  key.currentKey(); // as a page does first
  const focus = () => Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get: () => sessionStorage });
  return { ...key, focus };
}

test("a tab that is signed out later takes away no key with which another one has signed in meanwhile", async () => {
  const browser = new Storage();
  const one = await openTab(browser);
  one.keepKey("anna's", { isForBrowser: true });
  const two = await openTab(browser);
  assert.equal(two.currentKey(), "anna's");
  one.focus();
  one.forgetKey();
  one.keepKey("ben's", { isForBrowser: true });
  two.focus();
  two.forgetKey();
  assert.equal(JSON.parse(browser.getItem(NAME)).token, "ben's");
  assert.equal(two.currentKey(), "ben's");
  two.forgetKey();
  assert.equal(browser.getItem(NAME), null);
});

test("a key for one tab is kept there only, and what is for the browser stays", async () => {
  const browser = new Storage();
  (await openTab(browser)).keepKey("anna's", { isForBrowser: true });
  const tab = new Storage();
  const two = await openTab(browser, { sessionStorage: tab, hash: "#token=ben%27s" });
  assert.deepEqual([two.currentKey(), location.href], ["ben's", "http://test/"]);
  assert.equal(JSON.parse(tab.getItem(NAME)).token, "ben's");
  assert.equal(JSON.parse(browser.getItem(NAME)).token, "anna's");
  two.keepKey("carol's", { isForBrowser: true });
  assert.deepEqual([tab.getItem(NAME), JSON.parse(browser.getItem(NAME)).token], [null, "carol's"]);
});

test("a key that no storage keeps outlasts a reload in the address", async () => {
  const kept = await openTab(new Storage());
  kept.keepKey("anna's");
  assert.equal(kept.keyFragment(), "");
  const tab = await openTab(null, { sessionStorage: null });
  assert.equal(tab.keyFragment(), "");
  tab.keepKey("a+b&c", { isForBrowser: true });
  assert.equal(tab.keyFragment(), "#token=a%2Bb%26c");
  const reloaded = await openTab(null, { sessionStorage: null, hash: tab.keyFragment() });
  assert.equal(reloaded.currentKey(), "a+b&c");
});
