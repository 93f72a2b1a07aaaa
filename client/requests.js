/** Requests: the frames that a client has sent or will send, and that have not ended yet. */

export const TIME_LIMIT_MS = 60_000;
const ID_BYTES = 16;
const ID = /^.{1,64}$/su;
const LONE_SURROGATE = /\p{Surrogate}/u; // half of a character that takes two UTF-16 code units, such as an emoji

/**
 * The type, or an error's code, of the frame that ends a request without a refusal, by the type of the request. A question
 * (`ask`, `retry`, `edit`) ends with its turn, and so does a `cancel`. docs/clients-javascript.md has a table for people.
 */
export const END_BY_REQUEST_TYPE = { cancel: "turn_not_found", fork: "ready", history: "history", forget: "session_not_found", sessions: "sessions", title: "title" };

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

/** Returns why a frame cannot be sent, or undefined. */
function faultOf(frame) {
  const values = Object.values(frame);
  if (!frame.id.match?.(ID)) return "The id has not 1 to 64 characters.";
  if (LONE_SURROGATE.test(values.join())) return "The text has half an emoji.";
  if (values.includes(NaN) || values.includes(Infinity)) return "The number has no value.";
}

/**
 * A request that has not ended.
 *
 * @typedef {object} Request
 * @property {object} frame
 * @property {string} data the frame as it is sent
 * @property {string} command the fields that it was made with: those of the same command are the same
 * @property {number} bytes of `data` in UTF-8
 * @property {string} [fault] why it cannot be sent, where that is so
 * @property {Promise<unknown>} result
 * @property {(result: unknown) => void} settle ends it: rejects `result` with an error, and else resolves it
 * @property {boolean} [hasEnded]
 * @property {unknown} [timer] of its time limit: it was sent on the present connection
 * @property {import("./view.js").Turn} [turn] a question's turn as it was last seen: it is in the log, so it is acknowledged
 */

/**
 * Returns a promise with the function that settles it: rejects it with an error, and else resolves it. A rejection that
 * nobody handles is not reported, as the client has an `error` event.
 *
 * @returns {Pick<Request, "result" | "settle" | "hasEnded">}
 */
export function createOutcome() {
  const outcome = {};
  outcome.result = new Promise((resolve, reject) => {
    outcome.settle = (result) => {
      outcome.hasEnded = true;
      (result instanceof Error ? reject : resolve)(result);
    };
  });
  outcome.result.catch(() => {});
  return outcome;
}

/**
 * Returns a new request, by default with a new random id, by which the server recognises it when it is sent again.
 *
 * @param {object} given fields of the frame
 * @returns {Request}
 */
export function createRequest(given) {
  const { id, ...fields } = given;
  const request = createOutcome();
  request.frame = { id: id ?? toHex(crypto.getRandomValues(new Uint8Array(ID_BYTES))), ...fields };
  try {
    request.fault = faultOf(request.frame);
    request.command = JSON.stringify(given);
    request.data = JSON.stringify(request.frame);
    request.bytes = new TextEncoder().encode(request.data).length;
  } catch ({ message }) {
    request.fault = message;
  }
  return request;
}
