import type { Chat } from "./askbot.js";
import type { Turn } from "./view.js";

/** What is read of a conversation. Without `requests`, no command is pending. */
export type Conversation = Pick<Chat, "view" | "pending"> & Partial<Pick<Chat, "requests">>;

/** A command about a turn. */
export type Command = "retry" | "edit" | "cancel" | "fork";

/** A turn, the same object for as long as it has not changed. */
export interface TurnRow extends Turn {
  /** The command about it that has no answer yet, with a connection or without one. */
  readonly pending: Command | null;
}

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
  readonly pending: null;
}

export type Row = TurnRow | Unsent;

/** The turns to show, then the questions that are not in the log yet. */
export function rows(chat: Conversation): Row[];

/** What a stop button stops, as `chat.cancel` takes it: the turn that runs, else the last question that is not in the log yet. */
export function running(chat: Pick<Chat, "view" | "pending">): string | undefined;
