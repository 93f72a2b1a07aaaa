/** Answer: the text of a turn as it is read, and whether it is the one that the server has. */
import { requestError, toHex } from "./requests.js";
import { countCodePoints } from "./view.js";

/** Returns whether a turn's answer is the one that the server's `check` describes. What is no text is none. */
export async function matchesCheck({ answer, check } = {}) {
  if (typeof answer !== "string" || countCodePoints(answer) !== check?.chars) return false;
  const { subtle } = crypto;
  if (!subtle) return true; // an insecure origin has no SHA-256
  return toHex(await subtle.digest("SHA-256", new TextEncoder().encode(answer))) === check.sha256;
}

/**
 * Yields an answer's text as it comes. A slow reader gets longer pieces; nothing is queued for it. Throws `damaged` at
 * the end where the answer is another one than what was yielded.
 *
 * @param {import("./askbot.js").Chat} chat
 * @param {import("./requests.js").Request} request
 */
export async function* readAnswer(chat, request) {
  const { frame, result } = request;
  let given = ""; // what was yielded
  let isPending = true;
  while (isPending) {
    isPending = !request.hasEnded;
    const turn = isPending ? chat.view.turns.find(({ id }) => id === frame.id) : await result.catch(() => request.turn);
    const missing = turn?.answer?.length - given.length;
    if (missing > 0) {
      const text = (missing <= turn.tail?.length ? turn.tail : turn.answer).slice(-missing);
      given += text;
      yield text;
    } else if (isPending) {
      await new Promise((resolve) => chat.addEventListener("change", resolve, { once: true }));
    }
  }
  const { answer } = await result; // or its error, after the text that came before it
  if (!answer.startsWith(given)) throw requestError({ code: "damaged", id: frame.id }); // though the turn may be repaired
}
