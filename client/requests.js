/** Requests: the frames that a client has sent or will send, and that have not ended yet. */

const ID_BYTES = 16;
const ID = /^.{1,64}$/su;
const LONE_SURROGATE = /\p{Surrogate}/u; // half of a character that takes two UTF-16 code units, such as an emoji
const TIME_LIMIT_MS = 60_000;

/**
 * What each request is, by the type of its frame. docs/clients-javascript.md has the same table, for people.
 *
 *   isQuestion  a `question` acknowledges it, and the `done` of that turn is its end
 *   doneCode    the code of an `error` that is no refusal: there is nothing left to do
 *   isSentOnce  the next connection does not send it again, though it has neither an acknowledgement nor an end
 */
export const REQUESTS = {
  ask: { isQuestion: true },
  retry: { isQuestion: true },
  edit: { isQuestion: true },
  cancel: { doneCode: "turn_not_found" }, // ends with its turn, and always names that
  history: {}, // ends with its `history`
  forget: { doneCode: "session_not_found" },
  fork: { isSentOnce: true }, // ends with its `ready`; a second one would make a second session
};

/** Returns bytes as lower-case hexadecimal digits. `bytes` is what `Uint8Array` can be made of. */
export function toHex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Returns the error for a refusal: an `error` frame, or a code of the client itself (`cancelled`, `closed`, `damaged`,
 * `timeout`).
 *
 * @param {{ code: string, message?: string, retryable?: boolean, retry_after?: number | null, id?: string }} frame
 *   `retry_after` is in milliseconds, `id` the request's
 * @param {string} [text] of a question that is not in the log
 * @returns {import("./askbot.js").AskbotError}
 */
export function requestError({ code, message = code, retryable, retry_after: retryAfter, id }, text) {
  return Object.assign(new Error(message), { code, retryable, retryAfter, id, text });
}

/** Returns a frame as it is sent. Throws where it cannot be. */
function encode(frame) {
  if (!ID.test(frame.id)) throw new Error("The id has not 1 to 64 characters.");
  for (const value of Object.values(frame)) {
    if (LONE_SURROGATE.test(value)) throw new Error("The text has half an emoji (a lone surrogate).");
  }
  return JSON.stringify(frame);
}

/**
 * A request that has not ended.
 *
 * @typedef {object} Request
 * @property {object} frame
 * @property {string} data the frame as it is sent
 * @property {number} bytes of `data` in UTF-8
 * @property {Promise<unknown>} result
 * @property {boolean} isSent on the present connection
 * @property {import("./view.js").Turn} [turn] a question's turn as it was last seen: it is in the log, so it is acknowledged
 */

/** The requests that have not ended, by id, in the order in which they were made. */
export class PendingRequests extends Map {
  #timers;
  #onTimeout;

  /**
   * @param {object} timers has `setTimeout` and `clearTimeout`
   * @param {(request: Request) => void} onTimeout is called where a request that was sent has no answer for too long
   */
  constructor(timers, onTimeout) {
    super();
    this.#timers = timers;
    this.#onTimeout = onTimeout;
  }

  /**
   * Adds a request, by default under a new random id, by which the server recognises it when it is sent again.
   * A rejection that nobody handles is not reported, as the client has an `error` event.
   *
   * @param {object} fields of the frame
   * @returns {Request} with `fault` where it cannot be sent: why
   */
  add({ id = toHex(crypto.getRandomValues(new Uint8Array(ID_BYTES))), ...fields }) { // insecure origins have no randomUUID
    const request = { frame: { id, ...fields } };
    request.result = new Promise((resolve, reject) => Object.assign(request, { resolve, reject }));
    request.result.catch(() => {});
    try {
      request.data = encode(request.frame);
      request.bytes = new TextEncoder().encode(request.data).length;
    } catch ({ message }) {
      request.fault = message;
    }
    this.set(id, request);
    return request;
  }

  /** Returns all, as they are now: whoever hears that one has ended may make another. */
  all() {
    return [...this.values()];
  }

  /** Returns those without an acknowledgement. */
  unacknowledged() {
    return this.all().filter(({ turn }) => !turn);
  }

  /** A request was sent: it has a limited time from now on. */
  onSent(request) {
    this.#stopTimer(request);
    request.isSent = true;
    request.timer = this.#timers.setTimeout(() => this.#onTimeout(request), TIME_LIMIT_MS);
  }

  /** A question is in the log: its answer may take as long as it takes. */
  onAcknowledged(request, turn) {
    this.#stopTimer(request);
    request.turn = turn;
  }

  /** The connection was lost: time without one does not count. */
  onLost() {
    for (const request of this.values()) {
      this.#stopTimer(request);
      request.isSent = false;
    }
  }

  /** Removes a request, which has ended: its promise is settled. */
  remove(request) {
    this.#stopTimer(request);
    this.delete(request.frame.id);
  }

  #stopTimer({ timer }) {
    this.#timers.clearTimeout(timer);
  }
}
