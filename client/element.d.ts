import type { AnswerStream, AskOptions, AskbotError, Chat, Turn } from "./askbot.js";

export interface AskBotEvents {
  /** The turn of a question that was asked here has ended. */
  "askbot-done": CustomEvent<Turn>;
  /** The server has refused a request, or the connection. */
  "askbot-error": CustomEvent<AskbotError>;
}

/** `<ask-bot>`: a conversation in any page. */
export class AskBot extends HTMLElement {
  static observedAttributes: string[];
  /** The connection; null while the element is in no document. */
  readonly chat: Chat | null;
  /** Ask a question, and scroll to it. Where it fails without being in the log, it goes into the field, unless it was cancelled. */
  ask(text: string, options?: AskOptions): AnswerStream;
  /** Ask the last question again. */
  retry(): AnswerStream;
  /** Stop the answer that is being written, or withdraw the question that is not sent yet. */
  stop(): void;
  /** Begin another conversation; this one is kept. Questions that are not in its log yet go back into the field. */
  fresh(): void;
  /** Show older turns. */
  earlier(): void;
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
