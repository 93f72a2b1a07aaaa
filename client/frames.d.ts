/**
 * The frames of askbot.v1, as they are on the wire. Made from the server's models by `make generate`; do not edit.
 *
 * Durations are in milliseconds, moments in RFC 3339. A reader ignores frames, fields and codes that it does not know.
 */

/** How a turn ended. */
export type Reason = "stop" | "length" | "cancelled" | "refused" | "interrupted" | "error";

/** What a step of a turn is: reasoning, or text of the answer. */
export type StepType = "thinking" | "text";

/** What becomes of a question that is asked while an answer runs. */
export type WhenBusy = "queue" | "reject" | "replace";

/** What an error may say of its cause. */
export type ErrorCode =
  | "busy"
  | "context_too_long"
  | "forbidden"
  | "internal"
  | "invalid_frame"
  | "invalid_json"
  | "overloaded"
  | "question_empty"
  | "question_too_long"
  | "queue_full"
  | "quota_exceeded"
  | "rate_limited"
  | "refused"
  | "session_not_found"
  | "turn_not_found"
  | "unauthorized"
  | "unknown_type"
  | "upstream_rate_limited"
  | "upstream_rejected"
  | "upstream_stalled"
  | "upstream_unavailable";

/** The largest frame in bytes, the longest question in code points, and how many questions may wait in a session. */
export interface Limits {
  frame_bytes: number;
  question_chars: number;
  waiting_turns: number;
}

/** A session is attached; the events after `from` follow. `log` identifies the history of the session: a `seq` of another history has no meaning in it. `id` is that of the `attach` or `fork` that this answers. `models` are those that a question may name, the default (`model`) first. */
export interface Ready {
  type: "ready";
  session: string;
  seq: number;
  from: number;
  resumed: boolean;
  protocol: string;
  server: string;
  model: string;
  limits: Limits;
  log: string;
  models: string[];
  id?: string;
}

/** How a question is to be answered; what is not given, the server's settings decide. */
export interface Options {
  model?: string;
  temperature?: number;
  max_tokens?: number;
}

/** A turn begins. It is also the acknowledgement of an `ask`. */
export interface Question {
  type: "question";
  session: string;
  seq: number;
  turn: string;
  id?: string;
  text: string;
  /** RFC 3339 */
  created: string;
  replaces?: string;
  options?: Options;
}

/** A slice of the answer: one or more of the model's tokens. */
export interface Token {
  type: "token";
  session: string;
  seq: number;
  turn: string;
  text: string;
}

/** A slice of the reasoning that the model's provider shows: no part of the answer, nor of its `check`. */
export interface Thinking {
  type: "thinking";
  session: string;
  seq: number;
  turn: string;
  text: string;
}

/** The proof of an answer: its length in code points, and the SHA-256 of its UTF-8 bytes. */
export interface Check {
  chars: number;
  sha256: string;
}

/** Why a turn ended with reason `error`. */
export interface Failure {
  code: ErrorCode | (string & {});
  message: string;
  retryable: boolean;
  /** milliseconds */
  retry_after: number | null;
}

/** How long a turn took, counted from the question's arrival. */
export interface Timing {
  /** milliseconds */
  queued: number;
  /** milliseconds */
  first_token: number | null;
  /** milliseconds */
  total: number;
}

/** The tokens of a turn, as the provider counted them. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
}

/** A turn has ended. */
export interface Done {
  type: "done";
  session: string;
  seq: number;
  turn: string;
  reason: Reason | (string & {});
  model: string;
  usage: Usage | null;
  timing: Timing;
  check: Check;
  error?: Failure;
}

/** A frame was refused and has changed nothing, or a session can't be read any more. */
export interface ErrorFrame {
  type: "error";
  code: ErrorCode | (string & {});
  message: string;
  retryable: boolean;
  /** milliseconds */
  retry_after: number | null;
  id?: string;
  session?: string;
}

/** A part of what happened in a turn; two successive ones of text or reasoning have different types. */
export interface Step {
  type: StepType | (string & {});
  text: string;
}

/** A whole turn, as in a `history` frame; the fields of its `done` are null until it has ended. */
export interface Turn {
  turn: string;
  id: string | null;
  text: string;
  replaces: string | null;
  /** RFC 3339 */
  created: string;
  options: Options | null;
  answer: string;
  steps?: Step[];
  reason: Reason | (string & {}) | null;
  model: string | null;
  usage: Usage | null;
  timing: Timing | null;
  check: Check | null;
  error: Failure | null;
  from: number;
  seq: number;
}

/** Turns, oldest first; `more` where the log has older ones. */
export interface History {
  type: "history";
  session: string;
  id?: string;
  turns: Turn[];
  more: boolean;
}

/** The server drains: reconnect, with `after`, once the time has passed. */
export interface GoingAway {
  type: "going_away";
  /** milliseconds */
  reconnect_after: number;
}

/** The answer to a `ping`. */
export interface Pong {
  type: "pong";
  id?: string;
}

/** A heartbeat: nothing else was sent for a while. */
export interface Alive {
  type: "alive";
}

/** Ask a question. */
export interface Ask {
  type: "ask";
  id?: string;
  session?: string;
  text: string;
  model?: string;
  temperature?: number;
  max_tokens?: number;
  /** "queue" where left out */
  when_busy?: WhenBusy;
}

/** Stop a turn; without `turn`, the running one. */
export interface Cancel {
  type: "cancel";
  id?: string;
  session?: string;
  turn?: string;
}

/** Ask a turn's question again; without `turn`, the last one's. Options that are not given stay as they were. */
export interface Retry {
  type: "retry";
  id?: string;
  session?: string;
  turn?: string;
  model?: string;
  temperature?: number;
  max_tokens?: number;
}

/** Ask another question in place of that turn's. Options that are not given stay as they were. */
export interface Edit {
  type: "edit";
  id?: string;
  session?: string;
  turn: string;
  text: string;
  model?: string;
  temperature?: number;
  max_tokens?: number;
}

/** Ask for the newest turns, or those whose questions have a `seq` below `before`. */
export interface HistoryRequest {
  type: "history";
  id?: string;
  session?: string;
  before?: number;
  /** 50 where left out */
  limit?: number;
}

/** Read a further session on this connection; without `session`, a new one. `log` is that of the `ready` of the history in which `after` was seen. */
export interface Attach {
  type: "attach";
  id?: string;
  session?: string;
  after?: number;
  log?: string;
}

/** Stop reading a session. */
export interface Detach {
  type: "detach";
  id?: string;
  session?: string;
}

/** Make a new session of a turn that has ended and of what the model was shown for it, and attach that session. The same `id` names the same new session. */
export interface Fork {
  type: "fork";
  id?: string;
  session?: string;
  turn: string;
}

/** Delete a session and all it holds. */
export interface Forget {
  type: "forget";
  id?: string;
  session: string;
}

/** Ask for a `pong`. */
export interface Ping {
  type: "ping";
  id?: string;
}

/** A frame that the session's log keeps, and that has its place there, `seq`. */
export type LogEvent = Question | Token | Thinking | Done;

/** What the server sends. */
export type ServerFrame = Ready | Question | Token | Thinking | Done | ErrorFrame | History | GoingAway | Pong | Alive;

/** What a client sends. */
export type ClientFrame = Ask | Cancel | Retry | Edit | HistoryRequest | Attach | Detach | Fork | Forget | Ping;
