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

/** Returns texts as one. */
export function textOf(items) {
  return items.map(({ text }) => text).join("\n\n");
}

/** What stands in a field, and which questions are in it, as long as nobody edits them. */
export class Draft {
  #items = [];
  #field;

  /** @param {{ value: string }} field */
  constructor(field) {
    this.#field = field;
  }

  get items() {
    const text = this.#field.value;
    if (text !== textOf(this.#items)) this.#items = text ? [{ text }] : [];
    return this.#items;
  }

  /** Whether a question is in it. */
  get hasQuestion() {
    return this.items.some(({ id }) => id);
  }

  /** Puts items before what stands in the field. */
  add(items) {
    this.#set([...items, ...this.items]);
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
    this.#field.value = textOf(items);
  }
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
