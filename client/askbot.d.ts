import type { Ask, ErrorCode, History, ServerFrame } from "./frames.js";
import type { Turn, View } from "./view.js";

export type { Turn, View };

export type State = "connecting" | "open" | "waiting" | "closed";

/** How a question is to be answered. */
export type ModelOptions = Partial<Pick<Ask, "model" | "temperature" | "max_tokens">>;

/** The same, and what happens while another answer is written. */
export type AskOptions = ModelOptions & Partial<Pick<Ask, "when_busy">>;

/** A refusal by the server, or by the client itself (`cancelled`, `closed`). */
export interface AskbotError extends Error {
  readonly code: ErrorCode | "cancelled" | "closed" | (string & {});
  /** Whether the same may succeed later. */
  readonly retryable?: boolean;
  /** Milliseconds to wait before that. */
  readonly retryAfter?: number | null;
}

/** A question that was asked: await it for the ended turn, iterate over it for the answer's text as it comes, or both. */
export interface AnswerStream extends Promise<Turn>, AsyncIterable<string> {
  readonly id: string;
}

/** The former name of `AnswerStream`. */
export type Asked = AnswerStream;

/** A request that was made. */
export interface Requested<Result> extends Promise<Result> {
  readonly id: string;
}

/** The frame of a question or an edit that is not in the log yet. */
export interface Pending {
  readonly type: "ask" | "edit";
  readonly id: string;
  readonly text: string;
  readonly turn?: string;
}

export interface ChatEvents {
  /** The connection's state has changed. */
  state: CustomEvent<State>;
  /** A frame was received, and is in `view`. */
  frame: CustomEvent<ServerFrame>;
  /** `view`, or what is pending, has changed. */
  change: CustomEvent<View>;
  /** The server has refused a request, or the connection. */
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
  readonly state: State;
  /** Ask a question, as soon as there is a connection. Rejects with an `AskbotError`, as all requests do. */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were for that turn. */
  retry(turn?: string, options?: ModelOptions): AnswerStream;
  /** Ask this instead of that turn's question. Options that are not given stay as they were for that turn. */
  edit(turn: string, text: string, options?: ModelOptions): AnswerStream;
  /** Stop a turn, or a question that is not in the log yet, by its id; without `turn`, the turn that runs. */
  cancel(turn?: string): Promise<unknown> | undefined;
  /** Fetch up to `limit` (20) older turns into the view, from before a position of the log: by default, of its oldest turn. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Delete this conversation on the server, and begin another. */
  forget(): Requested<void>;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
  /** The questions that are not in the log yet. */
  pending(): Pending[];
  /** Close the connection for good. Requests without an answer are rejected, with the code `closed`. */
  close(): void;
  addEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | EventListenerOptions): void;
}

/** Where the session's id is kept, under the key `askbot.session`. A method that throws or is missing is ignored. */
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
  /** The session to continue; by default the one that `storage` has, else a new one. */
  session?: string;
  /**
   * How many code points of turns `view` holds, by default 262,144; `Infinity` or null keeps all. Beyond it the oldest
   * turns are dropped, but none that runs; `history` fetches them again.
   */
  keep?: number | null;
  /** Sent to a server that requires one. */
  token?: string | null;
  /** By default `localStorage`; `{}` keeps nothing. */
  storage?: SessionStorage;
  /** By default the global one, which Node has from version 22 on. */
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  /** By default `Math.random`: it spreads reconnects. */
  random?: () => number;
  /** Has the events `online` and `visibilitychange`; by default the global object. */
  page?: object;
  /** By default `page`. */
  timers?: { setTimeout: (action: () => void, wait: number) => any; clearTimeout: (timer: any) => void };
}

/** Connect, and reconnect whenever the connection is lost, until the conversation is closed. */
export function connect(options?: ConnectOptions): Chat;

/** Returns how long to wait before the next attempt to connect, in milliseconds; `tries` is the number of attempts so far. */
export function delay(tries: number, random?: () => number): number;
