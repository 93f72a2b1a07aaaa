import type { AnswerStream, AskbotError, AskOptions, ConnectOptions, ModelOptions, Requested, State } from "./askbot.js";
import type { History, Limits, ServerFrame } from "./frames.js";
import type { Row } from "./rows.js";

export interface AskbotOptions extends Pick<ConnectOptions, "url" | "session" | "token" | "storage" | "WebSocket"> {
  /** Called for each frame as it comes, while the component is there. */
  onFrame?: (frame: ServerFrame) => void;
}

export interface Askbot {
  /** The turns to show, those too that are not in the log yet. */
  readonly turns: readonly Row[];
  readonly state: State;
  /** Null until the server has given one. */
  readonly session: string | null;
  readonly model: string | null;
  readonly limits: Limits | null;
  /** Whether there is something to stop. */
  readonly running: boolean;
  /** Whether the conversation has older turns: `history()` fetches them. */
  readonly earlier: boolean;
  /** The last refusal; null again once something is asked. */
  readonly error: AskbotError | null;
  /** Ask a question, as soon as there is a connection. */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Stop the answer that is being written, or withdraw the question that is not sent yet. */
  stop(): Promise<unknown>;
  /** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were for that turn. */
  retry(turn?: string, options?: ModelOptions): AnswerStream;
  /** Ask this instead of that turn's question. Options that are not given stay as they were for that turn. */
  edit(turn: string, text: string, options?: ModelOptions): AnswerStream;
  /** Fetch up to `limit` (20) older turns. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Delete this conversation on the server, and begin another. */
  forget(): Requested<void>;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
}

/** A conversation as React sees it. The functions stay the same ones. */
export function useAskbot(options?: AskbotOptions): Askbot;
