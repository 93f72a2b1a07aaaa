import type { AnswerStream, AskOptions, AskbotError, Chat, Turn } from "./askbot.js";

export interface AskBotEvents {
  /** The turn of a question that was asked here has ended. */
  "askbot-done": CustomEvent<Turn>;
  /** The server has refused a request, or the connection. */
  "askbot-error": CustomEvent<AskbotError>;
}

/** Returns what is put in a formula's place; with nothing, or where it throws, the formula stands as it was written. */
export type RenderMath = (tex: string, display: boolean) => Node | null | undefined;

/** `<ask-bot>`: a conversation in any page. */
export class AskBot extends HTMLElement {
  static observedAttributes: string[];
  /** The connection; null while the element is in no document. */
  readonly chat: Chat | null;
  /** Draws the formulas of answers; by default they stand as they were written. Another one draws all answers again. */
  renderMath: RenderMath | undefined;
  /**
   * Returns a one-time ticket, as that of `connect` does; it is asked before each connection. Set where the server has
   * refused the element, it connects again.
   */
  ticket: (() => string | null | undefined | Promise<string | null | undefined>) | undefined;
  /**
   * Ask a question, and scroll to it. Where it fails without being in the log, it goes into the field; one that was cancelled
   * does only where nothing stands there. Without an acknowledgement it is asked again, under its id, on the next visit.
   */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Ask the last question again. While that has no acknowledgement, the same once more is not sent. */
  retry(): AnswerStream;
  /** Stop the answer that is being written, or withdraw the question that is not sent yet. */
  stop(): void;
  /** Begin another conversation; this one is kept. Questions that are not in its log yet go back into the field. */
  fresh(): void;
  /** Show older turns. */
  earlier(): void;
  /** Scroll to the end, and follow it. */
  latest(): void;
  /** Try to connect now, where the next attempt is waited for, or after a refusal (`unauthorized`). */
  reconnect(): void;
  connectedCallback(): void;
  disconnectedCallback(): void;
  adoptedCallback(): void;
  attributeChangedCallback(name: string, before: string | null, value: string | null): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "ask-bot": AskBot;
  }
  interface HTMLElementEventMap extends AskBotEvents {}
}
