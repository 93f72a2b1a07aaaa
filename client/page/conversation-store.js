/**
 * The conversations that this browser knows, in its storage: a list, and of each what is not sent and the text to search in.
 *
 *   askbot.list              [{ session, title, named, used, isUnsent }]   `named` by the reader; `used`: when it was last
 *                            asked, in ms; `isUnsent`: nothing of it was acknowledged
 *   askbot.edits.session     texts in the edit forms of its turns, by turn: the last that was typed in any tab
 *   askbot.unsent[.session]  what is typed, and what was asked and is not acknowledged (unsent.js); without a session, in
 *                            conversations that are still empty
 *   askbot.text.session      its questions and answers, as far as they were on this page, to search in
 *   askbot.gone              sessions that were deleted here and have still to be deleted on the server
 *   askbot.session           the session that was last on a page
 *
 * All tabs share them, so every change begins by reading. In the storage of the tab are
 *
 *   askbot.session                  the session that was last on this tab's page
 *   askbot.edits.session            texts in the edit forms on this tab's page
 *   askbot.unsent[.session] owner   the page that has kept what is unsent
 *
 * Where storage is forbidden, they last as long as the page; where it is full, the texts of the conversations that were
 * used least recently are removed. A server under a path, such as `/a/`, has keys of its own: `askbot/a.list`; so has each
 * user who is signed in: `askbot@anna.list`. That list is the server's (server-list.js), as far as it was fetched; beside it is
 *
 *   askbot@anna.open         whether this user's page was opened since they have signed out
 *   askbot@anna.declined     sessions of the browser's own list that the user does not want to have (take-along.js)
 */
import { Outbox } from "../unsent.js";

const MAX_TEXT_CHARACTERS = 20_000; // the newest; browsers give an origin five million in all
const MAX_TITLE_CHARACTERS = 80;
const EXCERPT_CHARACTERS = 40; // before what was found, and after it

const normalize = (text) => text.normalize("NFC").toLowerCase();

const collapseSpace = (text) => text.replace(/\s+/g, " ");

const editsKey = (session) => `edits.${session}`;

const unsentStorageKey = (session) => (session ? `unsent.${session}` : "unsent");

const textKey = (session) => `text.${session}`;

/** Returns a conversation's title: the first line of its question, shortened. */
export function titleOf(question) {
  const line = question.trim().split("\n")[0].trim();
  return line.length > MAX_TITLE_CHARACTERS ? `${line.slice(0, MAX_TITLE_CHARACTERS - 1).trimEnd()}…` : line;
}

/** Returns [text before a word, the word, text after it]; null where a text does not have it. */
function excerptOf(text, word) {
  const start = normalize(text).indexOf(word);
  if (start < 0) return null;
  const end = start + word.length;
  const from = Math.max(0, start - EXCERPT_CHARACTERS);
  const until = end + EXCERPT_CHARACTERS;
  const before = collapseSpace(text.slice(from, start)).trimStart();
  const after = collapseSpace(text.slice(end, until)).trimEnd();
  return [
    from > 0 ? `…${before}` : before,
    collapseSpace(text.slice(start, end)),
    until < text.length ? `${after}…` : after,
  ];
}

/**
 * @typedef {object} Conversation
 * @property {string} session
 * @property {string} title
 * @property {boolean} named whether the reader has given the title
 * @property {number} used milliseconds since 1970
 */
export class ConversationStore {
  #storage;
  #prefix;
  #unsaved = new Map(); // by key: values that the storage did not accept
  #tab;
  #unsentStorage = {
    getItem: (key) => this.#read(key),
    setItem: (key, value) => this.#write(key, value),
    removeItem: (key) => this.#erase(key),
  };

  /**
   * @param {() => Storage} storage returns the storage, or throws where that is forbidden
   * @param {object} [options]
   * @param {() => Storage} [options.tabStorage] returns the storage of the tab; without one, tabs are not told apart
   * @param {string} [options.path] of the page, up to its last slash
   * @param {string | null} [options.user] null: what it keeps is nobody's
   */
  constructor(storage, { tabStorage, path = "/", user = null } = {}) {
    const owner = user === null ? "" : `@${encodeURIComponent(user).replaceAll(".", "%2E")}`; // none is another's beginning
    this.#storage = storage;
    this.#prefix = `askbot${path.slice(0, -1)}${owner}.`;
    this.#tab = tabStorage ? new ConversationStore(tabStorage, { path, user }) : this;
  }

  /** Removes all that it keeps; or what the tab has, where the user's page was opened since that was done (`recordVisit`). */
  clear({ isOthersKept = false } = {}) {
    for (const store of isOthersKept && this.#read("open") ? [this.#tab] : [this, this.#tab]) store.#eraseAll();
  }

  /** A page of this user is opened. */
  recordVisit() {
    this.#write("open", "yes");
  }

  /** Whether something is typed or asked in any conversation and was not sent. */
  get hasUnsent() {
    return [{ session: null }, ...this.#list()].some(({ session }) => this.unsentTexts(session).length);
  }

  /** Returns what is typed or asked in a conversation and was not sent. */
  unsentTexts(session) {
    return [...this.#readArray(unsentStorageKey(session)).map(({ text }) => text), ...Object.values(this.edits(session))];
  }

  // --- the list ------------------------------------------------------------------------------------------------------

  /** Returns all conversations, the last used first. */
  all() {
    const deleted = this.deletedSessions();
    const kept = this.#list().filter(({ session }) => !deleted.includes(session));
    return kept.sort((one, other) => other.used - one.used);
  }

  /** Returns a conversation, or undefined. */
  find(session) {
    return this.all().find((conversation) => conversation.session === session);
  }

  /**
   * Records that a conversation was used. A title that the reader has given stays, and so does a later time.
   *
   * @param {string} session
   * @param {{ title: string, used: number }} conversation
   * @returns {boolean} whether it is new in the list
   */
  recordUse(session, { title, used }) {
    if (this.deletedSessions().includes(session)) return false;
    const known = this.find(session);
    const conversation = { session, named: false, title, ...known, isUnsent: undefined, used: Math.max(used, known?.used ?? 0) };
    if (!conversation.named) conversation.title = title;
    this.#saveConversation(conversation);
    return !known;
  }

  /** Marks a conversation that the server may not have (`isUnsent`): it has acknowledged no question. */
  markUnconfirmed(session) {
    this.#saveConversation({ ...this.find(session), isUnsent: true });
  }

  /** Gives a conversation a title; an empty one changes nothing. */
  rename(session, title) {
    const conversation = this.find(session);
    if (conversation && title.trim()) this.#saveConversation({ ...conversation, title: title.trim(), named: true });
  }

  /**
   * Takes a part of the server's list: all conversations that were used in a time. What was in that time here, and is not
   * there, is gone; but not what the server does not have yet, what is shown, or not sent: it may have been used since.
   *
   * @param {{ session: string, title: string, used: number }[]} found
   * @param {{ from: number, until: number, shown: string | null }} range in milliseconds since 1970, and a session
   * @returns {boolean} whether something was gone
   */
  merge(found, { from, until, shown }) {
    const deleted = this.deletedSessions();
    const known = new Map(this.#list().map((conversation) => [conversation.session, conversation]));
    for (const conversation of found) {
      const { session } = conversation;
      if (!deleted.includes(session)) known.set(session, { named: false, ...known.get(session), isUnsent: undefined, ...conversation });
    }
    const sessions = new Set(found.map(({ session }) => session));
    const gone = [...known.values()].filter(
      ({ session, used, isUnsent }) => used > from && used < until && !isUnsent && session !== shown && !sessions.has(session) && !this.unsentTexts(session).length,
    );
    this.#write("list", JSON.stringify([...known.values()]));
    for (const { session } of gone) this.remove(session);
    return gone.length > 0;
  }

  #list() {
    return this.#readArray("list");
  }

  #saveConversation(conversation) {
    const others = this.#list().filter(({ session }) => session !== conversation.session);
    this.#write("list", JSON.stringify([...others, conversation]));
  }

  // --- deleting: at once here, on the server when it can be reached --------------------------------------------------

  /** Removes a conversation, and remembers that it has still to be deleted on the server. */
  markDeleted(session) {
    this.#write("gone", JSON.stringify([...this.deletedSessions(), session]));
    this.remove(session);
  }

  /** Returns the sessions that have still to be deleted on the server. */
  deletedSessions() {
    return this.#readArray("gone");
  }

  /** The server has deleted a session. */
  confirmDeleted(session) {
    this.#write("gone", JSON.stringify(this.deletedSessions().filter((other) => other !== session)));
  }

  /** Removes a conversation, which the server does not have, from the list, with its text and draft. */
  remove(session) {
    this.#write("list", JSON.stringify(this.#list().filter((conversation) => conversation.session !== session)));
    this.#erase(textKey(session));
    this.#erase(editsKey(session));
    this.#erase(unsentStorageKey(session));
    this.#tab.#erase(`${unsentStorageKey(session)} owner`);
    this.#tab.#erase(editsKey(session));
    for (const store of [this, this.#tab]) if (store.#read("session") === session) store.#erase("session");
  }

  // --- searching -----------------------------------------------------------------------------------------------------

  /** Keeps the text of a conversation that is in the list, to search in. */
  saveSearchText(session, text) {
    if (this.find(session)) this.#write(textKey(session), text.slice(-MAX_TEXT_CHARACTERS).normalize("NFC"));
  }

  /**
   * Returns the conversations that have all words of a query in their title or text.
   *
   * @param {string} query
   * @returns {(Conversation & { excerpt: string[] | null })[]} `excerpt` is of the first word that the title lacks: what
   *   is before it, the word, what is after it; null where the title has them all
   */
  search(query) {
    const words = normalize(query).split(/\s+/).filter(Boolean);
    const found = [];
    for (const conversation of this.all()) {
      const title = normalize(conversation.title);
      const text = this.#read(textKey(conversation.session)) ?? "";
      const normalizedText = normalize(text);
      if (!words.every((word) => title.includes(word) || normalizedText.includes(word))) continue;
      const missing = words.find((word) => !title.includes(word));
      found.push({ ...conversation, excerpt: missing ? excerptOf(text, missing) : null });
    }
    return found;
  }

  // --- what is not sent, and the last session on the page ------------------------------------------------------------

  /** Returns the texts in edit forms of a conversation, by turn: of this tab, else as they were last typed in another. */
  edits(session) {
    return { ...this.#readObject(editsKey(session)), ...this.#tab.#readObject(editsKey(session)) };
  }

  /** Keeps the text in a turn's edit form; with null, it is left. Those of other turns, in other tabs too, stay. */
  saveEdit(session, turn, text) {
    for (const store of [this, this.#tab]) {
      const { [turn]: _, ...others } = store.#readObject(editsKey(session));
      const edits = text === null ? others : { ...others, [turn]: text };
      store.#save(editsKey(session), Object.keys(edits).length ? JSON.stringify(edits) : "");
    }
  }

  /** Returns an outbox for what is asked in a conversation; with null, in one that is still empty. */
  outbox(session) {
    return new Outbox(unsentStorageKey(session), { storage: this.#unsentStorage, tabStorage: this.#tab.#unsentStorage });
  }

  /** Returns the outbox's key. */
  outboxKey(session) {
    return unsentStorageKey(session);
  }

  /** Returns the session that was last on this tab's page, else on any. */
  lastSession() {
    return this.#tab.#read("session") ?? this.#read("session");
  }

  /** @param {string | null} session */
  saveLastSession(session) {
    for (const store of [this, this.#tab]) store.#save("session", session);
  }

  // --- what is not to be taken along ---------------------------------------------------------------------------------

  /** Returns the sessions that the user does not want to have. */
  declined() {
    return this.#readArray("declined");
  }

  decline(sessions) {
    this.#write("declined", JSON.stringify([...this.declined(), ...sessions]));
  }

  // --- storage: keys are without their prefix ------------------------------------------------------------------------

  #read(key) {
    try {
      return this.#unsaved.get(key) ?? this.#storage().getItem(this.#prefix + key);
    } catch {
      return null;
    }
  }

  /** Returns an object; an empty one where there is none. */
  #readObject(key) {
    try {
      return { ...JSON.parse(this.#read(key)) };
    } catch {
      return {};
    }
  }

  /** Returns an array; an empty one where there is something else, as anybody may write to the storage. */
  #readArray(key) {
    try {
      const value = JSON.parse(this.#read(key));
      return Array.isArray(value) ? value : [];
    } catch {
      return [];
    }
  }

  /** Keeps a value; an empty one is removed. */
  #save(key, value) {
    if (value) this.#write(key, value);
    else this.#erase(key);
  }

  #write(key, value) {
    this.#unsaved.delete(key);
    do {
      try {
        return this.#storage().setItem(this.#prefix + key, value);
      } catch {}
    } while (this.#makeRoom(key));
    this.#unsaved.set(key, value);
  }

  /** Removes the text of the least recently used conversation, but not `key`. Returns whether there was one. */
  #makeRoom(key) {
    const hasText = ({ session }) => textKey(session) !== key && this.#read(textKey(session));
    const oldest = this.all().findLast(hasText);
    if (oldest) this.#erase(textKey(oldest.session));
    return Boolean(oldest);
  }

  #erase(key) {
    this.#unsaved.delete(key);
    try {
      this.#storage().removeItem(this.#prefix + key);
    } catch {}
  }

  #eraseAll() {
    this.#unsaved.clear();
    try {
      const storage = this.#storage();
      for (const key of Object.keys(storage)) if (key.startsWith(this.#prefix)) storage.removeItem(key);
    } catch {}
  }
}
