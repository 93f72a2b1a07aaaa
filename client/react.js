/** `useAskbot`: a conversation as React sees it. README.md has a program. */
import { useEffect, useState, useSyncExternalStore } from "react";
import { connect } from "./askbot.js";
import { rows, running } from "./rows.js";

const NOTHING = Object.freeze({
  turns: [], state: "connecting", session: null, model: null, limits: null, running: false, earlier: false, error: null,
});

/** A page that is hidden has no frames. */
const soon = (action) => (globalThis.document?.hidden === false ? requestAnimationFrame(action) : queueMicrotask(action));

const sight = (chat, error) => ({
  turns: rows(chat), state: chat.state, session: chat.session ?? null, model: chat.view.model ?? null, limits: chat.view.limits ?? null,
  running: Boolean(running(chat)), earlier: Boolean(chat.view.earlier), error,
});

/**
 * A connection while somebody looks, and what they see, which changes once a frame at most.
 *
 * React's strict mode leaves and comes back at once, so whoever leaves is waited for, for a moment: it is one
 * connection. Nothing happens before somebody looks, so that a server may render it.
 */
class Conversation {
  onFrame;
  session; // as the component gives it
  #chat = null;
  #options;
  #seen = NOTHING;
  #error = null;
  #due = false;
  #watchers = new Set();

  constructor(options) {
    this.#options = options;
    this.session = options.session;
  }

  /** A session that is given anew may also be the one that this conversation has got by now. */
  suits({ url, token, session }) {
    const ours = this.#options;
    return String(url) === String(ours.url) && token === ours.token && [undefined, this.session, this.#seen.session].includes(session);
  }

  look = () => this.#seen;

  watch = (watcher) => {
    this.#watchers.add(watcher);
    this.#use();
    return () => {
      this.#watchers.delete(watcher);
      queueMicrotask(this.#leave);
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
    const asked = action(this.#use());
    asked?.catch(() => {}); // it is in `error` too
    return asked;
  }

  #use() {
    this.#chat ??= this.#open();
    queueMicrotask(this.#leave);
    return this.#chat;
  }

  #open() {
    const chat = connect({ ...this.#options, session: this.#seen.session ?? this.#options.session });
    chat.addEventListener("change", this.#change);
    chat.addEventListener("state", this.#change);
    chat.addEventListener("error", ({ detail }) => this.#change((this.#error = detail)));
    chat.addEventListener("frame", ({ detail }) => this.onFrame?.(detail));
    this.#change();
    return chat;
  }

  #leave = () => {
    if (this.#watchers.size) return;
    this.#chat?.close();
    this.#chat = null;
  };

  #change = () => {
    if (this.#due) return;
    this.#due = true;
    soon(() => {
      this.#due = false;
      if (!this.#chat) return;
      this.#seen = sight(this.#chat, this.#error);
      for (const watcher of this.#watchers) watcher();
    });
  };
}

const nothing = () => NOTHING;

/** Other `url`, `token` or `session`: another conversation. */
export function useAskbot(options = {}) {
  const [held, hold] = useState(() => new Conversation(options));
  const conversation = held.suits(options) ? held : new Conversation(options);
  if (conversation !== held) hold(conversation);
  const now = useSyncExternalStore(conversation.watch, conversation.look, nothing);
  useEffect(() => {
    conversation.onFrame = options.onFrame;
    conversation.session = options.session;
  });
  const { ask, retry, edit, forget, history, fresh, stop } = conversation;
  return { ...now, ask, retry, edit, forget, history, fresh, stop };
}
