import type { Check, Failure, Limits, Options, Reason, ServerFrame, Timing, Usage } from "./frames.js";

export type Status = "waiting" | "answering" | "ended";

/** A question with its answer, as far as they are known. What `done` tells is there once it has ended. */
export interface Turn {
  readonly turn: string;
  readonly id?: string | null;
  readonly question: string;
  readonly answer: string;
  readonly status: Status;
  /** Null until it has ended; a later version of the server may have other words. */
  readonly reason: Reason | (string & {}) | null;
  /** RFC 3339 */
  readonly created: string;
  /** The turn that this one is asked instead of. */
  readonly replaces?: string | null;
  /** How it was to be answered, as far as its asker said. */
  readonly options?: Options | null;
  /** Its place in the log. */
  readonly from: number;
  readonly seq: number;
  readonly model?: string | null;
  readonly usage?: Usage | null;
  readonly timing?: Timing | null;
  readonly check?: Check | null;
  readonly error?: Failure | null;
}

/** A session as far as it was read. It is never changed: each frame makes a new one. */
export interface View {
  readonly session: string | null;
  readonly seq: number | null;
  /** Which history `seq` is a place of; another one was told anew. */
  readonly log?: string;
  /** All of them, those too that a retry or an edit has replaced. */
  readonly turns: readonly Turn[];
  /** The log's head when we connected. */
  readonly head?: number;
  readonly model?: string;
  readonly limits?: Limits;
  /** The log has older turns. */
  readonly earlier?: boolean;
  /** Something is missing: connect again, with `after` = `seq`. */
  readonly gap?: boolean;
}

/** Nothing was read yet. */
export const empty: View;

/** A text's length in code points, the unit of `seq`. */
export function countCodePoints(text: string): number;

/** @deprecated The former name of `countCodePoints`. */
export function points(text: string): number;

/** The view after one more frame. Frames that are old, or about another session, change nothing; an event of an unknown type shows nothing. */
export function view(state: View, frame: ServerFrame): View;

/** The turns to show: not what a retry or an edit replaces, nor what came after that. */
export function shown(turns: readonly Turn[]): Turn[];
