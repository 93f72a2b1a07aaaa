/**
 * Signing in: #sign-in, with a field for a key, or a link to where that is done. It is the whole page where nothing can be
 * done without it. Where the server refuses who was signed in, it stands above the field for the question, and connections
 * wait: what is typed or asked stays where it is.
 */
import { addressOf } from "./address.js";
import { announce, byId, focusQuestion, setText, showBusy } from "./dom.js";
import { fetchIdentity, linkBack } from "./identity.js";
import { currentKey, forgetKey, keepKey, rereadKey } from "./key.js";
import { translate } from "./strings.js";

const panel = byId("sign-in");
const form = byId("sign-in-form");
const field = byId("key");
let onSignedIn; // what the panel is shown for; it takes an Identity
let refusal = null; // { over, end }: somebody was refused; `over` is a promise of the end of that

/** Shows the panel. `about` names its texts: with a key, on another page. */
function show({ sign_in: link, anonymous }, about, onDone) {
  onSignedIn = onDone;
  setText(byId("sign-in-about"), translate(about[link ? 1 : 0]));
  setText(byId("sign-in-error"), "");
  form.hidden = Boolean(link);
  byId("sign-in-link").hidden = !link;
  // Where nobody has to sign in, the session in the address may be nobody's: whoever has its id may use it.
  if (link) byId("sign-in-link").href = linkBack(link, anonymous ? addressOf(null) : location.href);
  panel.hidden = false;
}

function hide() {
  const hadFocus = panel.contains(document.activeElement);
  panel.hidden = true;
  field.value = "";
  onSignedIn = undefined;
  if (hadFocus) focusQuestion();
}

async function signIn() {
  const key = field.value.trim();
  setText(byId("sign-in-error"), "");
  try {
    const identity = await fetchIdentity(key);
    if (identity.user === null) return showError("key_unknown");
    keepKey(key, { isForBrowser: byId("keep").checked });
    onSignedIn?.(identity);
  } catch {
    showError("cause_unreachable");
  }
}

function showError(name) {
  setText(byId("sign-in-error"), translate(name));
  field.select();
  field.focus();
}

/** Signs in by what has changed meanwhile: a cookie, or the key of the browser, by another tab. */
async function signInByOther() {
  if (panel.hidden || document.hidden) return;
  const identity = await fetchIdentity(rereadKey()).catch(() => null);
  if (identity?.user != null) onSignedIn?.(identity);
}

/** Shows nothing but the panel, until somebody has signed in. Returns who that is. */
export async function signInFirst(identity) {
  document.body.dataset.view = "sign-in";
  show(identity, ["sign_in_about", "sign_in_about_link"]);
  (identity.sign_in ? byId("sign-in-link") : field).focus();
  const found = await new Promise((resolve) => (onSignedIn = resolve));
  hide();
  delete document.body.dataset.view;
  return found;
}

/** Shows the panel to an anonymous reader, who may go on without. */
export function offerSignIn(identity, onDone) {
  byId("ask").before(panel);
  show(identity, identity.isRefused ? ["key_unknown", "signed_out_about_link"] : ["sign_in_about", "sign_in_about_link"], onDone);
  (identity.sign_in ? byId("sign-in-link") : field).focus();
}

/** Whether somebody who was signed in has to sign in again. */
export const isSignInRequired = () => refusal !== null;

/**
 * Has the reader sign in again. Connections wait for it (`token`).
 *
 * @param {import("./identity.js").Identity} identity who was signed in
 * @param {() => void} onOther another user has signed in
 * @param {() => void} onAgain the same has
 */
export function signInAgain(identity, { onOther, onAgain }) {
  if (refusal) return;
  refusal = {};
  refusal.over = new Promise((resolve) => (refusal.end = resolve));
  if (currentKey()) forgetKey();
  byId("ask").before(panel);
  show(identity, ["signed_out_about", "signed_out_about_link"], ({ user }) => {
    if (user !== identity.user) return onOther();
    hide();
    refusal.end();
    refusal = null;
    announce(translate("signed_in", { user }));
    onAgain();
  });
  announce(translate("error_unauthorized"));
}

/**
 * Returns the token for a connection; undefined where there is none, as for a cookie. Waits while nobody is signed in.
 *
 * @param {import("./identity.js").Identity} identity
 * @param {() => void} onLost a cookie is that of nobody, or of somebody else
 */
export async function tokenFor(identity, onLost) {
  await refusal?.over;
  const key = currentKey();
  if (key || identity.user === null) return key;
  const now = await fetchIdentity().catch(() => identity); // where it can't be reached, the connection says so
  if (now.user === identity.user) return;
  onLost(now);
  await refusal?.over;
  return currentKey();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value.trim()) showBusy(byId("sign-in-submit"), signIn());
});
document.addEventListener("visibilitychange", signInByOther);
addEventListener("focus", signInByOther);
addEventListener("storage", signInByOther);
