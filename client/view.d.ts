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
  /** What it counts for against `keep`: 500, and the code points of question, thinking and answer. */
  readonly size?: number;
  /** While the answer grows, its end, of about 4,096 characters: a part of this is read much faster than one of `answer`. */
  readonly tail?: string;
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
  /**
   * The turns that were read, oldest first; those too that a retry or an edit has replaced. A turn that a frame doesn't
   * change is the same object in the next view.
   */
  readonly turns: readonly Turn[];
  /** What all turns count for. */
  readonly size?: number;
  /**
   * What they may count for; Infinity keeps all. Beyond it the oldest turns are dropped, but none that has not ended, nor
   * the one that was changed last. Where `history` brings more, it grows to that.
   */
  readonly keep?: number;
  /** What the conversation is called; null: nothing, and an older server does not say. */
  readonly title?: string | null;
  /** Who was signed in when the connection began; null: nobody. */
  readonly user?: string | null;
  /** The log's last position when the connection began. */
  readonly head?: number;
  /** The model that answers where a question names none. */
  readonly model?: string;
  /** The models that a question may name, the one that answers by default first; an older server does not say. */
  readonly models?: readonly string[];
  readonly limits?: Limits;
  /** Whether the log has older turns than these, not read or dropped. */
  readonly earlier?: boolean;
  /** Whether frames are missing: connect again, with `after` = `seq`. */
  readonly gap?: boolean;
}

/** The view before anything was read. It keeps all turns; `{ ...empty, keep }` is one that keeps so many code points. */
export const empty: View;

/** A text's length in code points, the unit of `seq`. */
export function countCodePoints(text: string): number;

/** @deprecated The former name of `countCodePoints`. */
export function points(text: string): number;

/** The view after one more frame. Frames that are old, or about another session, change nothing; an event of an unknown type shows nothing. */
export function view(state: View, frame: ServerFrame): View;

/** The turns to show: not what a retry or an edit replaces, nor what came after that. */
export function shown(turns: readonly Turn[]): Turn[];
