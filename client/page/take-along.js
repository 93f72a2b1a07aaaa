/**
 * Taking along: who has signed in may keep the conversations of this browser that nobody owns. Each is copied on the server
 * (`fork` of its newest turn), so that it is the user's; it leaves the list of the browser once that is done.
 */
import { withConversation } from "./background-connection.js";
import { announce, byId, setText, showBusy } from "./dom.js";
import { translate } from "./strings.js";

const MAX_ID_CHARACTERS = 64;

/** Copies a conversation. Returns the session of the copy, which is the same one where that is tried again. */
async function copy(server, { session, title, named }) {
  const frame = await withConversation({ ...server, session }, async (chat, readAll) => {
    await readAll();
    const last = chat.view.turns.findLast(({ status }) => status === "ended");
    return chat.fork(last?.turn, { id: `take.${session}`.slice(0, MAX_ID_CHARACTERS) });
  });
  if (named) await withConversation({ ...server, session: frame.session }, (chat) => chat.title(title));
  return frame.session;
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

  /** Takes them one after the other. What can't be taken stays where it is, and is not offered again. */
  async function take() {
    const all = offered();
    let taken = 0;
    for (const conversation of all) {
      const { session, title, named, used } = conversation;
      try {
        const copied = await copy(server, conversation);
        store.recordUse(copied, { title, used });
        if (named) store.rename(copied, title);
        from.remove(session);
        taken += 1;
      } catch {
        store.decline([session]);
      }
      onTaken();
    }
    section.hidden = true;
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
