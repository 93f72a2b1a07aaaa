/** A background connection: one of its own, to read a conversation that need not be on the page. */
import { connect } from "../askbot.js";

const TIMEOUT_MS = 20_000;

function nextChange(chat) {
  return new Promise((resolve) => chat.addEventListener("change", resolve, { once: true }));
}

async function readAllTurns(chat) {
  while (chat.view.seq === null || chat.view.seq < chat.view.head) await nextChange(chat);
  while (chat.view.earlier) {
    const { length } = chat.view.turns;
    await chat.history();
    if (chat.view.turns.length === length) throw new Error("The server has no earlier turns, and says that it has.");
  }
  return chat.view.turns;
}

/**
 * Connects to a conversation, does something with it, and closes the connection. Rejects with what the server refuses
 * (`session_not_found` where the conversation is gone), and with the code `timeout` where it takes too long.
 *
 * @template Result
 * @param {import("../askbot.js").ConnectOptions} options `url`, `token` and `session`
 * @param {(chat: import("../askbot.js").Chat, readAll: () => Promise<readonly import("../view.js").Turn[]>) => Promise<Result>} action
 *   `readAll` resolves to all turns once they are read
 * @returns {Promise<Result>}
 */
export async function withConversation(options, action) {
  const chat = connect({ ...options, storage: {}, keep: Infinity });
  let timer;
  try {
    return await new Promise((resolve, reject) => {
      chat.addEventListener("error", ({ detail }) => reject(detail));
      timer = setTimeout(() => reject(Object.assign(new Error("timeout"), { code: "timeout" })), TIMEOUT_MS);
      action(chat, () => readAllTurns(chat)).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    chat.close();
  }
}

/** Fetches all turns of a conversation, those too that were replaced, oldest first. Rejects as `withConversation` does. */
export function fetchAllTurns(options) {
  return withConversation(options, (_, readAll) => readAll());
}
