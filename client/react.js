/** `useAskbot`: a conversation as a React hook. README.md has a program. */
import { useEffect, useState, useSyncExternalStore } from "react";
import { connect } from "./askbot.js";
import { SESSION_NOT_FOUND } from "./connection.js";
import { rows, running } from "./rows.js";
import { Outbox, resend, unsentKey, unsentOf } from "./unsent.js";
import { empty } from "./view.js";

/** Runs an action with the next animation frame; at once where the page is hidden, which has none, or where there is none. */
function schedule(action) {
  const isVisible = globalThis.document?.hidden === false;
  if (isVisible) requestAnimationFrame(action);
  else queueMicrotask(action);
}

function snapshotOf(chat, draft, error) {
  const { state, connection, session, view } = chat;
  return {
    turns: rows(chat),
    state,
    connection,
    session: session ?? null,
    model: view.model ?? null,
    models: view.models ?? null,
    title: view.title ?? null,
    user: view.user ?? null,
    limits: view.limits ?? null,
    running: Boolean(running(chat)),
    earlier: Boolean(view.earlier),
    draft,
    error,
  };
}

/** The snapshot before there is a connection, and where a server renders the component. */
const INITIAL_SNAPSHOT = snapshotOf({
  state: "connecting",
  connection: { state: "connecting", cause: null, tries: 0, since: 0, nextTry: null },
  view: empty,
  pending: () => [],
}, "", null);

const getServerSnapshot = () => INITIAL_SNAPSHOT;

/**
 * A conversation as an external store: connected while somebody is subscribed, with a snapshot that changes once an
 * animation frame at most.
 *
 * React's strict mode unsubscribes and subscribes again at once, so the connection is closed in a microtask only, and
 * stays one. Nothing is connected, and no storage read, before the first subscription, so that a server may render a
 * component.
 *
 * What was asked and has no acknowledgement is kept by an Outbox while somebody is subscribed. Where the component goes, it
 * stays there, and is asked where the conversation is shown next, on whatever page; where the component shows another
 * conversation, it is given back.
 */
class ChatStore {
  options; // as the component gave them last
  givenBack; // { texts, store }: the questions that the component has in `draft`, by id, and the conversation that it shows

  #chat = null;
  #token; // as the last connection was given it: a function, or what it is
  #snapshot = INITIAL_SNAPSHOT;
  #error = null;
  #isUpdateScheduled = false;
  #listeners = new Set();
  #sessions = []; // that the server has given, from the one in the snapshot on
  #lastSession = null; // of the chat
  #seenSessions = new Set(); // in which there was a question
  #goneSessions = new Set(); // that the server does not have any more, in whose place the present one is
  #outbox = null; // null while nobody is subscribed
  #hasLeft = false; // whether there may be something of other pages in it

  constructor(options, givenBack = { texts: new Map() }) {
    this.options = options;
    this.givenBack = givenBack;
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
    this.givenBack.store = this;
    this.#ensureConnected();
    this.#openOutbox();
    return () => {
      this.#listeners.delete(listener);
      queueMicrotask(this.#closeIfUnused);
    };
  };

  /** What a component calls. */
  actions = {
    ask: (text, options) => {
      const { texts } = this.givenBack;
      const [id] = [...texts].find(([, given]) => given === text) ?? [];
      texts.clear();
      return this.#request("ask", text, { id, ...options }); // by its id it is not asked twice
    },
    retry: (turn, options) => this.#request("retry", turn, options),
    edit: (turn, text, options) => this.#request("edit", turn, text, options),
    fork: (turn, options) => this.#request("fork", turn, options),
    history: (range) => this.#request("history", range),
    setTitle: (text) => this.#request("title", text),
    sessions: (range) => this.#request("sessions", range),
    forget: () => this.#request("forget"),
    fresh: () => {
      this.#lastSession = null;
      this.#goneSessions.clear();
      return this.#request("fresh");
    },
    pending: () => this.#chat?.pending() ?? [],
    reconnect: () => {
      if (this.#chat?.state === "closed") this.#chat = this.#connect();
      else this.#chat?.reconnect();
    },
    stop: () => {
      const turn = this.#chat && running(this.#chat);
      return Promise.resolve(turn && this.#chat.cancel(turn)).catch(() => {});
    },
  };

  #request(method, ...given) {
    this.#error = null;
    const chat = this.#ensureConnected();
    return this.#follow(chat, chat[method](...given));
  }

  /** Gives a question back that is not in the log when its request has failed. Returns the request. */
  #follow(chat, request) {
    request?.catch(({ code, id, text }) => {
      const { texts, store } = this.givenBack;
      const isLeft = code === "closed" && chat !== this.#chat && store === this; // by its component: the outbox has it
      const isWanted = code !== "cancelled" || !texts.size;
      if (text && isWanted && !isLeft) texts.set(id, text);
      store?.#onChange();
    });
    return request;
  }

  // --- the connection ------------------------------------------------------------------------------------------------

  #ensureConnected() {
    this.#chat ??= this.#connect();
    queueMicrotask(this.#closeIfUnused);
    return this.#chat;
  }

  #connect() {
    this.#error = null; // that of a connection before
    const { options } = this;
    const chat = connect({ ...options, session: this.#snapshot.session ?? options.session, token: this.#currentToken, ticket: this.#currentTicket });
    const on = (type, listener) => chat.addEventListener(type, ({ detail }) => chat === this.#chat && listener(detail));
    on("change", this.#onChange);
    on("state", () => this.#onState(chat));
    on("error", (error) => {
      if (this.#isTokenOld()) this.#chat = this.#connect(); // it has come while the connection was made
      else if (!this.#isEmptyGone(error)) this.#error = error;
      this.#onChange();
    });
    on("frame", (frame) => this.#onFrame(frame, chat));
    this.#onState(chat);
    return chat;
  }

  /** Whether a session is gone that the `session` option does not name, and in which nothing was ever seen. */
  #isEmptyGone({ code, id }) {
    const session = this.#lastSession;
    return code === "session_not_found" && !id && session && session !== this.options.session && !this.#seenSessions.has(session);
  }

  #onState({ session, connection }) {
    if (session) this.#lastSession = session;
    else if (connection.cause?.closeCode === SESSION_NOT_FOUND) this.#goneSessions.add(this.#lastSession);
    this.#takeLeft();
    this.#onChange();
  }

  #currentToken = () => {
    const { token } = this.options;
    this.#token = token;
    return typeof token === "function" ? token() : token;
  };

  #currentTicket = () => {
    const { ticket } = this.options;
    return typeof ticket === "function" ? ticket() : ticket;
  };

  #onFrame(frame, { session }) {
    if (frame.type === "question") this.#seenSessions.add(session);
    if (this.#sessions.at(-1) !== session) this.#sessions.push(session);
    this.options.onFrame?.(frame);
  }

  #closeIfUnused = () => {
    const chat = this.#chat;
    if (this.#listeners.size || !chat) return;
    if (this.givenBack.store !== this) this.#outbox?.keep([]); // the component shows another conversation, which gets it
    this.#outbox?.release();
    this.#outbox = this.#chat = null;
    chat.close();
  };

  // --- what is not sent ----------------------------------------------------------------------------------------------

  #openOutbox() {
    if (this.#outbox) return;
    const { url, name, unsentStorage: storage } = this.options;
    this.#outbox = new Outbox(unsentKey(url, name), { storage });
    this.#hasLeft = true;
    this.#save();
    this.#takeLeft();
  }

  /** Takes over what other pages have left, once it is known who is connected: it is never asked as another user. */
  #takeLeft() {
    if (!this.#hasLeft || this.#chat?.user === undefined) return;
    this.#hasLeft = false;
    this.#outbox?.takeOver(this.#takeOver, this.#isOwn);
  }

  /**
   * Whether something that was left is of this conversation: it has that session or one that is gone, or was asked under the
   * same `session` option; and no other user asked it. A page may get it before or after it hears that the session is gone.
   */
  #isOwn = ({ session, named, user }) => {
    if (user !== undefined && user !== this.#chat.user) return false; // undefined: it was asked before `ready`
    const isGone = this.#goneSessions.has(session ?? named);
    return isGone || session == this.#chat.session || (named ?? session) == this.options.session;
  };

  #takeOver = ({ isDraft, session, named, user, ...item }) => {
    if (isDraft) this.givenBack.texts.set(item.id, item.text);
    else this.#follow(this.#chat, resend(this.#chat, item));
    this.#onChange();
  };

  /** Keeps what is asked and not acknowledged, and what was given back, in case that the page ends now. */
  #save() {
    if (!this.#outbox) return;
    const { session, user, view } = this.#chat;
    const { texts } = this.givenBack;
    const named = this.options.session;
    for (const { id } of view.turns) texts.delete(id); // the server has got it after all
    const drafts = Array.from(texts, ([id, text]) => ({ id, text, isDraft: true }));
    this.#outbox.keep([...unsentOf(this.#chat), ...drafts].map((item) => ({ ...item, session, named, user })));
  }

  // --- the snapshot --------------------------------------------------------------------------------------------------

  #onChange = () => {
    this.#save();
    if (this.#isUpdateScheduled) return;
    this.#isUpdateScheduled = true;
    schedule(() => {
      this.#isUpdateScheduled = false;
      if (!this.#chat) return;
      const draft = [...this.givenBack.texts.values()].join("\n\n");
      this.#snapshot = snapshotOf(this.#chat, draft, this.#error);
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
  const store = current.matches(options) ? current : new ChatStore(options, current.givenBack);
  if (store !== current) setCurrent(store);
  const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot, getServerSnapshot);
  useEffect(() => store.update(options));
  return { ...snapshot, ...store.actions };
}
