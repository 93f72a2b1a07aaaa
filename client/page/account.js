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

/** Asks the server until it says who is signed in: as somebody else, the page would show what is not theirs. */
async function askWho() {
  for (let tries = 0; ; tries += 1) {
    try {
      const found = await fetchIdentity(currentKey());
      setText(byId("notice"), "");
      return found;
    } catch {
      setText(byId("notice"), translate("cause_unreachable"));
      await new Promise((resolve) => setTimeout(resolve, delay(tries)));
    }
  }
}

/**
 * Returns who is signed in; where nothing can be done without that, once somebody is. `isRefused` is whether the page had a
 * key that the server does not take any more.
 */
export async function identify() {
  const found = await askWho();
  const hasKey = found.authentication && Boolean(currentKey());
  const isRefused = found.user === null && hasKey;
  const hasSignedOut = found.user !== null && hasKey && read()[found.user] > keptSince(); // in another tab
  if (isRefused || hasSignedOut) forgetKey();
  if (hasSignedOut || (isRefused && currentKey())) return identify(); // the browser has another one
  return found.user === null && found.authentication && !found.anonymous ? signInFirst(found) : { ...found, isRefused };
}

/**
 * Draws who is signed in.
 *
 * @param {import("./identity.js").Identity} identity
 * @param {object} page
 * @param {import("./conversation-store.js").ConversationStore} page.store of that user
 * @param {() => boolean} page.close leaves the conversation on the page; returns whether something was not sent
 * @param {() => boolean} page.hasUnsent in the conversation on the page
 * @param {() => void} page.onSignIn
 */
export function createAccount(identity, { store, close, hasUnsent, onSignIn }) {
  const { user, authentication, sign_out: link } = identity;
  const opened = Date.now();
  byId("account").hidden = !authentication;
  setText(byId("user"), user ?? translate("nobody"));
  byId("sign-in-open").hidden = user !== null;
  byId("sign-out").hidden = user === null || !(currentKey() || link); // a cookie can be taken away by who gave it only

  store.markSignedIn();

  function leave({ isTabOnly = false } = {}) {
    close();
    store.clear({ isTabOnly });
    forgetKey();
    history.replaceState(null, "", addressOf(null));
  }

  async function signOut() {
    if ((hasUnsent() || store.hasUnsent) && !(await askForConfirmation(translate("sign_out_question"), "sign_out"))) return;
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
    leave({ isTabOnly: store.isSignedIn }); // it has signed in there again
    location.reload();
  }

  byId("sign-out").addEventListener("click", signOut);
  byId("sign-in-open").addEventListener("click", onSignIn);
  addEventListener("storage", follow);
  addEventListener("pageshow", follow); // it was hidden, and has heard of nothing
}
