/** `useAskbot`: a conversation as a React hook. README.md has a program. */
import { useEffect, useState, useSyncExternalStore } from "react";
import { connect } from "./askbot.js";
import { rows, running } from "./rows.js";

/** The snapshot before there is a connection, and where a server renders the component. */
const INITIAL_SNAPSHOT = Object.freeze({
  turns: [],
  state: "connecting",
  session: null,
  model: null,
  limits: null,
  running: false,
  earlier: false,
  draft: "",
  error: null,
});

const getServerSnapshot = () => INITIAL_SNAPSHOT;

/** Runs an action with the next animation frame; at once where the page is hidden, which has none, or where there is none. */
function schedule(action) {
  const isVisible = globalThis.document?.hidden === false;
  if (isVisible) requestAnimationFrame(action);
  else queueMicrotask(action);
}

function snapshotOf(chat, draft, error) {
  const { state, session, view } = chat;
  return {
    turns: rows(chat),
    state,
    session: session ?? null,
    model: view.model ?? null,
    limits: view.limits ?? null,
    running: Boolean(running(chat)),
    earlier: Boolean(view.earlier),
    draft,
    error,
  };
}

/**
 * A conversation as an external store: connected while somebody is subscribed, with a snapshot that changes once an
 * animation frame at most.
 *
 * React's strict mode unsubscribes and subscribes again at once, so the connection is closed in a microtask only, and
 * stays one. Nothing is connected before the first subscription, so that a server may render a component.
 */
class ChatStore {
  options; // as the component gave them last
  unsent; // questions that were given back: { id, text }

  #chat = null;
  #token; // as the last connection was given it: a function, or what it is
  #snapshot = INITIAL_SNAPSHOT;
  #error = null;
  #isUpdateScheduled = false;
  #listeners = new Set();
  #sessions = []; // that the server has given, from the one in the snapshot on

  /** @param {object[]} unsent shared with the conversation that had this one's place: its questions are given back here */
  constructor(options, unsent = []) {
    this.options = options;
    this.unsent = unsent;
  }

  /**
   * Whether options mean this conversation. A component that names no session means it, and so does one that names the
   * same as before, or a session that the server has given: it may have heard of that before or after the snapshot shows it.
   */
  matches({ url, name, session }) {
    const own = this.options;
    const isSameSession = session == null || session === own.session || this.#sessions.includes(session);
    return String(url) === String(own.url) && name === own.name && isSameSession;
  }

  /** Takes the options of a render. Another token is for the next connection; where the last one was refused, that is now. */
  update(options) {
    this.options = options;
    if (this.#isTokenOld()) this.#chat = this.#connect();
  }

  /** Returns whether the connection was refused, and not with the present token. A function may be new in each render. */
  #isTokenOld() {
    const { token } = this.options;
    return this.#chat?.state === "closed" && token !== this.#token && typeof token !== "function";
  }

  getSnapshot = () => this.#snapshot;

  subscribe = (listener) => {
    this.#listeners.add(listener);
    this.#ensureConnected();
    return () => {
      this.#listeners.delete(listener);
      queueMicrotask(this.#closeIfUnused);
    };
  };

  ask = (text, options) => {
    const given = this.unsent.find((question) => question.text === text);
    this.unsent.length = 0;
    return this.#request((chat) => chat.ask(text, { id: given?.id, ...options })); // by its id it is not asked twice
  };
  retry = (turn, options) => this.#request((chat) => chat.retry(turn, options));
  edit = (turn, text, options) => this.#request((chat) => chat.edit(turn, text, options));
  forget = () => this.#request((chat) => chat.forget());
  history = (range) => this.#request((chat) => chat.history(range));
  fresh = () => this.#request((chat) => chat.fresh());
  pending = () => this.#chat?.pending() ?? [];

  stop = () => {
    const turn = this.#chat && running(this.#chat);
    return Promise.resolve(turn && this.#chat.cancel(turn)).catch(() => {});
  };

  #request(action) {
    this.#error = null;
    const result = action(this.#ensureConnected());
    result?.catch(({ code, id, text }) => {
      const isKnown = this.unsent.some((question) => question.id === id); // it was asked twice, under its id
      if (text && code !== "cancelled" && !isKnown) this.unsent.push({ id, text });
      this.#scheduleUpdate();
    });
    return result;
  }

  #ensureConnected() {
    this.#chat ??= this.#connect();
    queueMicrotask(this.#closeIfUnused);
    return this.#chat;
  }

  #connect() {
    const { options } = this;
    const chat = connect({ ...options, session: this.#snapshot.session ?? options.session, token: this.#currentToken });
    chat.addEventListener("change", this.#scheduleUpdate);
    chat.addEventListener("state", this.#scheduleUpdate);
    chat.addEventListener("error", ({ detail }) => {
      if (this.#isTokenOld()) this.#chat = this.#connect(); // it has come while the connection was made
      else this.#error = detail;
      this.#scheduleUpdate();
    });
    chat.addEventListener("frame", ({ detail }) => this.#onFrame(detail, chat));
    this.#scheduleUpdate();
    return chat;
  }

  #currentToken = () => {
    const { token } = this.options;
    this.#token = token;
    return typeof token === "function" ? token() : token;
  };

  #onFrame(frame, { session }) {
    if (this.#sessions.at(-1) !== session) this.#sessions.push(session);
    this.options.onFrame?.(frame);
  }

  /** Returns what was given back, without what the server has got after all. */
  #draft() {
    const isLogged = (question) => this.#chat.view.turns.some(({ id }) => id === question.id);
    const draft = this.unsent.filter((question) => !isLogged(question));
    return draft.map(({ text }) => text).join("\n\n");
  }

  #closeIfUnused = () => {
    if (this.#listeners.size) return;
    this.#chat?.close();
    this.#chat = null;
  };

  #scheduleUpdate = () => {
    if (this.#isUpdateScheduled) return;
    this.#isUpdateScheduled = true;
    schedule(() => {
      this.#isUpdateScheduled = false;
      if (!this.#chat) return;
      this.#snapshot = snapshotOf(this.#chat, this.#draft(), this.#error);
      const shown = this.#sessions.indexOf(this.#snapshot.session);
      if (shown > 0) this.#sessions.splice(0, shown);
      for (const listener of this.#listeners) listener();
    });
  };
}

/**
 * A conversation as a component sees it. With another `url`, `name` or `session` it is another conversation.
 *
 * @param {import("./react.js").AskbotOptions} [options]
 * @returns {import("./react.js").Askbot} its functions stay the same ones
 */
export function useAskbot(options = {}) {
  const [current, setCurrent] = useState(() => new ChatStore(options));
  const store = current.matches(options) ? current : new ChatStore(options, current.unsent);
  if (store !== current) setCurrent(store);
  const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot, getServerSnapshot);
  useEffect(() => store.update(options));
  const { ask, retry, edit, forget, history, fresh, pending, stop } = store;
  return { ...snapshot, ask, retry, edit, forget, history, fresh, pending, stop };
}
