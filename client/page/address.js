/**
 * The page's address: `?session=` names the conversation on it. `#token=` is the token that a server may require; it is
 * kept for the tab and removed from the address, so that no link, bookmark or history entry has it.
 */

const TOKEN_KEY = `askbot.token ${new URL(".", document.baseURI).pathname}`; // a server of another path has its own

const currentUrl = () => new URL(location.href);

let token;
try {
  token = sessionStorage.getItem(TOKEN_KEY) ?? undefined;
} catch {} // where it is forbidden, the token lasts as long as the page

/** Returns the session in the address, or null. */
export function session() {
  return currentUrl().searchParams.get("session");
}

/** Returns the token that the tab was given last, or undefined. */
export function currentToken() {
  const url = currentUrl();
  const given = new URLSearchParams(url.hash.slice(1)).get("token");
  if (given === null) return token;
  token = given;
  url.hash = "";
  history.replaceState(history.state, "", url);
  try {
    sessionStorage.setItem(TOKEN_KEY, token);
  } catch {}
  return token;
}

/**
 * Returns the address of a conversation.
 *
 * @param {string | null} session null for a new one
 * @returns {string}
 */
export function addressOf(session) {
  const url = currentUrl();
  url.hash = "";
  if (session) url.searchParams.set("session", session);
  else url.searchParams.delete("session");
  return url.href;
}
