/** An errand: a connection of its own, for one thing to do in a conversation that need not be the one on the page. */
import { connect } from "../askbot.js";

const PATIENCE = 20_000; // milliseconds
const NOWHERE = { getItem: () => null, setItem() {}, removeItem() {} };

/** Rejects where the conversation is gone (`session_not_found`), and where there is no server for too long (`late`). */
async function errand(options, run) {
  const bot = connect({ ...options, storage: NOWHERE });
  let timer;
  try {
    return await new Promise((resolve, reject) => {
      bot.addEventListener("error", ({ detail }) => reject(detail));
      timer = setTimeout(() => reject(Object.assign(new Error("late"), { code: "late" })), PATIENCE);
      run(bot).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    bot.close();
  }
}

/** All turns of a conversation, the replaced ones too, oldest first. */
export const allOf = (options) =>
  errand(options, async (bot) => {
    while (bot.view.seq === null || bot.view.seq < bot.view.head) await changed(bot);
    while (bot.view.earlier) await bot.history();
    return bot.view.turns;
  });

const changed = (bot) => new Promise((resolve) => bot.addEventListener("change", resolve, { once: true }));

/** Delete a conversation; one that is gone already is as good. */
export const forget = (options) =>
  errand(options, (bot) => bot.forget()).catch((error) => {
    if (error.code !== "session_not_found") throw error;
  });
