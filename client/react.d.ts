import type { AnswerStream, AskbotError, AskOptions, Connection, ConnectOptions, Pending, QuestionOptions, Requested, SessionStorage, State } from "./askbot.js";
import type { History, Limits, Ready, ServerFrame, Sessions } from "./frames.js";
import type { Row } from "./rows.js";

export interface AskbotOptions extends Pick<ConnectOptions, "url" | "name" | "session" | "token" | "ticket" | "storage" | "WebSocket"> {
  /**
   * Where questions are kept that the server has not acknowledged, until it has: by default `localStorage`; `{}` keeps none.
   * Unlike `storage`, it needs to tell keys apart.
   */
  unsentStorage?: SessionStorage;
  /** Called for each frame as it comes, while the component is there. */
  onFrame?: (frame: ServerFrame) => void;
}

export interface Askbot {
  /** The turns to show, those too that are not in the log yet. `pending` of each is the command about it that has no answer yet. */
  readonly turns: readonly Row[];
  readonly state: State;
  /** The same, and since when, why, and when the next attempt is made. `since` is 0 before there is a connection. */
  readonly connection: Connection;
  /** Null until the server has given one. */
  readonly session: string | null;
  readonly model: string | null;
  /** The models that a question may name, the one that answers by default first; null before they are known. */
  readonly models: readonly string[] | null;
  /** What the conversation is called; null: nothing, or it is not known yet. */
  readonly title: string | null;
  /** Who is signed in; null: nobody, or it is not known yet. */
  readonly user: string | null;
  readonly limits: Limits | null;
  /** Whether there is something to stop. */
  readonly running: boolean;
  /** Whether the conversation has older turns: `history()` fetches them. */
  readonly earlier: boolean;
  /**
   * What was asked here and is not in the log: it was refused, it was stopped before (where nothing else is here), or the
   * component shows another conversation now. Put it into the field. It is kept like a question that is not sent; it is empty
   * again once something is asked; the same text is asked under its former id, and so never twice.
   */
  readonly draft: string;
  /** The last refusal; null again once something is asked, or it connects anew after a connection that was refused. */
  readonly error: AskbotError | null;
  /**
   * Ask a question, as soon as there is a connection. If it has no acknowledgement when the page or the component goes, it is
   * asked, under its id, where this conversation is shown next: one with this `url`, `name` and `session`.
   */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Stop the answer that is being written, or withdraw the question that is not sent yet. */
  stop(): Promise<unknown>;
  /** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were for that turn. */
  retry(turn?: string, options?: QuestionOptions): AnswerStream;
  /** Ask this instead of that turn's question. Options that are not given stay as they were for that turn. */
  edit(turn: string, text: string, options?: QuestionOptions): AnswerStream;
  /** Make a new session of a turn that has ended and what came before it. Name the `session` of its result to show that. */
  fork(turn: string, options?: { id?: string }): Requested<Ready>;
  /** Fetch up to `limit` (20) older turns. */
  history(range?: { before?: number; limit?: number }): Requested<History>;
  /** Name this conversation, by up to 200 characters; an empty text takes its name away. */
  setTitle(text: string): Requested<void>;
  /** Fetch a page of the user's conversations, of up to `limit` (1 to 100); the next one has `before`, the `more` of this one. */
  sessions(range?: { before?: string; limit?: number }): Requested<Sessions>;
  /** Delete this conversation on the server, and begin another. */
  forget(): Requested<void>;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
  /** The questions that are not in the log yet; right at any moment, that of `pagehide` too. */
  pending(): Pending[];
  /**
   * Try to connect now, where an attempt is waited for, or one hangs; not before a server's `retry_after` has passed. After a
   * refusal (`unauthorized`) too, with what the functions for the token or the ticket give then.
   */
  reconnect(): void;
}

/**
 * A conversation as React sees it. The functions stay the same ones. With another `url`, `name` or `session` it is another
 * conversation; a session that it was given by the server, or none, is its own. Another `token` is for the next connection.
 */
export function useAskbot(options?: AskbotOptions): Askbot;
