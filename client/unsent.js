/**
 * Unsent: what a reader has typed and the server has not acknowledged. It is kept in a storage from the moment it is typed
 * or asked, so that it outlasts its page, whatever ends that. The next page that opens the conversation asks what was asked,
 * and has in its field what was typed.
 *
 * An item is `{ id, text }`, with `turn` where that turn's question was edited, and the options with which it was asked. By
 * its `id` the server recognises a question that it has got after all. With `isDraft` it is in the field: it was refused, or
 * only typed, and then has no `id`.
 */
import { toHex } from "./requests.js";

const OWNER_BYTES = 8;

/** Returns the questions of a conversation that are not in its log yet. */
export function unsentOf(chat) {
  return chat.pending().map(({ type, ...question }) => question);
}

/** Asks a question again, under its id, and returns the request. */
export function resend(chat, { text, turn, ...options }) {
  return turn ? chat.edit(turn, text, options) : chat.ask(text, options);
}

/**
 * What one page has in one conversation and the server has not acknowledged, in a storage that pages share. While the page
 * lives it holds a lock of the browser; where that has no locks, every other page counts as gone. A tab knows its page
 * before this one, as after a reload.
 */
export class Outbox {
  #key;
  #storage;
  #tabStorage;
  #locks;
  #owner = toHex(crypto.getRandomValues(new Uint8Array(OWNER_BYTES)));
  #written = "[]"; // our items as they are in the storage
  #items = [];
  #release; // an AbortController of our lock, and of the waiting for others'

  /**
   * @param {string} key in the storage, of the conversation
   * @param {object} [options]
   * @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} [options.storage] by default localStorage
   * @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} [options.tabStorage] by default sessionStorage
   * @param {LockManager} [options.locks]
   */
  constructor(key, { storage, tabStorage, locks = globalThis.navigator?.locks } = {}) {
    this.#key = key;
    this.#storage = storage;
    this.#tabStorage = tabStorage;
    this.#locks = locks;
    this.hold();
  }

  /** Keeps these items, and no others of this page: those that are left out need it no more. */
  keep(items) {
    this.#items = items;
    const written = JSON.stringify(items);
    if (written === this.#written) return;
    this.#written = written;
    const own = items.map((item) => ({ ...item, owner: this.#owner }));
    write(this.#storage, this.#key, [...this.#others(), ...own]);
    write(this.#tabStorage, this.#ownerKey, own.length ? [{ text: this.#owner }] : [], "sessionStorage");
  }

  /** Keeps the items under another key: their conversation has got its session, or another one. */
  move(key) {
    if (key === this.#key) return;
    const items = this.#items;
    this.keep([]);
    this.#key = key;
    this.keep(items);
  }

  /**
   * Takes over the items of other pages that are gone, and keeps them; questions, and all of this tab's page before this
   * one, also as soon as that is gone. Each is taken by one page only.
   *
   * @param {(item: object) => void} take is called with each
   * @param {(item: object) => boolean} [isWanted] others stay where they are
   */
  takeOver(take, isWanted = () => true) {
    const former = read(this.#tabStorage, this.#ownerKey, "sessionStorage")[0]?.text;
    const owners = new Set(this.#others().map(({ owner }) => owner));
    for (const owner of owners) {
      this.#whenGone(owner, owner === former, () => this.#take(owner, isWanted, take));
      this.#whenGone(owner, true, () => this.#take(owner, (item) => !item.isDraft && isWanted(item), take));
    }
  }

  /** Leaves the items to the next page that opens the conversation. */
  release() {
    this.#release.abort();
  }

  /** Holds the lock; again, after `release`, where the page is shown again. */
  hold() {
    this.#release = new AbortController();
    const { signal } = this.#release;
    const untilReleased = () => new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.#locks?.request(lockOf(this.#owner), () => signal.aborted || untilReleased()).catch(() => {});
    this.#written = "[]"; // others may have taken what was left
    this.keep(this.#items);
  }

  /** Calls a function if the page of an owner is gone, or once it is, as long as this one lives. */
  #whenGone(owner, waits, action) {
    if (!owner || !this.#locks) return action();
    const { signal } = this.#release;
    const options = waits ? { signal } : { ifAvailable: true };
    this.#locks.request(lockOf(owner), options, (lock) => lock && !signal.aborted && action()).catch(() => {});
  }

  #take(owner, isTaken, take) {
    const items = read(this.#storage, this.#key);
    const taken = items.filter((item) => item.owner === owner && isTaken(item));
    if (!taken.length) return;
    write(this.#storage, this.#key, items.filter((item) => !taken.includes(item)));
    const own = taken.map(({ owner: _, ...item }) => item);
    this.keep([...this.#items, ...own]);
    own.forEach(take);
  }

  get #ownerKey() {
    return `${this.#key} owner`;
  }

  #others() {
    return read(this.#storage, this.#key).filter(({ owner }) => owner !== this.#owner);
  }
}

const lockOf = (owner) => `askbot.unsent ${owner}`;

/** What stands in a field, and which questions are in it, as long as nobody edits them. */
export class Draft {
  #items = [];
  #shown = ""; // what the field has for them: it may write the ends of lines in another way
  #field;

  /** @param {{ value: string }} field */
  constructor(field) {
    this.#field = field;
  }

  get items() {
    const text = this.#field.value;
    if (text !== this.#shown) this.#items = text ? [{ text }] : [];
    return this.#items;
  }

  /** Whether a question is in it. */
  get hasQuestion() {
    return this.items.some(({ id }) => id);
  }

  /** Puts items before what is typed in the field; that stays one item. Questions that are in it already are not added. */
  add(items) {
    const before = this.items;
    const added = items.filter(({ id }) => !id || before.every((item) => item.id !== id));
    if (!added.length) return;
    const questions = [...before, ...added].filter(({ id }) => id);
    const typed = [...added, ...before].filter(({ id }) => !id);
    const text = typed.map(({ text }) => text).join("\n\n");
    this.#set(text ? [...questions, { text }] : questions);
  }

  /** Puts the question of a request that has failed into the field; one that was cancelled is not wanted any more. */
  addFailed({ code, id, text }) {
    if (text && code !== "cancelled") this.add([{ id, text }]);
  }

  /** Empties the field. Returns what to ask: its text, with the id of the question that it is, where it is one. */
  submit() {
    const [question, ...others] = this.items;
    const isQuestion = question?.id && !others.length;
    const text = isQuestion ? question.text : this.#field.value.trim();
    this.#set([]);
    return { text, options: isQuestion ? { id: question.id } : {} };
  }

  /** Removes the questions that are in the log. Returns whether there were some. */
  removeLogged(turns) {
    const left = this.items.filter((item) => !item.id || turns.every(({ id }) => id !== item.id));
    const hasChanged = left.length < this.items.length;
    if (hasChanged) this.#set(left);
    return hasChanged;
  }

  #set(items) {
    this.#items = items;
    this.#field.value = items.map(({ text }) => text).join("\n\n");
    this.#shown = this.#field.value;
  }
}

/** Returns the key for what is kept of a conversation, by what connects to it: `url` and `name` of `connect`. */
export function unsentKey(url = "/v1/chat", name = "") {
  const { host, pathname } = new URL(url, globalThis.location?.href);
  return `askbot.unsent ${host}${pathname} ${name}`;
}

// --- kept in a storage, by default localStorage: what several pages have left is added up ------------------------------

/** Returns what is kept. The storage may be missing or forbidden, even to look at, and anybody may write to it. */
function read(storage, key, byDefault = "localStorage") {
  try {
    return JSON.parse((storage ?? globalThis[byDefault]).getItem(key)).filter((item) => typeof item?.text === "string");
  } catch {
    return [];
  }
}

function write(storage, key, items, byDefault = "localStorage") {
  try {
    const place = storage ?? globalThis[byDefault];
    if (items.length) place.setItem(key, JSON.stringify(items));
    else place.removeItem(key);
  } catch {}
}
