/**
 * Connection: one WebSocket at a time, opened again whenever it is lost. Its owner interprets the frames.
 *
 *     connecting --onReady()--> open --lost, or silent for too long--> waiting --timer, page wakes up--> connecting
 *     connecting --failed, or not ready in time--> waiting; one that hangs --page wakes up--> connecting, anew
 *     connecting, open --the session is gone--> connecting, to a new one
 *     (any) --close()--> closed
 */

const SILENCE_TIMEOUT_MS = 45_000; // the server sends `alive` where it has sent nothing else for 20 s
const HANDSHAKE_TIMEOUT_MS = 10_000; // from a new socket to `ready`
const TOKEN_TIMEOUT_MS = 45_000; // for a token from a function, which may ask somebody to log in
const PATIENCE_MS = 2_000; // an attempt that is older is replaced when the network is back or the page is visible again
const REST_MS = 100; // between two frames that the timer is restarted for, as that costs more than to read a frame
const PING_TIMEOUT_MS = 5_000; // for any answer to our own `ping`
const RECONNECT_BASE_MS = 500;
const RECONNECT_MAX_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1; // a timer of more ends at once
export const UNAUTHORIZED = 4401;
export const FRAME_TOO_BIG = 1009;
export const SESSION_NOT_FOUND = 4404;
const WORKED_MS = 30_000; // a connection that lasts so long was not refused because of its token or session
const SUBPROTOCOL = "askbot.v1";
const WAKE_EVENTS = ["online", "visibilitychange"]; // after these, a socket that looks open may be dead

/** The codes of the errors that close codes stand for. */
export const ERROR_BY_CLOSE_CODE = {
  1012: "going_away",
  1013: "overloaded",
  [UNAUTHORIZED]: "unauthorized",
  4403: "forbidden",
  [SESSION_NOT_FOUND]: "session_not_found",
  4429: "rate_limited",
};

/**
 * Returns how long to wait before the next attempt to connect, in milliseconds. With full jitter, so that the clients
 * of a restarted server don't all come back at once.
 *
 * @param {number} tries attempts so far
 * @param {() => number} [random] returns a number from 0 up to 1
 * @returns {number}
 */
export function delay(tries, random = Math.random) {
  return random() * Math.min(RECONNECT_MAX_MS, RECONNECT_BASE_MS * 2 ** tries);
}

/** Returns a function that starts a timer in place of the one before, or only ends that. One of `Infinity` never ends. */
export function createTimer(timers) {
  let timer;
  return (milliseconds, action) => {
    timers.clearTimeout(timer);
    if (milliseconds < Infinity) timer = timers.setTimeout(action, Math.min(milliseconds, TIMER_MAX_MS));
  };
}

export const isFunction = (value) => typeof value === "function";

const valueOf = (given) => (isFunction(given) ? given() : given);

/**
 * Opens the first socket. Throws where the address or the token is not valid.
 *
 * @param {object} options `token`, `ticket`, `random`, `page` and `timers` of `connect`, and what the owner does:
 *   `createSocket(protocols, ticket)` returns a new WebSocket, or throws, `receive(frame)` takes a frame,
 *   `onLost(code)` is called when there is no socket any more, with the close code where there is one, and may close this,
 *   `onFailed(error)` is called when none could be opened,
 *   `onState(connection)` is called with what `chat.connection` is, whenever that has changed
 */
export function openConnection({ token, ticket, random, page, timers, createSocket, receive, onFailed, onLost, onState }) {
  let state;
  let socket;
  let last; // the last frame that has come on this socket, or its data where that could not be read
  let isReady = false; // whether `ready` has come on this socket
  let isLeaving = false; // the server is about to stop
  let leaveTime; // milliseconds for which to stay with it
  let attempts = 0; // to connect, since a connection has last brought something new
  let pauseTime = 0; // milliseconds for which the server wants no connection; 0: none
  let pauseError; // the error that said so
  let pauseEnd;
  let isTokenRenewed = false; // since a connection has last worked
  let isSessionRenewed = false; // the same of a session that is gone: the next attempt is for a new one
  let isResting = false; // whether the timer of the silence was restarted for a frame in the last 100 ms
  let isSlow = false; // whether there is an attempt to connect that is to be replaced at a wake-up
  let isWoken = false; // whether there was a wake-up since the attempt began
  let isPinging = false; // whether a `ping` has no answer yet
  let cause = null; // of `chat.connection`, as are these
  let tries = 0;
  let since = Date.now();

  const isRenewable = [token, ticket].some(isFunction); // whether somebody can be asked for a fresh credential
  const setTimer = createTimer(timers); // the end of the attempt or of the silence, or the next attempt
  const setLeaveTimer = createTimer(timers);
  const setPauseTimer = createTimer(timers);
  const setWorkedTimer = createTimer(timers);

  function setState(next, nextTry = null) {
    if ((next === "open") !== (state === "open")) since = Date.now();
    state = next;
    onState({ state, cause, tries, since, nextTry });
  }

  /** Returns whether frames may be sent: from `onReady()` on, until the server goes away or the socket is lost. */
  const isOpen = () => isReady && !isLeaving;

  /** Opens a socket, with a ticket where there is one already. Throws where the address or the token is not valid. */
  function connect(freshTicket) {
    disconnect();
    tries += 1;
    if (isRenewable) openWithCredentials(freshTicket);
    else openSocket(token, ticket);
    setState("connecting");
  }

  /** Gives up the attempt after `milliseconds`. */
  function limitAttempt(milliseconds) {
    isSlow = isWoken = false;
    setTimer(PATIENCE_MS, () => {
      isSlow = true;
      setTimer(milliseconds - PATIENCE_MS, () => reconnect({}, "timeout"));
      if (isWoken) wake();
    });
  }

  async function openWithCredentials(freshTicket) {
    const attempt = (socket = { close() {} }); // in the socket's place: after `disconnect` it is not there any more
    limitAttempt(TOKEN_TIMEOUT_MS);
    try {
      await null; // first all are told of the attempt
      const bearer = await valueOf(token);
      if (attempt !== socket) return;
      const once = freshTicket ?? (await valueOf(ticket));
      if (attempt === socket) openSocket(bearer, once);
    } catch (error) {
      if (attempt === socket) fail(error);
    }
  }

  function openSocket(bearer, once) {
    const protocols = bearer ? [SUBPROTOCOL, `askbot.bearer.${bearer}`] : [SUBPROTOCOL];
    const opened = createSocket(protocols, once);
    socket = opened;
    opened.onmessage = ({ data }) => opened === socket && onMessage(data);
    opened.onclose = opened.onerror = (event) => opened === socket && reconnect(event);
    limitAttempt(HANDSHAKE_TIMEOUT_MS);
  }

  /** Hands a frame to the owner. One that cannot be read is like a gap: it may have been an event. */
  function onMessage(data) {
    try {
      last = data;
      last = JSON.parse(data);
      receive(last);
    } catch {
      reconnect();
    }
    if (isReady && !isResting) restartSilence(); // one without `ready` is given no more time
  }

  function restartSilence() {
    isResting = true;
    isPinging = false;
    setTimer(REST_MS, () => {
      isResting = false;
      setTimer(SILENCE_TIMEOUT_MS - REST_MS, reconnect);
    });
  }

  function fail(error) {
    onFailed(error);
    reconnect({ message: error?.message }, "unauthorized");
  }

  /** Opens a socket in place of the present one, now, or when the server wants one again. */
  function reopen(freshTicket) {
    if (pauseTime) return reconnect();
    try {
      connect(freshTicket);
    } catch (error) {
      fail(error);
    }
  }

  /**
   * Gives up the socket, and opens another one after a delay; at once where the session is gone, as nothing was lost.
   *
   * @param {{ code?: number, message?: string, reason?: string }} [event] `code` is the close code, or the one that fits
   * @param {string} [code] that of the cause, where neither the server nor a close code says one
   */
  function reconnect({ code: closeCode, message, reason } = {}, code = last ? "lost" : "unreachable") {
    const isTokenExpired = closeCode === UNAUTHORIZED && !isTokenRenewed && isRenewable;
    const error = pauseTime ? pauseError : !last?.id && last;
    if (isLeaving) code = "going_away";
    else if (error?.type === "error") ({ code, message } = error);
    else code = ERROR_BY_CLOSE_CODE[closeCode] ?? code;
    cause = { code, message: message || reason || code, closeCode };
    disconnect(isTokenExpired ? undefined : closeCode);
    if (socket || state === "closed") return; // one who heard of it may have opened another, or closed this
    isTokenRenewed ||= isTokenExpired;
    if (closeCode !== SESSION_NOT_FOUND || isSessionRenewed || pauseTime) return wait();
    isSessionRenewed = true;
    tries = 0;
    reopen();
  }

  /** Waits for the time of the next attempt, or first for the end of the pause. */
  function wait() {
    if (pauseTime) return setState("waiting", pauseEnd);
    const milliseconds = delay(attempts, random);
    attempts += 1;
    setTimer(milliseconds, reopen);
    setState("waiting", Date.now() + milliseconds);
  }

  /** Drops the socket without waiting for its close, which may take minutes for a dead one. */
  function disconnect(code) {
    const dropped = socket;
    socket = last = null;
    isReady = isLeaving = isResting = isSlow = false;
    setTimer();
    setLeaveTimer();
    setWorkedTimer();
    dropped?.close();
    onLost(code);
  }

  const onWake = () => page.document?.hidden || wake();

  /** Checks the socket by a `ping`. An attempt that is waited for is made at once, and one that hangs is replaced. */
  function wake() {
    isWoken = true;
    if (!pauseTime && (isSlow || state === "waiting")) reopen();
    if (isPinging || !isOpen()) return;
    isPinging = true;
    isResting = false;
    socket.send('{"type":"ping"}');
    setTimer(PING_TIMEOUT_MS, reconnect);
  }

  connect();
  for (const name of WAKE_EVENTS) page.addEventListener?.(name, onWake);

  return {
    isOpen,
    reopen,
    reconnect,
    wake,
    disconnect,

    send(data) {
      socket.send(data);
    },

    /** Handles `ready`. */
    onReady() {
      isReady = true;
      isSlow = false;
      setWorkedTimer(WORKED_MS, () => (isTokenRenewed = isSessionRenewed = false));
      if (isLeaving) return;
      cause = null;
      tries = 0;
      setState("open");
    },

    /** Counts attempts to connect from zero again, as the connection has brought something new. */
    onProgress() {
      if (pauseTime) setPauseTimer();
      attempts = pauseTime = 0;
      isTokenRenewed = false;
    },

    /** Sends nothing more, and reads on until the socket is lost, for `milliseconds` at most: the server is about to stop. */
    leaveAfter(milliseconds) {
      if (isLeaving && milliseconds >= leaveTime) return; // it would be prolonged
      isLeaving = true;
      setLeaveTimer((leaveTime = milliseconds), reconnect);
    },

    /** Opens no socket for as long as an error says. Of several such times the longest counts, from now on. */
    pause(error) {
      if (!(error.retry_after > 0)) return;
      pauseError = error;
      pauseTime = Math.max(pauseTime, error.retry_after);
      pauseEnd = Date.now() + pauseTime;
      setPauseTimer(pauseTime, () => {
        pauseTime = 0;
        if (state === "waiting") wait();
      });
    },

    /** Disconnects for good. `code` says why. */
    close(code) {
      for (const name of WAKE_EVENTS) page.removeEventListener?.(name, onWake);
      disconnect();
      setPauseTimer();
      if (cause?.code !== code) cause = { code, message: code };
      setState("closed");
    },
  };
}
