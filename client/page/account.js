/**
 * The account: #account in the foot of the list, with who is signed in and a way out. Who signs out leaves nothing here: no
 * key, no draft, no list; that user's other tabs follow.
 */
import { delay } from "../askbot.js";
import { addressOf } from "./address.js";
import { askForConfirmation } from "./confirm.js";
import { byId, setText } from "./dom.js";
import { fetchIdentity, linkBack } from "./identity.js";
import { currentKey, forgetKey, keptSince } from "./key.js";
import { signInFirst } from "./sign-in.js";
import { translate } from "./strings.js";

const NAME = `askbot.signed_out ${new URL(".", document.baseURI).pathname}`; // { user: when, in ms since 1970 }

function read() {
  try {
    return { ...JSON.parse(localStorage.getItem(NAME)) };
  } catch {
    return {};
  }
}

/** Asks the server until it says who is signed in: before that, nothing is anybody's. */
async function askWho(tries = 0) {
  const found = await fetchIdentity(currentKey()).catch(() => null);
  setText(byId("notice"), found ? "" : translate("cause_unreachable"));
  if (found) return found;
  await new Promise((resolve) => setTimeout(resolve, delay(tries)));
  return askWho(tries + 1);
}

/** Returns who is signed in; where nothing can be done without that, once somebody is. `isRefused`: the page's key was. */
export async function ensureIdentity() {
  const found = await askWho();
  const { user, authentication, anonymous } = found;
  const isOver = user === null ? authentication : read()[user] > keptSince(); // they have signed out in another tab
  if (isOver && currentKey()) {
    forgetKey();
    return { ...(await ensureIdentity()), isRefused: user === null };
  }
  return user === null && authentication && !anonymous ? signInFirst(found) : found;
}

/**
 * Draws who is signed in.
 *
 * @param {import("./identity.js").Identity} identity
 * @param {object} page
 * @param {import("./conversation-store.js").ConversationStore} page.store of that user
 * @param {() => boolean} page.close leaves the conversation on the page; returns whether something was not sent
 * @param {() => void} page.onSignIn
 */
export function initAccount(identity, { store, close, onSignIn }) {
  const { user, authentication, sign_out: link } = identity;
  const opened = Date.now();
  byId("account").hidden = !authentication;
  setText(byId("user"), user ?? translate("nobody"));
  byId("sign-in-open").hidden = user !== null;
  byId("sign-out").hidden = user === null || !(currentKey() || link); // a cookie can be taken away by who gave it only

  store.recordVisit();

  function leave(options) {
    close();
    store.clear(options);
    forgetKey();
    history.replaceState(null, "", addressOf(null));
  }

  async function signOut() {
    if (store.hasUnsent && !(await askForConfirmation(translate("sign_out_question"), "sign_out"))) return;
    leave();
    try {
      localStorage.setItem(NAME, JSON.stringify({ ...read(), [user]: Date.now() }));
    } catch {} // no other tab hears of it
    if (link) location.assign(linkBack(link, addressOf(null)));
    else location.reload();
  }

  /** Follows another tab, in which the user has signed out. */
  function follow() {
    if (user === null || !(read()[user] > opened)) return;
    leave({ isOthersKept: true }); // of somebody who has signed in again
    location.reload();
  }

  byId("sign-out").addEventListener("click", signOut);
  byId("sign-in-open").addEventListener("click", onSignIn);
  addEventListener("storage", follow);
  addEventListener("pageshow", follow); // it was hidden, and has heard of nothing
}
