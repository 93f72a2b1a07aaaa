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
  error: null,
});

const getServerSnapshot = () => INITIAL_SNAPSHOT;

/** Runs an action with the next animation frame; at once where the page is hidden, which has none, or where there is none. */
function schedule(action) {
  const isVisible = globalThis.document?.hidden === false;
  if (isVisible) requestAnimationFrame(action);
  else queueMicrotask(action);
}

function snapshotOf(chat, error) {
  const { state, session, view } = chat;
  return {
    turns: rows(chat),
    state,
    session: session ?? null,
    model: view.model ?? null,
    limits: view.limits ?? null,
    running: Boolean(running(chat)),
    earlier: Boolean(view.earlier),
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
  onFrame;
  session; // as the component names it

  #chat = null;
  #options;
  #snapshot = INITIAL_SNAPSHOT;
  #error = null;
  #isUpdateScheduled = false;
  #listeners = new Set();
  #sessions = []; // that the server has given, from the one in the snapshot on

  constructor(options) {
    this.#options = options;
    this.session = options.session;
  }

  /**
   * Whether options mean this conversation. A component that names no session means it, and so does one that names the
   * same as before, or a session that the server has given: it may have heard of that before or after the snapshot shows it.
   */
  matches({ url, token, session }) {
    const own = this.#options;
    const isSameSession = session == null || session === this.session || this.#sessions.includes(session);
    return String(url) === String(own.url) && token === own.token && isSameSession;
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

  ask = (text, options) => this.#request((chat) => chat.ask(text, options));
  retry = (turn, options) => this.#request((chat) => chat.retry(turn, options));
  edit = (turn, text, options) => this.#request((chat) => chat.edit(turn, text, options));
  forget = () => this.#request((chat) => chat.forget());
  history = (range) => this.#request((chat) => chat.history(range));
  fresh = () => this.#request((chat) => chat.fresh());

  stop = () => {
    const turn = this.#chat && running(this.#chat);
    return Promise.resolve(turn && this.#chat.cancel(turn)).catch(() => {});
  };

  #request(action) {
    this.#error = null;
    const result = action(this.#ensureConnected());
    result?.catch(() => {}); // the error is in the snapshot too
    return result;
  }

  #ensureConnected() {
    this.#chat ??= this.#connect();
    queueMicrotask(this.#closeIfUnused);
    return this.#chat;
  }

  #connect() {
    const chat = connect({ ...this.#options, session: this.#snapshot.session ?? this.#options.session });
    chat.addEventListener("change", this.#scheduleUpdate);
    chat.addEventListener("state", this.#scheduleUpdate);
    chat.addEventListener("error", ({ detail }) => {
      this.#error = detail;
      this.#scheduleUpdate();
    });
    chat.addEventListener("frame", ({ detail }) => this.#onFrame(detail));
    this.#scheduleUpdate();
    return chat;
  }

  #onFrame(frame) {
    const { session } = this.#chat;
    if (this.#sessions.at(-1) !== session) this.#sessions.push(session);
    this.onFrame?.(frame);
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
      this.#snapshot = snapshotOf(this.#chat, this.#error);
      const shown = this.#sessions.indexOf(this.#snapshot.session);
      if (shown > 0) this.#sessions.splice(0, shown);
      for (const listener of this.#listeners) listener();
    });
  };
}

/**
 * A conversation as a component sees it. With another `url`, `token` or `session` it is another conversation.
 *
 * @param {import("./react.js").AskbotOptions} [options]
 * @returns {import("./react.js").Askbot} its functions stay the same ones
 */
export function useAskbot(options = {}) {
  const [current, setCurrent] = useState(() => new ChatStore(options));
  const store = current.matches(options) ? current : new ChatStore(options);
  if (store !== current) setCurrent(store);
  const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot, getServerSnapshot);
  useEffect(() => {
    store.onFrame = options.onFrame;
    store.session = options.session;
  });
  const { ask, retry, edit, forget, history, fresh, stop } = store;
  return { ...snapshot, ask, retry, edit, forget, history, fresh, stop };
}
