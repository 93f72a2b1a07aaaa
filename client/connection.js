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
  /** Whether frames may be sent: from `onReady()` on, until the server goes away or the socket is lost. */
  acceptsRequests = false;

  #state;
  #socket = null;
  #timer; // the only one: of the silence, or of the next attempt to connect
  #isResting; // whether the timer was restarted for a frame in the last 100 ms
  #attempts = 0; // to connect, since a connection has last worked
  #options;
  #owner;

  /**
   * @param {object} options `token`, `random`, `page`, `timers` and `WebSocket` of `connect`
   * @param {object} owner what it is called back for:
   *   `address()` returns the URL to connect to, `receive(frame)` takes a frame,
   *   `lost(code)` is called when a connection is lost, with the close code where there is one, and may close this,
   *   `stateChanged(state)` is called with the new state
   */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
    for (const name of WAKE_EVENTS) options.page.addEventListener?.(name, this.#onWake);
  }

  /** Opens a socket in place of the present one. Throws where the address is not valid. */
  open = () => {
    this.disconnect();
    const { token, WebSocket } = this.#options;
    const protocols = token ? [SUBPROTOCOL, `askbot.bearer.${token}`] : [SUBPROTOCOL];
    const socket = new WebSocket(this.#owner.address(), protocols);
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#owner.receive(JSON.parse(data));
    socket.onclose = socket.onerror = ({ code }) => socket === this.#socket && this.reconnect(code);
    this.#startTimer(SILENCE_TIMEOUT_MS, this.#onSilence);
    this.#setState("connecting");
  };

  send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  /** Handles `ready`: sends the frames that the server lacks, before any other. */
  onReady(frames) {
    this.acceptsRequests = true;
    for (const frame of frames) this.send(frame);
    this.#setState("open");
  }

  /** Sends nothing more, still reads, and reconnects after `milliseconds` at the earliest: the server is about to stop. */
  reconnectAfter(milliseconds) {
    this.acceptsRequests = false;
    this.#scheduleReconnect(milliseconds);
  }

  /** Counts attempts to connect from zero again, as the connection has worked. */
  resetAttempts() {
    this.#attempts = 0;
  }

  /** Restarts the timer that detects silence, as a frame has arrived. */
  restartSilenceTimer() {
    if (!this.acceptsRequests || this.#isResting) return;
    this.#startTimer(REST_MS, () => this.#startTimer(SILENCE_TIMEOUT_MS - REST_MS, this.#onSilence));
    this.#isResting = true;
  }

  /** Gives up the socket, and opens another one after a delay. `code` is the close code, or the one that fits. */
  reconnect(code) {
    const isScheduled = this.#state === "open" && !this.acceptsRequests; // by `reconnectAfter`
    this.disconnect();
    this.#owner.lost(code);
    if (this.#state === "closed") return;
    if (!isScheduled) this.#scheduleReconnect(0);
    this.#setState("waiting");
  }

  /** Drops the socket without waiting for its close, which may take minutes for a dead one. */
  disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    this.acceptsRequests = false;
    socket?.close();
  }

  /** Disconnects for good. */
  close() {
    const { page, timers } = this.#options;
    for (const name of WAKE_EVENTS) page.removeEventListener?.(name, this.#onWake);
    this.disconnect();
    timers.clearTimeout(this.#timer);
    this.#setState("closed");
  }

  #setState(state) {
    this.#state = state;
    this.#owner.stateChanged(state);
  }

  #startTimer(milliseconds, action) {
    const { timers } = this.#options;
    timers.clearTimeout(this.#timer);
    this.#timer = timers.setTimeout(action, milliseconds);
    this.#isResting = false;
  }

  #scheduleReconnect(leastMilliseconds) {
    this.#startTimer(leastMilliseconds + delay(this.#attempts, this.#options.random), this.open);
    this.#attempts += 1;
  }

  #onSilence = () => this.reconnect();

  /** Checks the socket by a `ping`, or reconnects, when the network is back or the page is visible again. */
  #onWake = () => {
    if (this.#options.page.document?.hidden) return;
    if (this.#state === "waiting") this.open();
    if (!this.acceptsRequests) return;
    this.send({ type: "ping" });
    this.#startTimer(PING_TIMEOUT_MS, this.#onSilence);
  };
}
