import type { Ask, ErrorCode, History, Ready, ServerFrame, Sessions } from "./frames.js";
import type { Turn, View } from "./view.js";

export type { Turn, View };

export type State = "connecting" | "open" | "waiting" | "closed";

/** Why there is no connection. */
export interface ConnectionCause {
  /**
   * `unreachable`: nothing came from the server, which is down, or refuses this page's origin (a browser does not say
   * which); `timeout`: it was not ready in time; `lost`: the connection was closed or fell silent; `going_away`: the server
   * is about to stop; `closed`: `close()` was called; or the code of a server's error.
   */
  readonly code: ErrorCode | "unreachable" | "timeout" | "lost" | "going_away" | "closed" | (string & {});
  /** What the server or the WebSocket said of it, else the code. */
  readonly message: string;
  /** The code that the WebSocket was closed with, where it was. */
  readonly closeCode?: number;
}

/** How the connection is. It is never changed: each change makes a new one. */
export interface Connection {
  readonly state: State;
  /** Why it is not open; null while it is, and before an attempt has failed. */
  readonly cause: ConnectionCause | null;
  /** How many attempts to connect were begun since it was last open, or since a new session was tried at once. */
  readonly tries: number;
  /** Since when it is open, or since when it is not, in milliseconds since 1970. */
  readonly since: number;
  /** While it waits: when the next attempt is made, in milliseconds since 1970; a server's `retry_after` comes first. */
  readonly nextTry: number | null;
}

/** How a question is to be answered. */
export type ModelOptions = Partial<Pick<Ask, "model" | "temperature" | "max_tokens">>;

/** The same, and an id to recognise the question by, of 1 to 64 characters: the same id is never asked twice. */
export type QuestionOptions = ModelOptions & { id?: string };

/** The same, and what happens while another answer is written. */
export type AskOptions = QuestionOptions & Partial<Pick<Ask, "when_busy">>;

/** A refusal by the server, or by the client itself (`cancelled`, `closed`, `damaged`, `timeout`). */
export interface AskbotError extends Error {
  readonly code: ErrorCode | "cancelled" | "closed" | "damaged" | "timeout" | (string & {});
  /** The id of the request that is refused. */
  readonly id?: string;
  /** The text of a question that is not in the log, to be given back to whoever typed it. */
  readonly text?: string;
  /** Whether the same may succeed later. */
  readonly retryable?: boolean;
  /** Milliseconds to wait before that. */
  readonly retryAfter?: number | null;
}

/**
 * A question that was asked: await it for the ended turn, iterate over it for the answer's text as it comes, or both. What
 * was iterated over is the answer, or the iteration ends with an error.
 */
export interface AnswerStream extends Promise<Turn>, AsyncIterable<string> {
  readonly id: string;
}

/** The former name of `AnswerStream`. */
export type Asked = AnswerStream;

/** A request that was made. */
export interface Requested<Result> extends Promise<Result> {
  readonly id: string;
}

/** The frame of a request that has no answer yet. */
export interface RequestFrame {
  readonly type: "ask" | "retry" | "edit" | "cancel" | "fork" | "history" | "forget" | "sessions" | "title";
  readonly id: string;
  readonly turn?: string;
  readonly text?: string;
}

/** The frame of a question or an edit that is not in the log yet. */
export interface Pending {
  readonly type: "ask" | "edit";
  readonly id: string;
  readonly text: string;
  readonly turn?: string;
}

export interface ChatEvents {
  /** The connection's state, or another part of `connection`, has changed; an attempt that fails is a change too. */
  state: CustomEvent<State>;
  /** A frame of this conversation was received, and is in `view`. What comes of a session that `fork` has made is none. */
  frame: CustomEvent<ServerFrame>;
  /** `view`, or what is pending, has changed. */
  change: CustomEvent<View>;
  /** A request was refused, or the connection, or `fresh` has given up a question that was not in the log. */
  error: CustomEvent<AskbotError>;
}

type Listener<Name extends keyof ChatEvents> =
  | ((this: Chat, event: ChatEvents[Name]) => unknown)
  | { handleEvent(event: ChatEvents[Name]): unknown };

/** A conversation, over as many connections as it takes. Its methods are bound to it. */
export interface Chat extends EventTarget {
  /** The conversation as far as it was read. */
  readonly view: View;
  /** Its id, with which `connect` continues this conversation anywhere; null before the server has given one. */
  readonly session: string | null | undefined;
  /** Who is signed in; null: nobody. Undefined before the server has said so. */
  readonly user: string | null | undefined;
  readonly state: State;
  /** The same, and since when, why, and when the next attempt is made. */
  readonly connection: Connection;
  /**
   * Resolves to this once the connection is open for the first time. Rejects with an `AskbotError`: `timeout` after
   * `openTimeout`, whose message says the cause and the number of tries, though it goes on trying; else what has ended the
   * conversation before (`unauthorized`, `forbidden`, `closed`).
   */
  readonly opened: Promise<Chat>;
  /** Ask a question, as soon as there is a connection. Rejects with an `AskbotError`, as all requests do. */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were for that turn. */
  retry(turn?: string, options?: QuestionOptions): AnswerStream;
  /** Ask this instead of that turn's question. Options that are not given stay as they were for that turn. */
  edit(turn: string, text: string, options?: QuestionOptions): AnswerStream;
  /**
   * Make a new session of a turn that has ended, and of what the model was shown for it. Resolves to its `ready` frame:
   * continue it by `connect({ session: frame.session })`. This conversation stays as it is. The same `id` makes it once.
   */
  fork(turn: string, options?: { id?: string }): Requested<Ready>;
  /**
   * Stop a turn, by its id or its question's; without one, the turn that runs, else all questions that are not in the log
   * yet. Resolves once the turn has ended; at once where there is none.
   */
  cancel(id?: string): Promise<void>;
  /** Fetch up to `limit` (20) older turns into the view, from before a position of the log: by default, of its oldest turn. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Delete a conversation on the server; by default this one, and then begin another. Rejects where that is refused. */
  forget(session?: string | null): Requested<void>;
  /**
   * Fetch a page of the user's conversations, of up to `limit` (1 to 100), the one that was used last first; the next page has
   * `before`, the `more` of this one. Rejects with `forbidden` where nobody is signed in.
   */
  sessions(range?: { before?: string; limit?: number }): Requested<Sessions>;
  /** Name this conversation, by up to 200 characters; an empty text takes its name away. Resolves once that is in its log. */
  title(text: string): Requested<void>;
  /**
   * Begin another conversation; this one is kept. Questions that are not in its log yet are rejected with the code `closed`,
   * and each is told as an `error` with its text.
   */
  fresh(): void;
  /** The questions that are not in the log yet. It is right at any moment, that of `pagehide` too. */
  pending(): Pending[];
  /** The requests that have no answer yet, in the order in which they were made; a question that is in the log has one. */
  requests(): RequestFrame[];
  /**
   * Try to connect now where an attempt is waited for, or one hangs, but not before a server's `retry_after` has passed.
   * An open connection is checked.
   */
  reconnect(): void;
  /** Close the connection for good. Requests without an answer are rejected, with the code `closed`. */
  close(): void;
  addEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | EventListenerOptions): void;
}

/** Where the session's id is kept, under a key of the `url` and the `name`. A method that throws or is missing is ignored. */
export interface SessionStorage {
  getItem?(key: string): string | null;
  setItem?(key: string, value: string): void;
  removeItem?(key: string): void;
}

/** What is used of a WebSocket: the global one has it, and so does that of npm's `ws`. */
export interface Socket {
  onmessage: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  send(data: string): void;
  close(): void;
}

export interface ConnectOptions {
  /** `/v1/chat` of a server, relative to the page where there is one. */
  url?: string | URL;
  /** Tells conversations at one URL apart, each of which is continued as its own; by default empty. */
  name?: string;
  /** The session to continue; by default the one that `storage` has, else a new one. */
  session?: string;
  /**
   * How many code points of turns `view` holds, by default 262,144; `Infinity` or null keeps all. Beyond it the oldest
   * turns are dropped, but none that runs; `history` fetches them again.
   */
  keep?: number | null;
  /**
   * Sent to a server that requires one. A function is asked before each connection, again before what it gave expires, and
   * once more where the server has refused it. Where it throws, that is an `error` with the code `unauthorized`, and it is
   * asked again later.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /**
   * A one-time ticket in the place of a token, for the query of the address. A function is asked as one for the token is; a
   * text is good for the first connection only.
   */
  ticket?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** By default `localStorage`; `{}` keeps nothing. */
  storage?: SessionStorage;
  /** Milliseconds after which `opened` rejects, by default 30,000; `Infinity`: never. */
  openTimeout?: number;
  /** By default the global one, which Node has from version 22 on. */
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  /** By default `Math.random`: it spreads reconnects. */
  random?: () => number;
  /** Has the events `online` and `visibilitychange`; by default the global object. */
  page?: object;
  /** By default `page`. */
  timers?: { setTimeout: (action: () => void, wait: number) => any; clearTimeout: (timer: any) => void };
}

/**
 * Connect, and reconnect whenever the connection is lost, until the conversation is closed. Throws where the URL or the
 * token is not valid, or there is no WebSocket.
 */
export function connect(options?: ConnectOptions): Chat;

/** Returns how long to wait before the next attempt to connect, in milliseconds; `tries` is the number of attempts so far. */
export function delay(tries: number, random?: () => number): number;
