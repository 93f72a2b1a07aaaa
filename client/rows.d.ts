import type { Chat } from "./askbot.js";
import type { Turn } from "./view.js";

/** A question that the log does not have yet. */
export interface Unsent {
  readonly turn: null;
  readonly id: string;
  readonly question: string;
  readonly answer: "";
  readonly status: "sending";
  readonly reason: null;
}

export type Row = Turn | Unsent;

/** What is drawn of a conversation. */
export function rows(chat: Pick<Chat, "view" | "pending">): Row[];

/** What `cancel` would stop now. */
export function running(chat: Pick<Chat, "view" | "pending">): string | undefined;
