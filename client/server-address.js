/** ServerAddress: where a client connects to, and from which position it goes on. It may have passwords in it. */

/** Returns what an action returns. Its error is replaced, as that shows addresses and tokens. */
export function hideSecrets(action) {
  try {
    return action();
  } catch {
    throw new TypeError("The url or the token is not valid.");
  }
}

/** Returns a server's address. Throws where it is not valid. */
export function parseAddress(url) {
  const address = hideSecrets(() => new URL(url, globalThis.location?.href));
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  return address;
}

/**
 * Returns the address to go on from.
 *
 * @param {URL} address of the server
 * @param {string | null | undefined} id the session's; null begins a new one
 * @param {import("./view.js").View} view what was read of it
 * @param {string | null | undefined} ticket for this connection
 * @returns {string}
 */
export function resumeAddress(address, id, { session, seq, log }, ticket) {
  const resumed = new URL(address);
  if (id) resumed.searchParams.set("session", id);
  if (session) resumed.searchParams.set("after", seq);
  if (log) resumed.searchParams.set("log", log);
  if (ticket) resumed.searchParams.set("ticket", ticket);
  return resumed.href;
}
