/**
 * Connection: one WebSocket at a time, opened again whenever it is lost. Its owner interprets the frames.
 *
 *     connecting --onReady()--> open --lost, or silent for too long--> waiting --timer, page wakes up--> connecting
 *     (any) --close()--> closed
 */

const SILENCE_TIMEOUT_MS = 45_000; // the server sends `alive` where it has sent nothing else for 20 s
const REST_MS = 100; // between two frames that the timer is restarted for, as that costs more than to read a frame
const PING_TIMEOUT_MS = 5_000; // for any answer to our own `ping`
const RECONNECT_BASE_MS = 500;
const RECONNECT_MAX_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1; // a timer of more ends at once
const UNAUTHORIZED = 4401;
export const FRAME_TOO_BIG = 1009;
export const SESSION_NOT_FOUND = 4404;
const TOKEN_WORKED_MS = 30_000; // a connection that lasts so long was not refused because of its token
const SUBPROTOCOL = "askbot.v1";
const WAKE_EVENTS = ["online", "visibilitychange"]; // after these, a socket that looks open may be dead

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

/**
 * Opens the first socket. Throws where the address or the token is not valid.
 *
 * @param {object} options `token`, `random`, `page` and `timers` of `connect`, and what the owner does:
 *   `createSocket(protocols)` returns a new WebSocket, or throws, `receive(frame)` takes a frame,
 *   `onLost(code)` is called when there is no socket any more, with the close code where there is one, and may close this,
 *   `onFailed(error)` is called when none could be opened,
 *   `onState(state)` is called with the new state
 */
export function openConnection({ token, random, page, timers, createSocket, receive, onFailed, onLost, onState }) {
  let state;
  let socket;
  let isReady = false; // whether `ready` has come on this socket
  let isLeaving = false; // the server is about to stop
  let leaveTime; // milliseconds for which to stay with it
  let attempts = 0; // to connect, since a connection has last brought something new
  let pauseTime = 0; // milliseconds for which the server wants no connection; 0: none
  let isTokenRenewed = false; // since a connection has last worked
  let isResting = false; // whether the timer of the silence was restarted for a frame in the last 100 ms

  const setTimer = createTimer(); // the end of the silence, or the next attempt
  const setLeaveTimer = createTimer();
  const setPauseTimer = createTimer();
  const setTokenTimer = createTimer();

  /** Returns a function that starts a timer in place of the one before, or only ends that. */
  function createTimer() {
    let timer;
    return (milliseconds, action) => {
      timers.clearTimeout(timer);
      if (action) timer = timers.setTimeout(action, Math.min(milliseconds, TIMER_MAX_MS));
    };
  }

  function setState(next) {
    state = next;
    onState(next);
  }

  /** Returns whether frames may be sent: from `onReady()` on, until the server goes away or the socket is lost. */
  const isOpen = () => isReady && !isLeaving;

  /** Opens a socket. Throws where the address or the token is not valid. */
  function connect() {
    disconnect();
    if (typeof token === "function") openWithToken();
    else openSocket(token);
    setTimer(SILENCE_TIMEOUT_MS, reconnect);
    setState("connecting");
  }

  async function openWithToken() {
    const attempt = (socket = { close() {} }); // in the socket's place: after `disconnect` it is not there any more
    try {
      await null; // first all are told of the attempt
      const value = await token();
      if (attempt === socket) openSocket(value);
    } catch (error) {
      if (attempt === socket) fail(error);
    }
  }

  function openSocket(value) {
    const protocols = value ? [SUBPROTOCOL, `askbot.bearer.${value}`] : [SUBPROTOCOL];
    const opened = createSocket(protocols);
    socket = opened;
    opened.onmessage = ({ data }) => opened === socket && onMessage(data);
    opened.onclose = opened.onerror = ({ code }) => opened === socket && reconnect(code);
  }

  /** Hands a frame to the owner. One that cannot be read is like a gap: it may have been an event. */
  function onMessage(data) {
    try {
      receive(JSON.parse(data));
    } catch {
      reconnect();
    }
  }

  function fail(error) {
    onFailed(error);
    reconnect();
  }

  /** Opens a socket in place of the present one, now, or when the server wants one again. */
  function reopen() {
    if (pauseTime) return reconnect();
    try {
      connect();
    } catch (error) {
      fail(error);
    }
  }

  /** Gives up the socket, and opens another one after a delay. `code` is the close code, or the one that fits. */
  function reconnect(code) {
    const isTokenExpired = code === UNAUTHORIZED && isReady && !isTokenRenewed && typeof token === "function";
    disconnect(isTokenExpired ? undefined : code);
    if (socket || state === "closed") return; // one who heard of it may have opened another, or closed this
    isTokenRenewed ||= isTokenExpired;
    if (!pauseTime) scheduleAttempt();
    setState("waiting");
  }

  function scheduleAttempt() {
    setTimer(delay(attempts, random), reopen);
    attempts += 1;
  }

  /** Drops the socket without waiting for its close, which may take minutes for a dead one. */
  function disconnect(code) {
    const dropped = socket;
    socket = null;
    isReady = isLeaving = isResting = false;
    setTimer();
    setLeaveTimer();
    setTokenTimer();
    dropped?.close();
    onLost(code);
  }

  /** Checks the socket by a `ping`, or reconnects, when the network is back or the page is visible again. */
  function onWake() {
    if (page.document?.hidden) return;
    if (state === "waiting" && !pauseTime) reopen();
    if (!isOpen()) return;
    socket.send('{"type":"ping"}');
    setTimer(PING_TIMEOUT_MS, reconnect);
    isResting = false;
  }

  connect();
  for (const name of WAKE_EVENTS) page.addEventListener?.(name, onWake);

  return {
    isOpen,
    reopen,
    reconnect,
    disconnect,

    send(data) {
      socket.send(data);
    },

    /** Handles `ready`. */
    onReady() {
      isReady = true;
      setTokenTimer(TOKEN_WORKED_MS, () => (isTokenRenewed = false));
      if (isOpen()) setState("open");
    },

    /** Handles a frame: the socket is not silent. One without `ready` is given no more time. */
    onFrame() {
      if (!isReady || isResting) return;
      isResting = true;
      setTimer(REST_MS, () => {
        isResting = false;
        setTimer(SILENCE_TIMEOUT_MS - REST_MS, reconnect);
      });
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

    /** Opens no socket for `milliseconds`, as the server asks. Of several such times the longest counts, from now on. */
    pause(milliseconds) {
      if (!(milliseconds > 0)) return;
      pauseTime = Math.max(pauseTime, milliseconds);
      setPauseTimer(pauseTime, () => {
        pauseTime = 0;
        if (state === "waiting") scheduleAttempt();
      });
    },

    /** Disconnects for good. */
    close() {
      for (const name of WAKE_EVENTS) page.removeEventListener?.(name, onWake);
      disconnect();
      setPauseTimer();
      setState("closed");
    },
  };
}
