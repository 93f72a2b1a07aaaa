/** Requests: the frames that a client has sent or will send, and that have no answer yet. */

const ID_BYTES = 16;

/** Returns bytes as lower-case hexadecimal digits. `bytes` is what `Uint8Array` can be made of. */
export function toHex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Returns the error for a refusal: an `error` frame, or a code of the client itself (`cancelled`, `closed`).
 *
 * @param {{ code: string, message?: string, retryable?: boolean, retry_after?: number | null }} frame
 *   `retry_after` is in milliseconds
 * @returns {import("./askbot.js").AskbotError}
 */
export function requestError({ code, message = code, retryable, retry_after: retryAfter }) {
  return Object.assign(new Error(message), { code, retryable, retryAfter });
}

/** The requests that have no answer yet, by id, in the order in which they were made. */
export class PendingRequests {
  #requests = new Map(); // id -> { frame, resolve, reject }

  /**
   * Adds a request under a new random id, by which the server recognises it when it is sent again.
   *
   * @param {object} frame without an id
   * @returns {{ frame: object, result: Promise<unknown> }} the frame to send, and the request's outcome;
   *   a rejection that nobody handles is not reported, as the client has an `error` event
   */
  add(frame) {
    const id = toHex(crypto.getRandomValues(new Uint8Array(ID_BYTES))); // insecure origins have no randomUUID
    const request = { frame: { id, ...frame } };
    const result = new Promise((resolve, reject) => Object.assign(request, { resolve, reject }));
    result.catch(() => {});
    this.#requests.set(id, request);
    return { frame: request.frame, result };
  }

  has(id) {
    return this.#requests.has(id);
  }

  /** Returns the type of a request, such as `ask`; undefined where there is none of this id. */
  typeOf(id) {
    return this.#requests.get(id)?.frame.type;
  }

  /** Returns the frames of all requests, as they are sent. */
  frames() {
    return Array.from(this.#requests.values(), ({ frame }) => frame);
  }

  /** Ends a request with a value. An id that is not known is ignored, here and in `reject`. */
  resolve(id, value) {
    this.#remove(id)?.resolve(value);
  }

  reject(id, error) {
    this.#remove(id)?.reject(error);
  }

  #remove(id) {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    return request;
  }
}
