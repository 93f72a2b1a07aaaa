import type { Chat } from "./askbot.js";
import type { Turn } from "./view.js";

/** A question that is not in the log yet. */
export interface Unsent {
  readonly turn: null;
  readonly id: string;
  readonly question: string;
  readonly thinking: "";
  readonly thinkingSince?: undefined;
  readonly thinkingTime: null;
  readonly answer: "";
  readonly status: "sending";
  readonly reason: null;
}

export type Row = Turn | Unsent;

/** The turns to show, then the questions that are not in the log yet. */
export function rows(chat: Pick<Chat, "view" | "pending">): Row[];

/** What a stop button stops, as `chat.cancel` takes it: the turn that runs, else the last question that is not in the log yet. */
export function running(chat: Pick<Chat, "view" | "pending">): string | undefined;
