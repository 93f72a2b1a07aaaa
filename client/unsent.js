/**
 * Unsent: the questions that the server had not acknowledged when their conversation was left. They go back into the field
 * that they came from, and are kept in a storage while there is no page that could show them.
 *
 * One is `{ id, text }`: by its `id` it is recognised where the server has got it after all. Text that was only typed has
 * no `id`.
 */

/** Returns the questions of a conversation that are not in its log yet. */
export function unsentOf(chat) {
  return chat.pending().map(({ id, text }) => ({ id, text }));
}

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

  /** Puts items before what is typed in the field. Questions that are in it already are not added. */
  add(items) {
    const [questions, typed] = [this.items.filter(({ id }) => id), this.items.filter(({ id }) => !id)];
    const added = items.filter((item) => !item.id || questions.every(({ id }) => id !== item.id));
    if (added.length) this.#set([...questions, ...added, ...typed]);
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

/** Returns what is kept. The storage may be missing or forbidden, and anybody may write to it. */
function read(storage, key) {
  try {
    return JSON.parse((storage ?? localStorage).getItem(key)).filter((item) => typeof item?.text === "string");
  } catch {
    return [];
  }
}

function write(storage, key, items) {
  try {
    if (items.length) (storage ?? localStorage).setItem(key, JSON.stringify(items));
    else (storage ?? localStorage).removeItem(key);
  } catch {}
}

/** Adds items to those that are kept. */
export function keep(storage, key, items) {
  if (items.length) write(storage, key, [...read(storage, key), ...items]);
}

/** Returns the items that are kept, and keeps them no more. */
export function take(storage, key) {
  const items = read(storage, key);
  if (items.length) write(storage, key, []);
  return items;
}

/** Keeps these items no more: their page is shown again. */
export function withdraw(storage, key, items) {
  const isOwn = (kept) => items.some(({ id, text }) => id === kept.id && text === kept.text);
  if (items.length) write(storage, key, read(storage, key).filter((kept) => !isOwn(kept)));
}
