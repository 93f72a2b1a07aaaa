/**
 * Taking along: who has signed in may keep the conversations of this browser that nobody owns. Each is copied on the server
 * (`fork` of its newest turn), so that it is the user's; it leaves the list of the browser once that is done.
 */
import { shown } from "../view.js";
import { withConversation } from "./background-connection.js";
import { announce, byId, setText, showBusy } from "./dom.js";
import { translate } from "./strings.js";

const MAX_ID_CHARACTERS = 64;

/**
 * Copies a conversation. Returns the session of the copy, which is the same one where that is tried again, and whether all
 * turns are in it: those are not that were too long ago for the model to be shown them.
 */
async function copy(server, { session, title, named }) {
  let count; // of the turns to copy
  const frame = await withConversation({ ...server, session }, async (chat, readAll) => {
    count = shown(await readAll()).length;
    return chat.fork(chat.view.turns.at(-1)?.turn, { id: `take.${session}`.slice(0, MAX_ID_CHARACTERS) });
  });
  return withConversation({ ...server, session: frame.session }, async (chat, readAll) => {
    if (named) await chat.title(title);
    return { copied: frame.session, isWhole: shown(await readAll()).length >= count };
  });
}

/** What was typed, or asked and not sent, is in the field of the copy. */
function keepTyped(outbox, texts) {
  outbox.keep(texts.map((text) => ({ text, isDraft: true })));
  outbox.release();
}

/**
 * Offers to take along what is in the list of the browser.
 *
 * @param {object} options
 * @param {{ url: URL, token: unknown }} options.server
 * @param {import("./conversation-store.js").ConversationStore} options.from the list of the browser
 * @param {import("./conversation-store.js").ConversationStore} options.store that of the user
 * @param {() => void} options.onTaken
 */
export function offerToTakeAlong({ server, from, store, onTaken }) {
  const section = byId("take-along");

  function draw() {
    const count = offered().length;
    section.hidden = !count;
    if (count) setText(section.firstElementChild, translate(count === 1 ? "take_along_1" : "take_along", { count }));
  }

  const offered = () => {
    const declined = store.declined();
    return from.all().filter(({ session, isUnsent }) => !isUnsent && !declined.includes(session));
  };

  /**
   * Takes them one after the other. What can't be taken stays where it is. It is offered again, unless the server refuses it
   * for good; a lost connection, or an answer that is still written, is no reason for that.
   */
  async function take() {
    const all = offered();
    let taken = 0;
    for (const conversation of all) {
      const { session, title, named, used } = conversation;
      try {
        const { copied, isWhole } = await copy(server, conversation);
        store.recordUse(copied, { title, used });
        if (named) store.rename(copied, title);
        keepTyped(store.outbox(copied), from.unsentTexts(session));
        if (isWhole) from.remove(session);
        else store.decline([session]); // the browser's list keeps it
        taken += 1;
      } catch ({ code, retryable }) {
        if (retryable === false || code === "session_not_found") store.decline([session]);
      }
      onTaken();
    }
    draw();
    announce(translate("taken_along", { taken, count: all.length }));
    setText(byId("notice"), taken < all.length ? translate("taken_along", { taken, count: all.length }) : "");
  }

  function decline() {
    store.decline(offered().map(({ session }) => session));
    draw();
    byId("search").focus();
  }

  byId("take").addEventListener("click", () => showBusy(byId("take"), take()));
  byId("decline").addEventListener("click", decline);
  draw();
}
