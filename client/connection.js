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

export class Connection {
  /** Whether `ready` has come on this socket. */
  isReady = false;

  #state;
  #socket = null;
  #isLeaving = false; // the server is about to stop
  #attempts = 0; // to connect, since a connection has last brought something new
  #pause = 0; // milliseconds for which the server wants no connection; 0: none
  #isTokenRenewed = false; // since a connection has last worked
  #isResting = false; // whether the timer of the silence was restarted for a frame in the last 100 ms
  #timers = {}; // by name: `next` (the end of the silence, or the next attempt), `leave`, `pause`, `token`
  #options;
  #owner;

  /**
   * Opens the first socket. Throws where the address or the token is not valid.
   *
   * @param {object} options `token`, `random`, `page`, `timers` and `WebSocket` of `connect`
   * @param {object} owner what it is called back for:
   *   `address()` returns the URL to connect to, `receive(frame)` takes a frame,
   *   `lost(code)` is called when a connection is lost, with the close code where there is one, and may close this,
   *   `failed(error)` is called when none could be opened,
   *   `stateChanged(state)` is called with the new state
   */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
    this.#connect();
    for (const name of WAKE_EVENTS) options.page.addEventListener?.(name, this.#onWake);
  }

  /** Whether frames may be sent: from `onReady()` on, until the server goes away or the socket is lost. */
  get acceptsRequests() {
    return this.isReady && !this.#isLeaving;
  }

  /** Opens a socket in place of the present one, now, or when the server wants one again. */
  reopen = () => {
    if (this.#pause) return this.reconnect();
    try {
      this.#connect();
    } catch (error) {
      this.#onFailed(error);
    }
  };

  send(data) {
    this.#socket?.send(data);
  }

  /** Handles `ready`. */
  onReady() {
    this.isReady = true;
    this.#startTimer("token", TOKEN_WORKED_MS, () => (this.#isTokenRenewed = false));
    if (this.acceptsRequests) this.#setState("open");
  }

  /** Sends nothing more, and reads on until the socket is lost, for `milliseconds` at most: the server is about to stop. */
  leaveAfter(milliseconds) {
    this.#isLeaving = true;
    this.#startTimer("leave", milliseconds, this.#onSilence);
  }

  /** Opens no socket for `milliseconds`, as the server asks. Of several such times the longest counts, from now on. */
  pause(milliseconds) {
    if (!(milliseconds > 0)) return;
    this.#pause = Math.max(this.#pause, milliseconds);
    this.#startTimer("pause", this.#pause, () => {
      this.#pause = 0;
      if (this.#state === "waiting") this.#scheduleAttempt();
    });
  }

  /** Counts attempts to connect from zero again, as the connection has brought something new. */
  resetAttempts() {
    if (this.#pause) this.#clearTimer("pause");
    this.#attempts = this.#pause = 0;
    this.#isTokenRenewed = false;
  }

  /** Restarts the timer that detects silence, as a frame has arrived. A socket without `ready` is given no more time. */
  restartSilenceTimer() {
    if (!this.isReady || this.#isResting) return;
    this.#startTimer("next", REST_MS, () => this.#startTimer("next", SILENCE_TIMEOUT_MS - REST_MS, this.#onSilence));
    this.#isResting = true;
  }

  /** Gives up the socket, and opens another one after a delay. `code` is the close code, or the one that fits. */
  reconnect(code) {
    const isTokenExpired = code === UNAUTHORIZED && this.#canRenewToken();
    this.disconnect();
    this.#owner.lost(isTokenExpired ? undefined : code);
    if (this.#state === "closed") return;
    this.#isTokenRenewed ||= isTokenExpired;
    if (!this.#pause) this.#scheduleAttempt();
    this.#setState("waiting");
  }

  /** Drops the socket without waiting for its close, which may take minutes for a dead one. */
  disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    this.isReady = this.#isLeaving = false;
    for (const name of ["next", "leave", "token"]) this.#clearTimer(name);
    socket?.close();
  }

  /** Disconnects for good. */
  close() {
    const { page } = this.#options;
    for (const name of WAKE_EVENTS) page.removeEventListener?.(name, this.#onWake);
    this.disconnect();
    this.#clearTimer("pause");
    this.#setState("closed");
  }

  #setState(state) {
    this.#state = state;
    this.#owner.stateChanged(state);
  }

  /** Opens a socket. Throws where the address or the token is not valid. */
  #connect() {
    this.disconnect();
    const { token } = this.#options;
    if (typeof token === "function") this.#openWithToken(token);
    else this.#openSocket(token);
    this.#startTimer("next", SILENCE_TIMEOUT_MS, this.#onSilence);
    this.#setState("connecting");
  }

  async #openWithToken(getToken) {
    const attempt = { close() {} }; // in the socket's place: after a `disconnect` it is not there any more
    this.#socket = attempt;
    try {
      await null; // first all are told of the attempt
      const token = await getToken();
      if (attempt === this.#socket) this.#openSocket(token);
    } catch (error) {
      if (attempt === this.#socket) this.#onFailed(error);
    }
  }

  #openSocket(token) {
    const { WebSocket } = this.#options;
    const protocols = token ? [SUBPROTOCOL, `askbot.bearer.${token}`] : [SUBPROTOCOL];
    let socket;
    try {
      socket = new WebSocket(this.#owner.address(), protocols);
    } catch {
      throw new TypeError("The url or the token is not valid."); // that error shows both, with passwords in them
    }
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = socket.onerror = ({ code }) => socket === this.#socket && this.reconnect(code);
  }

  /** Hands a frame to the owner. One that cannot be read is like a gap: it may have been an event. */
  #receive(data) {
    try {
      this.#owner.receive(JSON.parse(data));
    } catch {
      this.reconnect();
    }
  }

  #onFailed(error) {
    this.#owner.failed(error);
    this.reconnect();
  }

  #canRenewToken() {
    return this.isReady && !this.#isTokenRenewed && typeof this.#options.token === "function";
  }

  #startTimer(name, milliseconds, action) {
    this.#clearTimer(name);
    this.#timers[name] = this.#options.timers.setTimeout(action, Math.min(milliseconds, TIMER_MAX_MS));
    this.#isResting = false;
  }

  #clearTimer(name) {
    this.#options.timers.clearTimeout(this.#timers[name]);
  }

  #scheduleAttempt() {
    this.#startTimer("next", delay(this.#attempts, this.#options.random), this.reopen);
    this.#attempts += 1;
  }

  #onSilence = () => this.reconnect();

  /** Checks the socket by a `ping`, or reconnects, when the network is back or the page is visible again. */
  #onWake = () => {
    if (this.#options.page.document?.hidden) return;
    if (this.#state === "waiting" && !this.#pause) this.reopen();
    if (!this.acceptsRequests) return;
    this.send('{"type":"ping"}');
    this.#startTimer("next", PING_TIMEOUT_MS, this.#onSilence);
  };
}
