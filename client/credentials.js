/**
 * Credentials: before the one expires with which a connection was opened, a fresh one is asked for. This is loaded once a
 * server says that one does expire (`ready.expires`), and only where a function gives them.
 *
 * A token is sent on the connection, by `auth`. A ticket is for a handshake: it needs a new connection, which reads on where
 * the old one was. So does a cookie, which neither is.
 *
 * `expires` is a time of the server's clock, and the one here may be hours off. How far it is off is known from a question
 * that was just asked, whose `created` is the server's time, and from a connection that was closed with 4401 though there
 * seemed to be time left. Before that both count as the same, unless a credential seems to be accepted after it has expired.
 * Where a clock is behind, the first connection is closed by the server, and the next one has a fresh credential.
 */

const AHEAD_MS = 60_000; // before it expires; where there are not two minutes, half of the time that is left
const MIN_WAIT_MS = 5_000; // a function may give the same credential again
const ASSUMED_MS = 120_000; // that are left of a credential which the clock here takes for expired
const TICK_MS = 60_000; // for which a timer is trusted: it stands still while a computer sleeps
const UNAUTHORIZED = 4401;

const valueOf = (given) => (typeof given === "function" ? given() : undefined);

/**
 * Returns a function that takes the server's frames, `ready` and those after it, and renews the credential in time.
 *
 * @param {object} options
 * @param {import("./askbot.js").Chat} options.chat
 * @param {unknown} options.token as `connect` was given it
 * @param {unknown} options.ticket as `connect` was given it
 * @param {(milliseconds?: number, action?: () => void) => void} options.setTimer sets its one timer
 * @param {{ send: (data: string) => void, reopen: (ticket?: string) => void }} options.connection `reopen` replaces the
 *   connection by a new one, which reads on where it was
 * @param {(error: unknown) => void} options.onFailed a function has failed; it is asked again
 * @returns {(frame: import("./frames.js").ServerFrame) => void}
 */
export function createRenewal({ chat, token, ticket, setTimer, connection, onFailed }) {
  let expires = NaN; // in milliseconds since 1970 by the server's clock; NaN: never
  let difference = 0; // by which the server's clock is ahead of ours, in milliseconds, as far as that is known
  let renewTime; // by our clock
  let count = 0; // of the `auth` frames that were sent
  let reopenedFor; // the `expires` for which a new connection was made without a credential of ours

  const timeLeft = () => expires - Date.now() - difference;

  function schedule() {
    setTimer();
    if (!expires) return;
    const left = timeLeft();
    renewTime = Date.now() + Math.max(MIN_WAIT_MS, left - Math.min(AHEAD_MS, left / 2));
    tick();
  }

  function tick() {
    const wait = renewTime - Date.now();
    if (wait > 0) setTimer(Math.min(wait, TICK_MS), tick);
    else renew();
  }

  async function renew() {
    const { connection: before } = chat; // each change makes another one
    const isCurrent = () => chat.connection === before;
    try {
      const bearer = await valueOf(token);
      const once = bearer ? undefined : await valueOf(ticket);
      if (isCurrent()) send(bearer, once);
    } catch (error) {
      if (isCurrent()) onFailed(error);
    }
    if (isCurrent()) schedule(); // it is asked again, unless `authorized` comes
  }

  function send(bearer, once) {
    if (bearer) {
      count += 1;
      connection.send(JSON.stringify({ type: "auth", id: `auth-${count}`, token: bearer }));
    } else if (once || reopenedFor !== expires) {
      reopenedFor = expires;
      connection.reopen(once);
    }
  }

  function onExpires(frame) {
    expires = Date.parse(frame.expires);
    if (timeLeft() <= 0) difference = expires - Date.now() - ASSUMED_MS;
    schedule();
  }

  const handlers = {
    __proto__: null, // a type such as "constructor" is unknown too

    ready: onExpires,
    authorized: onExpires,

    question({ seq, created }) {
      if (!(seq > chat.view.head)) return; // it was asked some time ago
      difference = Date.parse(created) - Date.now();
      schedule();
    },

    /** A token of another user is for a new connection. */
    error({ id, code }) {
      if (count && id === `auth-${count}` && code === "forbidden") connection.reopen();
    },
  };

  chat.addEventListener("state", () => {
    const { state, cause } = chat.connection;
    if (state === "open") return;
    setTimer();
    if (state === "waiting" && cause?.closeCode === UNAUTHORIZED && timeLeft() > 0) difference = expires - Date.now();
  });

  return (frame) => {
    if (chat.state === "open") handlers[frame.type]?.(frame); // or it was lost while this was loaded
  };
}
