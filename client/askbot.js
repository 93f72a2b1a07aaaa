/**
 * The client: a conversation over as many connections as it takes.
 *
 * A session is an append-only log, and a connection is a cursor over it. This module resumes after the last `seq` that
 * was read, and sends requests, again where a connection was lost before the server acknowledged them. view.js folds
 * the frames into the view that is shown, connection.js has the WebSocket, requests.js the requests without an answer.
 * The types of what is public are in askbot.d.ts.
 */
import { Connection, delay } from "./connection.js";
import { PendingRequests, requestError, toHex } from "./requests.js";
import { countCodePoints, empty, view } from "./view.js";

export { delay };

const HISTORY_LIMIT = 20; // turns
const STORAGE_KEY = "askbot.session";
const KEEP = 262_144; // code points

// Close codes that are more than a lost connection: docs/protocol.md.
const FRAME_TOO_BIG = 1009;
const SESSION_NOT_FOUND = 4404;
const REFUSALS = new Map([[4401, "unauthorized"], [4403, "forbidden"]]);

/**
 * Connects, and reconnects whenever the connection is lost, until the conversation is closed.
 *
 * @param {import("./askbot.js").ConnectOptions} [options]
 * @returns {import("./askbot.js").Chat}
 */
export function connect(options) {
  return new Chat(options);
}

/** Returns whether an ended turn's answer is the one that the server's `check` describes. */
async function matchesCheck({ answer, check }) {
  if (countCodePoints(answer) !== check.chars) return false;
  const { subtle } = crypto;
  if (!subtle) return true; // an insecure origin has no SHA-256
  return toHex(await subtle.digest("SHA-256", new TextEncoder().encode(answer))) === check.sha256;
}

/** The public methods are bound to their object, so that they can be passed on: `const { ask } = connect()`. */
class Chat extends EventTarget {
  state;
  session;

  #view;
  #run = {}; // the slices of text that have come since `#view` was made, as one slice: folded when somebody looks
  #heard = {}; // the types of events that somebody has ever listened to
  #url;
  #storage;
  #connection;
  #requests = new PendingRequests();
  #cancelled = new Set(); // ids of questions that were cancelled before the server acknowledged them

  constructor({ url = "/v1/chat", session, token, storage, random, page = globalThis, keep = KEEP, ...environment } = {}) {
    super();
    this.#view = { ...empty, keep: keep ?? Infinity };
    const { WebSocket = page.WebSocket, timers = page } = environment;
    this.#url = url;
    this.#storage = storage;
    this.session = session ?? this.#callStorage("getItem");
    this.#connection = new Connection({ token, random, page, timers, WebSocket }, {
      address: () => this.#address(),
      receive: (frame) => this.#receive(frame),
      lost: (code) => this.#onLost(code),
      stateChanged: (state) => this.#setState(state),
    });
    this.#connection.open();
  }

  // --- what a program calls: askbot.d.ts -----------------------------------------------------------------------------

  get view() {
    const run = this.#run;
    if (run.text) this.#view = view(this.#view, run);
    run.text = "";
    return this.#view;
  }

  addEventListener(type, ...rest) {
    this.#heard[type] = true;
    super.addEventListener(type, ...rest);
  }

  ask = (text, options) => this.#request({ type: "ask", text, ...options });

  retry = (turn, options) => this.#request({ type: "retry", turn, ...options });

  edit = (turn, text, options) => this.#request({ type: "edit", turn, text, ...options });

  forget = () => this.#request({ type: "forget", session: this.session });

  history = (range) => {
    const [oldest] = this.view.turns;
    const before = oldest ? oldest.from + 1 : null;
    return this.#request({ type: "history", before, limit: HISTORY_LIMIT, ...range });
  };

  cancel = (turn = this.view.turns.find(({ status }) => status !== "ended")?.turn) => {
    if (!this.#requests.has(turn)) return this.#request({ type: "cancel", turn });
    this.#cancelPending(turn);
  };

  pending = () => this.#unacknowledged().filter(({ text }) => text);

  fresh = () => {
    this.#rejectPending("closed");
    this.#startNewSession();
    this.#connection.open();
  };

  close = () => this.#end("closed");

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Sends a request as soon as there is a connection. Returns its result, which can also be iterated for the answer. */
  #request(request) {
    const { frame, result } = this.#requests.add(request);
    if (this.#connection.acceptsRequests) this.#connection.send(frame);
    this.#setView(this.view);
    return Object.assign(result, { id: frame.id, [Symbol.asyncIterator]: () => this.#readAnswer(frame.id, result) });
  }

  /**
   * Yields an answer's text as it comes. A slow reader gets longer pieces; nothing is queued for it. Throws `damaged` at
   * the end where the answer is another one than what was yielded.
   */
  async *#readAnswer(id, result) {
    let given = ""; // what was yielded
    let isPending = true;
    let turn;
    while (isPending) {
      isPending = this.#requests.has(id);
      turn = isPending ? this.#findTurn("id", id) : await result;
      const missing = turn?.answer.length - given.length;
      if (missing > 0) {
        const text = (missing <= turn.tail?.length ? turn.tail : turn.answer).slice(-missing);
        given += text;
        yield text;
      } else if (isPending) {
        await new Promise((resolve) => this.addEventListener("change", resolve, { once: true }));
      }
    }
    if (!turn.answer.startsWith(given)) throw requestError({ code: "damaged" });
  }

  #resolveRequest(id, value) {
    this.#requests.resolve(id, value);
    this.#setView(this.view);
  }

  #rejectRequest(id, error) {
    this.#requests.reject(id, error);
    this.#setView(this.view);
  }

  /** Rejects the requests that a predicate chooses by their frames; without one, all. */
  #rejectPending(code, isChosen = () => true) {
    for (const { id } of this.#requests.frames().filter(isChosen)) this.#rejectRequest(id, requestError({ code }));
  }

  /** Cancels a question that is not in the log yet. Where it was sent already, its turn is cancelled when it begins. */
  #cancelPending(id) {
    this.#cancelled.add(id);
    this.#rejectRequest(id, requestError({ code: "cancelled" }));
  }

  /** Returns the frames of the requests that are not in the log, as far as the view knows. */
  #unacknowledged() {
    return this.#requests.frames().filter(({ id }) => !this.#findTurn("id", id));
  }

  #findTurn(key, value) {
    return this.view.turns.find((turn) => turn[key] === value);
  }

  // --- the session and its view --------------------------------------------------------------------------------------

  #emit(type, detail) {
    if (this.#heard[type]) this.dispatchEvent(new CustomEvent(type, { detail: detail ?? this.view }));
  }

  #setView(state) {
    this.#view = state;
    this.#emit("change");
  }

  #setState(state) {
    this.state = state;
    this.#emit("state", state);
  }

  /** Calls a method of the storage. Errors are ignored: it may be missing, full or forbidden. */
  #callStorage(method, value) {
    try {
      return (this.#storage ?? localStorage)[method](STORAGE_KEY, value);
    } catch {}
  }

  /** Makes the next connection begin a new session, in which questions that were not acknowledged are asked. */
  #startNewSession() {
    this.#rejectPending("session_not_found", ({ type, id }) => type !== "ask" || this.#findTurn("id", id));
    if (this.#callStorage("getItem") === this.session) this.#callStorage("removeItem"); // or it is another tab's
    this.session = null;
    this.#setView({ ...empty, keep: this.view.keep });
  }

  /** Ends the conversation. `code` is `closed`, or why the server refuses us. */
  #end(code) {
    this.#connection.disconnect();
    this.#rejectPending(code);
    this.#connection.close();
    if (code !== "closed") this.#emit("error", requestError({ code }));
  }

  // --- what the connection calls -------------------------------------------------------------------------------------

  /** Returns the server's address, with the position to resume after. */
  #address() {
    const address = new URL(this.#url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    const { session, seq, log } = this.view;
    if (this.session) address.searchParams.set("session", this.session);
    if (session) address.searchParams.set("after", seq);
    if (log) address.searchParams.set("log", log);
    return address.href;
  }

  #onLost(code) {
    if (REFUSALS.has(code)) this.#end(REFUSALS.get(code));
    if (code === SESSION_NOT_FOUND) this.#startNewSession();
    if (code === FRAME_TOO_BIG) {
      this.#rejectPending("invalid_frame", ({ id }) => !this.#findTurn("id", id)); // or they would be sent for ever
    }
  }

  /** Takes a frame. A slice of text that follows another one is added to that, which is all that most frames cost. */
  #receive(frame) {
    const run = this.#run;
    const { type, turn, seq, text } = frame;
    if (text && type === run.type && turn === run.turn && seq === run.seq + countCodePoints(text)) {
      run.text += text;
      run.seq = seq;
    } else {
      const state = view(this.view, frame);
      if (state.gap) return this.#connection.reconnect();
      if (frame.type !== "ready") this.#connection.resetAttempts(); // a server may send `ready` and die, each time
      this.#view = state;
      this.#run = { ...frame, text: "" };
      this.#handle(frame);
    }
    this.#connection.restartSilenceTimer();
    this.#emit("frame", frame);
    this.#emit("change");
  }

  // --- frames --------------------------------------------------------------------------------------------------------

  /** Handles a frame, beyond its effect on the view. */
  #handle(frame) {
    switch (frame.type) {
      case "ready":
        return this.#onReady(frame);
      case "question":
        return this.#onQuestion(frame);
      case "done":
        return this.#onDone(frame);
      case "history":
        return this.#resolveRequest(frame.id, frame);
      case "going_away":
        return this.#connection.reconnectAfter(frame.reconnect_after);
      case "error":
        return this.#onError(frame);
    }
  }

  #onReady({ session }) {
    this.session = session;
    this.#callStorage("setItem", session);
    this.#connection.onReady(this.#unacknowledged());
  }

  #onQuestion({ id, turn }) {
    if (this.#cancelled.delete(id)) this.cancel(turn);
  }

  /** Resolves what waits for the turn's end, once its answer is complete: one that is not is fetched again. */
  async #onDone({ turn: id }) {
    const turn = this.#findTurn("turn", id);
    for (const frame of this.#requests.frames()) {
      if (frame.type === "cancel" && frame.turn === id) this.#resolveRequest(frame.id);
    }
    if (turn && !(await matchesCheck(turn))) {
      const afterQuestion = turn.from + 2; // `from` is the position before the question, and `before` is exclusive
      await this.history({ before: afterQuestion, limit: 1 }).catch(() => {});
    }
    this.#resolveRequest(turn?.id, this.#findTurn("turn", id) ?? turn);
  }

  #onError(frame) {
    const type = this.#requests.typeOf(frame.id);
    if (type === "cancel" || type === "forget") this.#resolveRequest(frame.id); // what was to end does not exist any more
    if (frame.code === "session_not_found" && frame.session === this.session) return this.#connection.reconnect(SESSION_NOT_FOUND);
    if (type === "cancel") return;
    const error = requestError(frame);
    this.#rejectRequest(frame.id, error);
    this.#emit("error", error);
  }
}
