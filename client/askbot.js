/**
 * The client: a conversation over as many connections as it takes.
 *
 * A session is an append-only log, and a connection is a cursor over it. This module resumes after the last `seq` that
 * was read, and sends requests, again where a connection was lost before the server acknowledged them. view.js folds
 * the frames into the view that is shown, connection.js has the WebSocket, requests.js the requests that have not ended.
 * The types of what is public are in askbot.d.ts.
 */
import { Connection, delay } from "./connection.js";
import { PendingRequests, REQUESTS, requestError, toHex } from "./requests.js";
import { countCodePoints, empty, view } from "./view.js";

export { delay };

const HISTORY_LIMIT = 20; // turns
const KEEP = 262_144; // code points

// Close codes that are more than a lost connection: docs/protocol.md.
const FRAME_TOO_BIG = 1009;
const BAD_FRAME_CODES = [1003, 1008, FRAME_TOO_BIG];
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

/** Returns the server's address. Throws where it is not valid, without showing it: it may have a password. */
function parseAddress(url) {
  try {
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    return address;
  } catch {
    throw new TypeError("The url is not valid.");
  }
}

/** Returns whether an ended turn's answer is the one that the server's `check` describes. */
async function matchesCheck({ answer, check }) {
  if (countCodePoints(answer) !== check?.chars) return false;
  const { subtle } = crypto;
  if (!subtle) return true; // an insecure origin has no SHA-256
  return toHex(await subtle.digest("SHA-256", new TextEncoder().encode(answer))) === check.sha256;
}

/** Returns whether a frame about a session lacks a number that is needed to go on from it: it is like a gap. */
function isBroken({ type, session, seq = 0, from, check, turns }, ownSession) {
  const numbers = type === "ready" ? [seq, from] : [];
  if (session === ownSession) numbers.push(seq);
  if (type === "done") numbers.push(check?.chars);
  if (type === "history") numbers.push(...turns.map((turn) => turn.from));
  return !numbers.every(Number.isInteger);
}

const isQuestion = ({ frame }) => REQUESTS[frame.type].isQuestion;

/** Returns the code for a request whose frame is too long. */
const tooLongCode = ({ frame }) => (frame.text ? "question_too_long" : "invalid_frame");

/** The public methods are bound to their object, so that they can be passed on: `const { ask } = connect()`. */
class Chat extends EventTarget {
  state;
  session;

  #view;
  #run = {}; // the slices of text that have come since `#view` was made, as one slice: folded when somebody looks
  #heard = {}; // the types of events that somebody has ever listened to
  #address;
  #storage;
  #storageKey;
  #connection;
  #requests;
  #cancelled = new Set(); // ids of questions that were given up before the server acknowledged them
  #furthest = 0; // the highest `seq` that was read, in whatever history
  #endCode; // once this is closed: the code of what is called then

  constructor({
    url = "/v1/chat", name = "", session, token, storage, random, page = globalThis, keep = KEEP, ...environment
  } = {}) {
    super();
    this.#view = { ...empty, keep: keep ?? Infinity };
    const { WebSocket = page.WebSocket, timers = page } = environment;
    this.#address = parseAddress(url);
    this.#storage = storage;
    this.#storageKey = `askbot.session ${this.#address.origin}${this.#address.pathname} ${name}`;
    this.session = session ?? this.#callStorage("getItem");
    this.#requests = new PendingRequests(timers, (request) => this.#onTimeout(request));
    this.#connection = new Connection({ token, random, page, timers, WebSocket }, {
      address: () => this.#resumeAddress(),
      receive: (frame) => this.#receive(frame),
      lost: (code) => this.#onLost(code),
      failed: ({ message }) => this.#emit("error", requestError({ code: "unauthorized", message, retryable: true })),
      stateChanged: (state) => this.#onState(state),
    });
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

  ask = (text, options) => this.#request({ ...options, type: "ask", text });

  retry = (turn, options) => this.#request({ ...options, type: "retry", turn });

  edit = (turn, text, options) => this.#request({ ...options, type: "edit", turn, text });

  forget = (session = this.session) => this.#request({ type: "forget", session });

  history = (range) => {
    const [oldest] = this.view.turns;
    const before = oldest ? oldest.from + 1 : null;
    return this.#request({ before, limit: HISTORY_LIMIT, ...range, type: "history" });
  };

  cancel = (id) => {
    const turn = this.view.turns.find((each) => (id ? each.turn === id || each.id === id : each.status !== "ended"));
    const isOver = turn ? turn.status === "ended" : !id || this.#requests.has(id);
    if (!turn) this.#withdraw(id);
    if (isOver && !this.#endCode) return Promise.resolve();
    return this.#request({ type: "cancel", turn: turn?.turn ?? id });
  };

  pending = () => this.#requests.unacknowledged().map(({ frame }) => frame).filter(({ text }) => text);

  fresh = () => {
    if (this.#endCode) return;
    this.#connection.disconnect();
    this.#requests.onLost();
    this.#startNewSession("closed");
    if (!this.#endCode) this.#connection.reopen(); // one who hears of an error may close it
  };

  close = () => this.#end("closed");

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Sends a request as soon as there is a connection. Returns its result, which for a question is its answer too. */
  #request(fields) {
    const known = this.#requests.get(fields.id);
    if (known) return known.result;
    const request = this.#requests.add(fields);
    const { frame, result, fault } = request;
    const { id, type, session } = frame;
    const { isQuestion } = REQUESTS[type];
    const turn = isQuestion && this.#findTurn("id", id);
    this.#cancelled.delete(id);
    Object.assign(result, { id }, isQuestion && { [Symbol.asyncIterator]: () => this.#readAnswer(request) });
    if (this.#endCode) this.#reject(request, { code: this.#endCode });
    else if (fault) this.#fail(request, { code: "invalid_frame", message: fault });
    else if (type === "forget" && !session) this.#resolve(request); // the server has nothing of it yet
    else if (turn) this.#acknowledge(request, turn);
    else this.#send(request);
    this.#setView(this.view);
    return result;
  }

  /** Returns whether a request has not ended: a listener may do that, and make another of the same id. */
  #isPending(request) {
    return this.#requests.get(request.frame.id) === request;
  }

  /** Sends a request, where that is possible now. */
  #send(request) {
    if (!this.#isPending(request) || !this.#connection.acceptsRequests) return;
    if (request.bytes > this.view.limits?.frame_bytes) return this.#fail(request, { code: tooLongCode(request) });
    this.#connection.send(request.data);
    this.#requests.onSent(request);
  }

  /**
   * Yields an answer's text as it comes. A slow reader gets longer pieces; nothing is queued for it. Throws `damaged` at
   * the end where the answer is another one than what was yielded.
   */
  async *#readAnswer(request) {
    const { frame, result } = request;
    const { id } = frame;
    let given = ""; // what was yielded
    let isPending = true;
    let turn;
    while (isPending) {
      isPending = this.#isPending(request);
      turn = isPending ? this.#findTurn("id", id) : await result.catch(() => request.turn);
      const missing = turn?.answer.length - given.length;
      if (missing > 0) {
        const text = (missing <= turn.tail?.length ? turn.tail : turn.answer).slice(-missing);
        given += text;
        yield text;
      } else if (isPending) {
        await new Promise((resolve) => this.addEventListener("change", resolve, { once: true }));
      }
    }
    const { answer } = await result; // or its error, after the text that came before it
    if (!answer.startsWith(given)) throw requestError({ code: "damaged", id }); // though the turn may be repaired
  }

  #resolve(request, value) {
    this.#requests.remove(request);
    request.resolve(value);
    this.#setView(this.view);
  }

  /** Returns the error. Only a question that is not in the log has its text in it, for an interface to give back. */
  #reject(request, reason) {
    this.#keepTurns();
    const { frame, turn } = request;
    const error = requestError({ id: frame.id, ...reason }, turn ? undefined : frame.text);
    this.#requests.remove(request);
    request.reject(error);
    this.#setView(this.view);
    return error;
  }

  /** Rejects a request, and dispatches the error. */
  #fail(request, reason) {
    this.#emit("error", this.#reject(request, reason));
  }

  /** Handles that a question is in the log. */
  #acknowledge(request, turn) {
    this.#requests.onAcknowledged(request, turn);
    if (turn.status === "ended") this.#settle(turn);
  }

  /** Gives up questions that are not in the log: one, or all. What was sent is cancelled if it gets there after all. */
  #withdraw(id) {
    for (const request of this.#requests.all()) {
      const isMeant = id ? request.frame.id === id : !request.turn;
      if (!isMeant || !isQuestion(request)) continue;
      this.#cancelled.add(request.frame.id);
      this.#reject(request, { code: "cancelled" });
    }
  }

  #onTimeout(request) {
    if (isQuestion(request)) this.#cancelled.add(request.frame.id);
    this.#fail(request, { code: "timeout" });
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

  /** Calls a method of the storage. Errors are ignored: it may be missing, full or forbidden. */
  #callStorage(method, value) {
    try {
      return (this.#storage ?? localStorage)[method](this.#storageKey, value);
    } catch {}
  }

  /**
   * Makes the next connection begin a new session. Where the old one is gone (`session_not_found`), what was never asked
   * in it is asked there; where it is left (`closed`), that is given back.
   */
  #startNewSession(code) {
    const isGone = code !== "closed";
    const { session } = this;
    const requests = this.#requests.all(); // not those that listeners make
    if (this.#callStorage("getItem") === session) this.#callStorage("removeItem"); // or it is another tab's
    this.session = null;
    this.#cancelled.clear();
    this.#keepTurns();
    this.#setView({ ...empty, keep: this.view.keep });
    for (const request of requests) {
      const { frame, turn } = request;
      if (!this.#isPending(request)) continue;
      if (frame.type === "forget") {
        if (isGone && frame.session === session) this.#resolve(request);
      } else if (!isGone || frame.type !== "ask" || turn) {
        if (turn || !frame.text) this.#reject(request, { code });
        else this.#fail(request, { code });
      }
    }
  }

  /** Ends the conversation. `code` is `closed`, or why the server refuses us. */
  #end(code) {
    if (this.#endCode) return;
    this.#endCode = code;
    this.#connection.disconnect();
    for (const request of this.#requests.all()) this.#reject(request, { code });
    this.#connection.close();
    if (code !== "closed") this.#emit("error", requestError({ code }));
  }

  // --- what the connection calls -------------------------------------------------------------------------------------

  /** Returns the server's address, with the position to resume after. */
  #resumeAddress() {
    const address = new URL(this.#address);
    const { session, seq, log } = this.view;
    if (this.session) address.searchParams.set("session", this.session);
    if (session) address.searchParams.set("after", seq);
    if (log) address.searchParams.set("log", log);
    return address.href;
  }

  /** Sends what has no acknowledgement once it is open, before any other. */
  #onState(state) {
    this.state = state;
    if (state === "open") {
      for (const request of this.#requests.unacknowledged()) this.#send(request);
    }
    this.#emit("state", this.state);
  }

  #onLost(code) {
    if (REFUSALS.has(code)) return this.#end(REFUSALS.get(code));
    const sent = this.#requests.unacknowledged().filter(({ isSent }) => isSent);
    this.#requests.onLost();
    if (code === SESSION_NOT_FOUND) this.#startNewSession("session_not_found");
    if (BAD_FRAME_CODES.includes(code)) this.#failOne(sent, code);
    for (const request of sent) if (REQUESTS[request.frame.type].isSentOnce) this.#fail(request, { code: "closed" });
  }

  /** One of the frames that were sent was bad: the longest, where it was too long, else the oldest without an answer. */
  #failOne(requests, closeCode) {
    const isTooLong = closeCode === FRAME_TOO_BIG;
    if (isTooLong) requests.sort((one, other) => other.bytes - one.bytes);
    const [bad] = requests;
    if (bad) this.#fail(bad, { code: isTooLong ? tooLongCode(bad) : "invalid_frame" });
  }

  /** Takes a frame. A slice of text that follows another one is added to that, which is all that most frames cost. */
  #receive(frame) {
    const run = this.#run;
    const { type, turn, seq, text } = frame;
    const before = run.seq;
    const follows = text && type === run.type && turn === run.turn && seq === before + countCodePoints(text);
    if (follows && this.#connection.isReady) {
      run.text += text;
      run.seq = seq;
      this.#onRead(before, seq);
    } else if (isBroken(frame, this.session)) {
      return this.#connection.reconnect();
    } else if (!this.#isExpected(frame) || !this.#apply(frame)) {
      return;
    }
    this.#connection.restartSilenceTimer();
    this.#emit("frame", frame);
    this.#emit("change");
  }

  /** Returns whether a frame may come now: a connection begins with `ready`, and an event before that comes again. */
  #isExpected({ type, seq }) {
    return typeof type === "string" && (type === "ready" || seq === undefined || this.#connection.isReady);
  }

  /** Applies a frame to the view, and handles it. Returns false where frames are missing before it. */
  #apply(frame) {
    const before = this.view;
    const state = view(before, frame);
    if (state.gap) return this.#connection.reconnect();
    const isReady = frame.type === "ready";
    if (isReady) this.#keepTurns();
    this.#view = state;
    this.#run = { ...frame, text: "" };
    const isReadBefore = !isReady && frame.seq !== undefined && state.seq === before.seq;
    if (!isReadBefore) this.#handle(frame);
    if (isReady) this.#endInterrupted();
    else this.#onRead(before.seq, state.seq);
    return true;
  }

  /** The log was read from one position to another. */
  #onRead(before, seq) {
    const { head } = this.#view;
    if (seq <= before) return;
    if (seq > this.#furthest) {
      this.#furthest = seq;
      this.#connection.resetAttempts();
    }
    if (before < head && seq >= head) this.#endInterrupted();
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
        return this.#onHistory(frame);
      case "going_away":
        return this.#connection.leaveAfter(frame.reconnect_after);
      case "error":
        return this.#onError(frame);
    }
  }

  #onReady({ session }) {
    this.session = session;
    this.#callStorage("setItem", session);
    this.#connection.onReady();
  }

  #onQuestion({ id, turn, seq }) {
    const request = this.#requests.get(id);
    if (request && !request.turn) this.#furthest = seq - 1; // new, in whatever history: it is acknowledged only once
    const asked = this.#findTurn("id", id); // not where a page of another history hides it; then its time limit ends it
    if (request && asked) this.#acknowledge(request, asked);
    if (this.#cancelled.delete(id)) this.cancel(turn);
  }

  #onDone({ turn: id }) {
    for (const request of this.#requests.all()) {
      const { type, turn } = request.frame;
      if (type === "cancel" && turn === id) this.#resolve(request);
    }
    const turn = this.#findTurn("turn", id);
    if (turn) this.#settle(turn);
  }

  /** Ends a question whose turn has ended, once its answer is complete: one that is not is fetched again. */
  async #settle(turn) {
    let whole = turn;
    let isComplete = await matchesCheck(turn);
    if (!isComplete) {
      const afterQuestion = turn.from + 2; // `from` is the position before the question, and `before` is exclusive
      await this.history({ before: afterQuestion, limit: 1 }).catch(() => {});
      whole = this.#findTurn("turn", turn.turn);
      isComplete = whole && (await matchesCheck(whole));
    }
    const request = this.#requests.get(turn.id);
    if (!request) return;
    if (isComplete) this.#resolve(request, whole);
    else this.#fail(request, { code: "damaged" });
  }

  #onHistory(frame) {
    const request = this.#requests.get(frame.id);
    if (request?.frame.type === "history") this.#resolve(request, frame);
  }

  #onError(frame) {
    const { id, code, session } = frame;
    const request = this.#requests.get(id);
    const { type, session: forgotten } = request?.frame ?? {};
    const isDone = request && code === REQUESTS[type].doneCode;
    if (isDone) this.#resolve(request);
    this.#connection.pause(frame.retry_after);
    if (code === "session_not_found" && (forgotten ?? session) === this.session) return this.#connection.reconnect(SESSION_NOT_FOUND);
    if (isDone) return;
    if (request) this.#fail(request, frame);
    else this.#emit("error", requestError(frame));
  }

  // --- another history -----------------------------------------------------------------------------------------------

  /** Keeps the turns of questions, as the next view may be of another history, which does not have them. */
  #keepTurns() {
    for (const request of this.#requests.all()) {
      if (request.turn) request.turn = this.#findTurn("id", request.frame.id) ?? request.turn;
    }
  }

  /** Ends the questions whose turns the log does not have any more, once it was read to its end: nobody pays twice. */
  #endInterrupted() {
    const { seq, head } = this.view;
    if (seq < head) return;
    for (const request of this.#requests.all()) {
      const { turn, frame } = request;
      if (!turn || turn.status === "ended" || this.#findTurn("id", frame.id)) continue;
      this.#resolve(request, { ...turn, status: "ended", reason: "interrupted" });
    }
  }
}
