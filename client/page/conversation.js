/**
 * The conversation on the page: its connection, and what is typed or asked in it and not acknowledged, which is kept from
 * that moment on (unsent.js). It is in the list as soon as something was asked in it and its session is known.
 */
import { connect } from "../askbot.js";
import { Draft, Outbox, resend, unsentOf } from "../unsent.js";
import { shown } from "../view.js";
import * as address from "./address.js";
import { titleOf } from "./conversation-store.js";

export class Conversation {
  #store;
  #outbox;
  #draft;
  #edits; // what stands in open edit forms, by turn
  #onRefused;
  #onListed;
  #isOther;
  #session; // as it was when the connection was last open, or is opened
  #listeners = new AbortController();

  /**
   * @param {object} options
   * @param {{ url: URL, token?: string }} options.server
   * @param {string | null} options.session null for a new one
   * @param {import("./conversation-store.js").ConversationStore} options.store
   * @param {{ value: string }} options.field that of the composer
   * @param {Record<"change" | "state" | "frame" | "error", (detail: unknown) => void>} options.listeners of the client's events
   * @param {(error: import("../askbot.js").AskbotError, turn?: string) => boolean} options.onRefused shows an error; returns
   *   whether it has given the text of an edit back, whose `turn` is given then
   * @param {(user?: string | null) => boolean} options.isOther whether a connection's user is another than that of the store
   * @param {() => void} options.onListed the list of conversations has changed
   */
  constructor({ server, session, store, field, listeners, onRefused, isOther, onListed }) {
    const storage = { getItem: () => null, setItem: (_, id) => store.saveLastSession(id) };
    if (!session) store.saveLastSession(null); // a reload shows this one again, though it has no session yet
    this.chat = connect({ ...server, session, storage });
    this.#session = session;
    this.#store = store;
    this.#onRefused = onRefused;
    this.#onListed = onListed;
    this.#isOther = isOther;
    const { signal } = this.#listeners;
    const on = (type, listener) => this.chat.addEventListener(type, ({ detail }) => listener(detail), { signal });
    on("state", () => this.#onState());
    for (const [type, listener] of Object.entries(listeners)) on(type, listener);
    field.value = "";
    this.#draft = new Draft(field);
    this.#edits = store.edits(this.listedSession);
    this.#outbox = store.outbox(this.listedSession);
    this.#outbox.takeOver((item) => this.#takeOver(item));
  }

  /** The session, where something was asked in it, or the address names it; else null. */
  get listedSession() {
    const { session } = this.chat;
    return session && (address.session() === session || this.#store.find(session)) ? session : null;
  }

  /** The texts in open edit forms, by turn. */
  get edits() {
    return Object.entries(this.#edits);
  }

  ask(text, options) {
    this.#follow(this.chat.ask(text, options));
  }

  /** Asks what is in the field. */
  submit() {
    const { text, options } = this.#draft.submit();
    this.ask(text, options);
  }

  edit(turn, text) {
    this.#follow(this.chat.edit(turn, text), turn);
  }

  /** Keeps what stands in a turn's edit form; with null, it is left. */
  saveEdit(turn, text) {
    if (text === null) delete this.#edits[turn];
    else this.#edits[turn] = text;
    this.#store.saveEdit(this.listedSession, turn, text);
  }

  /** Adds to what is in the field, unless it is blank. */
  addText(text) {
    if (!text.trim()) return;
    this.#draft.add([{ text }]);
    this.save();
  }

  /** Moves what stands in an edit form to the field. */
  moveToField(turn, text) {
    this.saveEdit(turn, null);
    this.addText(text);
  }

  /** Keeps what is typed, asked and refused, as it is now. */
  save() {
    if (this.#listeners.signal.aborted) return; // what was left is kept as it was
    const drafts = this.#draft.items.map((item) => ({ ...item, isDraft: true }));
    this.#outbox.keep([...unsentOf(this.chat), ...drafts]);
  }

  /** Keeps no more what the log has, and removes it from the field. */
  removeLogged() {
    this.#draft.removeLogged(this.chat.view.turns);
    this.save();
  }

  /**
   * Puts the conversation into the list, or its newer use.
   *
   * @param {string} [title] where it has no name yet
   * @param {number} used when it was asked something, in milliseconds since 1970
   */
  record(title, used) {
    const before = this.listedSession;
    const isNew = this.#store.recordUse(this.chat.session, { title, used });
    if (isNew && !before) this.#outbox.move(this.#store.outboxKey(this.chat.session));
    this.#onListed();
  }

  /** Lets the next page have what is not sent: this one may not come back. */
  release() {
    this.#outbox.release();
  }

  /** The page has come back. */
  hold() {
    this.#outbox.hold();
  }

  /** Leaves the conversation. Returns whether there are questions that were perhaps not sent: they are kept. */
  close() {
    const hasUnsent = unsentOf(this.chat).length > 0;
    this.#listeners.abort();
    this.release();
    this.chat.close();
    return hasUnsent;
  }

  /** Waits for the outcome of what was asked. What is refused goes back to where it was typed. */
  async #follow(request, turn) {
    this.#recordAsked();
    this.save();
    try {
      await request;
    } catch (error) {
      if (this.#listeners.signal.aborted) return; // what was left is kept
      if (error.code === "cancelled") this.#giveBack(error);
      else if (!this.#onRefused(error, turn)) this.#draft.addFailed(error);
      this.#removeEmpty();
    }
    this.save();
  }

  /** Puts the text of a question that the reader has cancelled before it was in the log back into the field, to be edited. */
  #giveBack({ text }) {
    if (text && !this.#draft.items.length) this.#draft.add([{ text }]);
  }

  /** What another page has left: what it had asked is asked again, what it had in its field is in ours. */
  #takeOver({ isDraft, ...item }) {
    if (!isDraft) return this.#follow(resend(this.chat, item), item.turn);
    this.#draft.add([item]);
    this.save();
  }

  /** A connection is open: to the same session, or to a new one, where the server does not have that any more. */
  #onState() {
    const { state, session, user } = this.chat;
    if (state !== "open") return;
    if (this.#isOther(user)) return;
    this.#recordAsked();
    this.#outbox.move(this.#store.outboxKey(this.listedSession));
    if (this.#session && this.#session !== session) {
      this.#store.remove(this.#session);
      this.#onListed();
    }
    this.#session = session;
  }

  /** Puts a conversation into the list that has questions only which are not in its log. */
  #recordAsked() {
    const [first] = unsentOf(this.chat);
    const isNew = this.chat.session && first && !this.#store.find(this.chat.session);
    if (!isNew || shown(this.chat.view.turns).length) return;
    this.record(titleOf(first.text), Date.now());
    this.#store.markUnconfirmed(this.chat.session);
  }

  /** Removes a conversation from the list whose only question was refused or cancelled. */
  #removeEmpty() {
    const { view, session } = this.chat;
    const isEmpty = view.seq === 0 && !unsentOf(this.chat).length && this.#store.find(session);
    if (!isEmpty || address.session() === session) return;
    this.#outbox.move(this.#store.outboxKey(null));
    this.#store.remove(session);
    this.#onListed();
  }
}
