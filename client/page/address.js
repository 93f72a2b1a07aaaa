/** The page's address: `?session=` names the conversation on it, `#token=` is the token that a server may require. */

const currentUrl = () => new URL(location.href);

/** Returns the session in the address, or null. */
export function session() {
  return currentUrl().searchParams.get("session");
}

/** Returns the token in the address, or undefined. */
export function token() {
  return new URLSearchParams(currentUrl().hash.slice(1)).get("token") ?? undefined;
}

/**
 * Returns the address of a conversation.
 *
 * @param {string | null} session null for a new one
 * @returns {string}
 */
export function addressOf(session) {
  const url = currentUrl();
  if (session) url.searchParams.set("session", session);
  else url.searchParams.delete("session");
  return url.href;
}
