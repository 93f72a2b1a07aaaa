import type { AnswerStream, AskbotError, AskOptions, ConnectOptions, Pending, QuestionOptions, Requested, State } from "./askbot.js";
import type { History, Limits, ServerFrame } from "./frames.js";
import type { Row } from "./rows.js";

export interface AskbotOptions extends Pick<ConnectOptions, "url" | "name" | "session" | "token" | "storage" | "WebSocket"> {
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
  /**
   * What was asked here and not sent: it was refused, or its conversation was left before. Put it into the field. It is empty
   * again once something is asked; the same text is asked under its former id, and so never twice.
   */
  readonly draft: string;
  /** The last refusal; null again once something is asked. */
  readonly error: AskbotError | null;
  /** Ask a question, as soon as there is a connection. */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Stop the answer that is being written, or withdraw the question that is not sent yet. */
  stop(): Promise<unknown>;
  /** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were for that turn. */
  retry(turn?: string, options?: QuestionOptions): AnswerStream;
  /** Ask this instead of that turn's question. Options that are not given stay as they were for that turn. */
  edit(turn: string, text: string, options?: QuestionOptions): AnswerStream;
  /** Fetch up to `limit` (20) older turns. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Delete this conversation on the server, and begin another. */
  forget(): Requested<void>;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
  /** The questions that are not in the log yet; right at any moment, that of `pagehide` too. */
  pending(): Pending[];
}

/**
 * A conversation as React sees it. The functions stay the same ones. With another `url`, `name` or `session` it is another
 * conversation; a session that it was given by the server, or none, is its own. Another `token` is for the next connection.
 */
export function useAskbot(options?: AskbotOptions): Askbot;
