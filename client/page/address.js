/** The page's address: `?session=` names the conversation on it. */

const currentUrl = () => new URL(location.href);

/** Returns the session in the address, or null. */
export function session() {
  return currentUrl().searchParams.get("session");
}

/** Returns the token in the address (`#token=`), and removes it, so that no link, bookmark or history entry has it; else null. */
export function takeToken() {
  const url = currentUrl();
  const given = new URLSearchParams(url.hash.slice(1)).get("token");
  if (given === null) return null;
  url.hash = "";
  history.replaceState(history.state, "", url);
  return given;
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
