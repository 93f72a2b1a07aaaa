import type { Check, Failure, Limits, Options, Reason, ServerFrame, Timing, Usage } from "./frames.js";

/** `thinking` and `answering` say what the last text that came was a part of. */
export type Status = "waiting" | "thinking" | "answering" | "ended";

/** A question with its answer, as far as they are known. `model`, `usage`, `timing`, `check` and `error` come with its end. */
export interface Turn {
  readonly turn: string;
  readonly id?: string | null;
  readonly question: string;
  /** The reasoning that the model shows, so far; empty where it shows none. It is no part of the answer. */
  readonly thinking: string;
  /** When it began to think, in milliseconds since 1970; null where that was not seen, left out where it did not begin so. */
  readonly thinkingSince?: number | null;
  /**
   * How long it thought before it answered, in milliseconds: by the clock here, and once the turn has ended by the
   * server's. Null while it thinks, and where that is not known.
   */
  readonly thinkingTime: number | null;
  readonly answer: string;
  readonly status: Status;
  /** Null until it has ended; a later version of the server may have other words. */
  readonly reason: Reason | (string & {}) | null;
  /** RFC 3339 */
  readonly created: string;
  /** The turn that this one is asked instead of. */
  readonly replaces?: string | null;
  /** The options it was asked with. */
  readonly options?: Options | null;
  /** The log's position before its question. */
  readonly from: number;
  /** The log's position after the last event that is in it. */
  readonly seq: number;
  readonly model?: string | null;
  readonly usage?: Usage | null;
  readonly timing?: Timing | null;
  readonly check?: Check | null;
  readonly error?: Failure | null;
}

/** A session as far as it was read. Immutable: each frame makes a new view. */
export interface View {
  readonly session: string | null;
  /** The log's position up to which it was read; null before anything was. */
  readonly seq: number | null;
  /** The id of the history that `seq` is a position in. With another id, the server has begun its log again. */
  readonly log?: string;
  /** All turns that were read, oldest first; those too that a retry or an edit has replaced. */
  readonly turns: readonly Turn[];
  /** The log's last position when the connection began. */
  readonly head?: number;
  /** The model that answers where a question names none. */
  readonly model?: string;
  readonly limits?: Limits;
  /** Whether the log has older turns than these. */
  readonly earlier?: boolean;
  /** Whether frames are missing: connect again, with `after` = `seq`. */
  readonly gap?: boolean;
}

/** The view before anything was read. */
export const empty: View;

/** A text's length in code points, the unit of `seq`. */
export function countCodePoints(text: string): number;

/** @deprecated The former name of `countCodePoints`. */
export function points(text: string): number;

/** The view after one more frame. Frames that are old, or about another session, change nothing; an event of an unknown type shows nothing. */
export function view(state: View, frame: ServerFrame): View;

/** The turns to show: not what a retry or an edit replaces, nor what came after that. */
export function shown(turns: readonly Turn[]): Turn[];
