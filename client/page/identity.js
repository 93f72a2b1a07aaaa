/** Who is signed in, as the server says it (`v1/identity`). */

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/; // what a subprotocol can carry
const TIME_LIMIT_MS = 10_000;
const NOBODY = { user: null, authentication: false, anonymous: true, sign_in: null, sign_out: null };

/**
 * @typedef {object} Identity
 * @property {string | null} user null: nobody
 * @property {boolean} authentication whether one can sign in here
 * @property {boolean} anonymous whether one may ask without that
 * @property {string | null} sign_in where the page sends its reader for that; null: a key is typed
 * @property {string | null} sign_out where it sends them after they have signed out
 */

/**
 * Asks the server who is signed in. Rejects where it can't be reached, or can't say; one of an earlier version knows nobody.
 *
 * @param {string} [key] else a cookie may say it
 * @returns {Promise<Identity>}
 */
export async function fetchIdentity(key) {
  if (key && !TOKEN.test(key)) return { ...(await fetchIdentity()), user: null };
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const signal = AbortSignal.timeout(TIME_LIMIT_MS);
  const response = await fetch(new URL("v1/identity", document.baseURI), { headers, cache: "no-store", signal });
  if (response.status >= 500) throw new Error(`status ${response.status}`);
  return response.ok ? { ...NOBODY, ...(await response.json()) } : NOBODY;
}

/**
 * Returns where one signs in or out, with the way back: the page's address stands for `{url}` in it, or else is its
 * parameter `return_to`.
 *
 * @param {string} link of `Identity`
 * @param {string} back
 */
export function linkBack(link, back) {
  if (link.includes("{url}")) return link.replaceAll("{url}", encodeURIComponent(back));
  const url = new URL(link, document.baseURI);
  url.searchParams.set("return_to", back);
  return url.href;
}
