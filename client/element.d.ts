import type { AskOptions, Asked, AskbotError, Chat, Turn } from "./askbot.js";

export interface AskBotEvents {
  /** A question that was asked here has its whole answer. */
  "askbot-done": CustomEvent<Turn>;
  /** The server has refused something, or us. */
  "askbot-error": CustomEvent<AskbotError>;
}

/** `<ask-bot>`: a conversation in any page. */
export class AskBot extends HTMLElement {
  static observedAttributes: string[];
  /** The connection; null while the element is in no document. */
  readonly chat: Chat | null;
  ask(text: string, options?: AskOptions): Asked;
  /** Ask the last question again. */
  retry(): Asked;
  /** Stop the answer that is being written. */
  stop(): void;
  /** Begin another conversation; this one is kept. */
  fresh(): void;
  /** Show older turns. */
  earlier(): void;
  connectedCallback(): void;
  disconnectedCallback(): void;
  attributeChangedCallback(name: string): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "ask-bot": AskBot;
  }
  interface HTMLElementEventMap extends AskBotEvents {}
}
