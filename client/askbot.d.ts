import type { Ask, ErrorCode, History, ServerFrame } from "./frames.js";
import type { Turn, View } from "./view.js";

export type { Turn, View };

export type State = "connecting" | "open" | "waiting" | "closed";

/** How the model is to answer. */
export type ModelOptions = Partial<Pick<Ask, "model" | "temperature" | "max_tokens">>;

/** What can be said of a question besides its text. */
export type AskOptions = ModelOptions & Partial<Pick<Ask, "when_busy">>;

/** What the server, or the client itself (`cancelled`, `closed`), refuses. */
export interface AskbotError extends Error {
  readonly code: ErrorCode | "cancelled" | "closed" | (string & {});
  readonly retryable?: boolean;
  /** milliseconds */
  readonly retryAfter?: number | null;
}

/** A question under way: await it for the ended turn, or iterate over it for its text as it comes, or both. */
export interface Asked extends Promise<Turn>, AsyncIterable<string> {
  readonly id: string;
}

/** A request under way. */
export interface Requested<Result> extends Promise<Result> {
  readonly id: string;
}

/** A question, retry or edit that has no answer yet, as it is sent. */
export interface Pending {
  readonly type: "ask" | "edit";
  readonly id: string;
  readonly text: string;
  readonly turn?: string;
}

export interface ChatEvents {
  /** The connection's state has changed. */
  state: CustomEvent<State>;
  /** A frame came, and `view` knows of it. */
  frame: CustomEvent<ServerFrame>;
  /** `view`, or what is pending, has changed. */
  change: CustomEvent<View>;
  /** The server has refused something, or us. */
  error: CustomEvent<AskbotError>;
}

type Listener<Name extends keyof ChatEvents> =
  | ((this: Chat, event: ChatEvents[Name]) => unknown)
  | { handleEvent(event: ChatEvents[Name]): unknown };

/** A conversation, over as many connections as it takes. */
export interface Chat extends EventTarget {
  /** What there is to see. */
  readonly view: View;
  /** Its name: with it, `connect` continues this conversation anywhere. */
  readonly session: string | null | undefined;
  readonly state: State;
  ask(text: string, options?: AskOptions): Asked;
  /** Ask a turn's question again; without `turn`, the last one's. What no option says is as it was for that turn. */
  retry(turn?: string, options?: ModelOptions): Asked;
  /** Ask this instead of that turn's question. What no option says is as it was for that turn. */
  edit(turn: string, text: string, options?: ModelOptions): Asked;
  /** Stop a turn, or by its id a question that is not in the log yet; without `turn`, what runs. */
  cancel(turn?: string): Promise<unknown> | undefined;
  /** Fetch older turns into the view; without `before`, those before the oldest that it has. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Delete this conversation, everywhere, and begin another. */
  forget(): Requested<void>;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
  /** The questions that are not in the log yet. */
  pending(): Pending[];
  /** The end: what has no answer yet is rejected. */
  close(): void;
  addEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof ChatEvents>(type: Name, listener: Listener<Name> | null, options?: boolean | EventListenerOptions): void;
}

/** Where the session's name is kept, under the key `askbot.session`. What throws, or is missing, costs the memory only. */
export interface SessionStorage {
  getItem?(key: string): string | null;
  setItem?(key: string, value: string): void;
  removeItem?(key: string): void;
}

/** The few things of a WebSocket that are used: the global one has them, and so does that of npm's `ws`. */
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
  /** Continue this session; else the one that `storage` knows, else a new one. */
  session?: string;
  token?: string | null;
  /** `localStorage` where left out; `{}` remembers nothing. */
  storage?: SessionStorage;
  /** The global one where left out; Node before 22 has none. */
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  random?: () => number;
  page?: object;
  timers?: { setTimeout: (action: () => void, wait: number) => any; clearTimeout: (timer: any) => void };
}

/** Connect, and come back whenever the connection is lost, until it is closed. */
export function connect(options?: ConnectOptions): Chat;

/** How long to wait before another try, in milliseconds. */
export function delay(tries: number, random?: () => number): number;
