/** A background connection: one of its own, for one thing to do in a conversation that need not be on the page. */
import { connect } from "../askbot.js";

const TIMEOUT_MS = 20_000;
const NO_STORAGE = { getItem: () => null, setItem() {}, removeItem() {} };

/**
 * Connects, runs an action and closes the connection. Rejects with what the server refuses (`session_not_found` where
 * the conversation is gone), and with the code `timeout` where it takes too long.
 */
async function runConnected(options, action) {
  const chat = connect({ ...options, storage: NO_STORAGE });
  let timer;
  try {
    return await new Promise((resolve, reject) => {
      chat.addEventListener("error", ({ detail }) => reject(detail));
      timer = setTimeout(() => reject(Object.assign(new Error("timeout"), { code: "timeout" })), TIMEOUT_MS);
      action(chat).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    chat.close();
  }
}

function nextChange(chat) {
  return new Promise((resolve) => chat.addEventListener("change", resolve, { once: true }));
}

/**
 * Fetches all turns of a conversation, those too that were replaced, oldest first.
 *
 * @param {import("../askbot.js").ConnectOptions} options `url`, `token` and `session`
 * @returns {Promise<readonly import("../view.js").Turn[]>}
 */
export function fetchAllTurns(options) {
  return runConnected({ ...options, keep: Infinity }, async (chat) => {
    while (chat.view.seq === null || chat.view.seq < chat.view.head) await nextChange(chat);
    while (chat.view.earlier) await chat.history();
    return chat.view.turns;
  });
}

/**
 * Deletes a conversation on the server. One that is gone already is no error.
 *
 * @param {import("../askbot.js").ConnectOptions} options `url`, `token` and `session`
 * @returns {Promise<void>}
 */
export async function deleteConversation(options) {
  try {
    await runConnected(options, (chat) => chat.forget());
  } catch (error) {
    if (error.code !== "session_not_found") throw error;
  }
}
