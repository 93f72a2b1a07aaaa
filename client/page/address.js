/** The page's address: `?session=` names the conversation on it, `#token=` is what the server wants to know. */

const here = () => new URL(location.href);

export const session = () => here().searchParams.get("session");

export const token = () => new URLSearchParams(here().hash.slice(1)).get("token") ?? undefined;

/** Of a conversation; without a session, of a new one. */
export function addressOf(session) {
  const address = here();
  if (session) address.searchParams.set("session", session);
  else address.searchParams.delete("session");
  return address.href;
}
