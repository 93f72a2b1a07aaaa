/**
 * The conversations that this browser knows, in its storage: a list, and of each its draft and the text to search in.
 *
 *   askbot.list             [{ session, title, named, used }]   named: by the reader; used: when it was last asked something
 *   askbot.draft[.session]  what is typed and not sent yet; without a session, of a conversation that is still empty
 *   askbot.text.session     its questions and answers, as far as they were on this page: the newest TEXT characters
 *   askbot.gone             sessions that are deleted here, and that the server still has to be told of
 *   askbot.session          the last one on the page
 *
 * All tabs share it, so every change begins by reading. Where storage is forbidden, it lasts as long as the page; where
 * it is full, the texts of the conversations that were used least recently go.
 */

const TEXT = 20_000; // characters; five million is what browsers give to all of an origin
const TITLE = 80;
const AROUND = 40; // characters of an excerpt before what was found, and after it

const folded = (text) => text.normalize("NFC").toLowerCase();

/** The first line that says something. */
export function titleOf(question) {
  const line = question.trim().split("\n")[0].trim();
  return line.length > TITLE ? `${line.slice(0, TITLE - 1).trimEnd()}…` : line;
}

/** What a word was found in: before it, itself, after it; null where a text has it not. */
function excerptOf(text, word) {
  const at = folded(text).indexOf(word);
  if (at < 0) return null;
  const from = Math.max(0, at - AROUND);
  const clean = (part) => part.replace(/\s+/g, " ");
  const until = at + word.length + AROUND;
  const before = clean(text.slice(from, at)).trimStart();
  const after = clean(text.slice(at + word.length, until)).trimEnd();
  return [from ? `…${before}` : before, clean(text.slice(at, at + word.length)), until < text.length ? `${after}…` : after];
}

export class Shelf {
  #storage;
  #kept = new Map(); // what storage did not take

  constructor(storage) {
    this.#storage = storage;
  }

  // --- conversations ---

  /** The last used first. */
  all() {
    const gone = this.gone();
    return this.#list().filter(({ session }) => !gone.includes(session)).sort((one, other) => other.used - one.used);
  }

  find(session) {
    return this.all().find((entry) => entry.session === session);
  }

  /** What was asked; a name that the reader has given stays. Tells whether the conversation is new here. */
  note(session, { title, used }) {
    const old = this.find(session);
    if (this.gone().includes(session)) return false;
    const entry = { session, named: false, title, ...old, used: Math.max(used, old?.used ?? 0) };
    if (!entry.named) entry.title = title;
    this.#keepList(entry);
    return !old;
  }

  rename(session, title) {
    const entry = this.find(session);
    if (entry && title.trim()) this.#keepList({ ...entry, title: title.trim(), named: true });
  }

  #list() {
    return this.#read("list", []);
  }

  #keepList(entry) {
    this.#write("list", JSON.stringify([...this.#list().filter(({ session }) => session !== entry.session), entry]));
  }

  // --- deleting: at once here, on the server when it can be reached ---

  remove(session) {
    this.#write("gone", JSON.stringify([...this.gone(), session]));
    this.drop(session);
  }

  gone() {
    return this.#read("gone", []);
  }

  /** The server has deleted it. */
  forgotten(session) {
    this.#write("gone", JSON.stringify(this.gone().filter((other) => other !== session)));
  }

  /** It is not there any more. */
  drop(session) {
    this.#write("list", JSON.stringify(this.#list().filter((entry) => entry.session !== session)));
    for (const name of ["text", "draft"]) this.#erase(`${name}.${session}`);
    if (this.last() === session) this.#erase("session");
  }

  // --- texts ---

  remember(session, text) {
    if (this.find(session)) this.#write(`text.${session}`, text.slice(-TEXT).normalize("NFC"));
  }

  /** Those in whose title or text all the words are, with an excerpt where the title alone doesn't show it. */
  search(query) {
    const words = folded(query).split(/\s+/).filter(Boolean);
    return this.all().flatMap((entry) => {
      const title = folded(entry.title);
      const text = this.#get(`text.${entry.session}`) ?? "";
      const inText = folded(text);
      if (!words.every((word) => title.includes(word) || inText.includes(word))) return [];
      const missing = words.find((word) => !title.includes(word));
      return [{ ...entry, excerpt: missing ? excerptOf(text, missing) : null }];
    });
  }

  // --- drafts, and the last one on the page ---

  draft(session) {
    return this.#get(draftOf(session)) ?? "";
  }

  keepDraft(session, text) {
    if (text) this.#write(draftOf(session), text);
    else this.#erase(draftOf(session));
  }

  last() {
    return this.#get("session");
  }

  keepLast(session) {
    if (session) this.#write("session", session);
    else this.#erase("session");
  }

  // --- storage ---

  #get(name) {
    try {
      return this.#kept.get(name) ?? this.#storage().getItem(`askbot.${name}`);
    } catch {
      return null;
    }
  }

  /** Anybody may have written there. */
  #read(name, otherwise) {
    try {
      const value = JSON.parse(this.#get(name));
      return Array.isArray(value) ? value : otherwise;
    } catch {
      return otherwise;
    }
  }

  #write(name, value) {
    this.#kept.delete(name);
    do {
      try {
        return this.#storage().setItem(`askbot.${name}`, value);
      } catch {}
    } while (this.#makeRoom(name));
    this.#kept.set(name, value);
  }

  #makeRoom(name) {
    const oldest = this.all().findLast(({ session }) => `text.${session}` !== name && this.#get(`text.${session}`));
    if (oldest) this.#erase(`text.${oldest.session}`);
    return Boolean(oldest);
  }

  #erase(name) {
    this.#kept.delete(name);
    try {
      this.#storage().removeItem(`askbot.${name}`);
    } catch {}
  }
}

const draftOf = (session) => (session ? `draft.${session}` : "draft");
