/**
 * The key with which this page is signed in: typed by its reader, or given by the address (`#token=`). It is kept for the
 * tab, and for the browser where the reader wants to stay signed in. A server of another path has its own.
 */
import { takeToken } from "./address.js";

const NAME = `askbot.token ${new URL(".", document.baseURI).pathname}`;
const STORAGES = [() => sessionStorage, () => localStorage];

let key; // { token, since }: it lasts as long as the page where storage is forbidden

function read(storage) {
  try {
    const { token, since } = JSON.parse(storage().getItem(NAME));
    return { token, since };
  } catch {} // it is forbidden, or has none
}

/** Returns the key, or undefined. One in the address comes first. */
export function currentKey() {
  const given = takeToken();
  if (given !== null) keepKey(given);
  key ??= STORAGES.map(read).find(Boolean);
  return key?.token || undefined;
}

/** Returns since when it is kept, in milliseconds since 1970. */
export const keptSince = () => key?.since ?? 0;

/** Returns the end of the address with which the page is loaded again with its key: one where no storage keeps that. */
export const keyFragment = () => (key && !STORAGES.some(read) ? `#token=${encodeURIComponent(key.token)}` : "");

/** Keeps a key for the tab; with `isForBrowser`, for all tabs, until the reader signs out. */
export function keepKey(token, { isForBrowser = false } = {}) {
  forgetKey();
  key = { token, since: Date.now() };
  try {
    STORAGES[Number(isForBrowser)]().setItem(NAME, JSON.stringify(key));
  } catch {}
}

/** Forgets the key of this tab, in the browser too; but not one with which another tab has signed in meanwhile. */
export function forgetKey() {
  const forgotten = key?.token;
  key = undefined;
  for (const storage of STORAGES) {
    try {
      if (read(storage)?.token === forgotten) storage().removeItem(NAME);
    } catch {}
  }
}

/** Reads it again: another tab has changed the one of the browser. */
export function rereadKey() {
  key = undefined;
  return currentKey();
}
