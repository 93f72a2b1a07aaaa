/**
 * The client: a conversation over as many connections as it takes.
 *
 * A session is an append-only log, and a connection is a cursor over it. This module resumes after the last `seq` that
 * was read, and sends requests, again where a connection was lost before the server acknowledged them. view.js folds
 * the frames into the view that is shown, connection.js has the WebSocket, requests.js makes requests, answer.js reads
 * the text that they bring. The types of what is public are in askbot.d.ts.
 *
 * Modules of the client keep their state in closures: a minifier shortens a variable's name, but no member's.
 */
import { matchesCheck, readAnswer } from "./answer.js";
import { createTimer, delay, ERROR_BY_CLOSE_CODE, FRAME_TOO_BIG, isFunction, openConnection, SESSION_NOT_FOUND } from "./connection.js";
import { createOutcome, createRequest, END_BY_REQUEST_TYPE, requestError, TIME_LIMIT_MS } from "./requests.js";
import { hideSecrets, parseAddress, resumeAddress } from "./server-address.js";
import { countCodePoints, empty, view } from "./view.js";

const HISTORY_LIMIT = 20; // turns
const KEEP = 262_144; // code points
const BAD_FRAME_CODES = [1003, 1008, FRAME_TOO_BIG];
const REFUSED = [4401, 4403]; // close codes
const OPEN_TIMEOUT_MS = 30_000;

/** Returns whether a frame about a session lacks a number that is needed to go on from it: it is like a gap. */
function isBroken({ type, session, seq = 0, from, check, turns }, ownSession) {
  const numbers = type === "history" ? turns.map((turn) => turn.from) : [];
  if (session === ownSession) numbers.push(seq);
  if (type === "ready") numbers.push(seq, from);
  if (type === "done") numbers.push(check?.chars);
  return !numbers.every(Number.isInteger);
}

const isQuestion = ({ frame }) => !(frame.type in END_BY_REQUEST_TYPE);

/**
 * Connects, and reconnects whenever the connection is lost, until the conversation is closed.
 *
 * @param {import("./askbot.js").ConnectOptions} [options]
 * @returns {import("./askbot.js").Chat}
 */
export function connect({
  url = "/v1/chat", name = "", session, token, ticket, storage, random, page = globalThis, keep = KEEP,
  openTimeout = OPEN_TIMEOUT_MS, WebSocket = page.WebSocket, timers = page,
} = {}) {
  if (!WebSocket) throw new Error("No WebSocket: use Node 22, or connect({ WebSocket }) with npm's ws.");
  const address = parseAddress(url);
  const storageKey = `askbot.session ${address.origin}${address.pathname} ${name}`;

  const chat = new EventTarget();
  const listen = chat.addEventListener;
  const heard = {}; // the types of events that somebody has ever listened to
  const requests = new Map(); // those that have not ended, by id, in the order in which they were made
  const cancelled = new Set(); // ids of questions that were given up before the server acknowledged them
  const opening = createOutcome();
  const setOpenTimer = createTimer(timers);
  let current = { ...empty, keep: keep ?? Infinity }; // the view, but for `run`
  let run = {}; // the slices of text that have come since `current` was made, as one slice: folded when somebody looks
  let isReady = false; // whether this connection's `ready` was read
  let isReplaying = false; // whether what the log had at `ready` was not read to its end
  let hasForked = false; // whether a `fork` was sent on this connection: frames on it have to say which session is meant
  let furthest = 0; // the highest `seq` that was read, in whatever history
  let endCode; // once this is closed: the code of what is called then
  let renewal; // a promise of what renews a credential that expires: credentials.js

  // --- what a program calls: askbot.d.ts -----------------------------------------------------------------------------

  function currentView() {
    if (run.text) current = view(current, run);
    run.text = "";
    return current;
  }

  function history(range) {
    const before = currentView().turns[0]?.from + 1 || null; // null: of all turns
    return request({ before, limit: HISTORY_LIMIT, ...range, type: "history" });
  }

  function cancel(id) {
    const turn = currentView().turns.find((each) => (id ? each.turn === id || each.id === id : each.status !== "ended"));
    const isOver = turn ? turn.status === "ended" : !id || requests.has(id);
    if (!turn) {
      for (const each of all()) if (isQuestion(each) && (id ? each.frame.id === id : !turnOf(each))) giveUp(each, "cancelled");
    }
    if (isOver && !endCode) return Promise.resolve();
    return request({ type: "cancel", turn: turn?.turn ?? id });
  }

  function fresh() {
    if (endCode) return;
    connection.disconnect();
    startNewSession("closed");
    if (!endCode) connection.reopen(); // one who hears of an error may close it
  }

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Returns the requests that have not ended, as they are now: whoever hears that one has ended may make another. */
  const all = () => [...requests.values()];

  /** Returns the frames of those that have no answer yet; that of a question is its acknowledgement. */
  const unanswered = () => all().filter((each) => !turnOf(each)).map(({ frame }) => frame);

  const findTurn = (key, value) => currentView().turns.find((turn) => turn[key] === value);

  /** Returns a question's turn as it was last seen: the view may be of another history, which does not have it. */
  const turnOf = (request) => (request.turn = findTurn("id", request.frame.id) ?? request.turn);

  /** Returns the text of a question that is not in the log, for an interface to give back; a title is no question. */
  const textOf = (request) => (turnOf(request) || !isQuestion(request) ? undefined : request.frame.text);

  /** Sends a request as soon as there is a connection. Returns its result, which for a question is its answer too. */
  function request(fields) {
    const made = createRequest(fields);
    const { frame, result, fault, command } = made;
    const { id, type } = frame;
    const known = all().find((each) => each.frame.id === id || (type !== "ask" && each.command === command));
    if (known) return known.result;
    requests.set(id, made);
    cancelled.delete(id);
    result.id = id;
    if (isQuestion(made)) result[Symbol.asyncIterator] = () => readAnswer(chat, made);
    if (endCode ?? fault) fail(made, { code: endCode ?? "invalid_frame", message: fault });
    else if (type === "forget" && !frame.session) settle(made); // the server has nothing of it yet
    else if (turnOf(made)) checkAnswer(made.turn);
    else send(made);
    emit("change");
    return result;
  }

  /** Sends a request that has no acknowledgement, where that is possible now. */
  function send(request) {
    if (request.hasEnded || request.turn || !connection.isOpen()) return;
    if (request.bytes > currentView().limits?.frame_bytes) return failInvalid(request, true);
    hasForked ||= request.frame.type === "fork";
    connection.send(hasForked ? JSON.stringify({ session: chat.session, ...request.frame }) : request.data);
    stopTimer(request);
    request.timer = timers.setTimeout(() => turnOf(request) || giveUp(request, "timeout"), TIME_LIMIT_MS);
  }

  function stopTimer(request) {
    timers.clearTimeout(request.timer);
    request.timer = undefined;
  }

  /** Ends a request by its result or its error, if it has not ended: a listener to the end of another may do that. */
  function settle(request, result) {
    if (request.hasEnded) return;
    stopTimer(request);
    requests.delete(request.frame.id);
    request.settle(result);
    emit("change");
  }

  /**
   * Rejects a request; but the server can't take back an answer that has come to its end, and is being checked. Only a
   * question that is not in the log has its text in the error, for an interface to give back.
   */
  function fail(request, reason, isSilent = endCode) {
    if (request.hasEnded || (request.isChecked && reason.code !== "closed")) return;
    const error = requestError({ id: request.frame.id, ...reason }, textOf(request));
    settle(request, error);
    if (!isSilent) emit("error", error);
  }

  /** Rejects a request whose frame the server does not take: it is too long, or else we do not know what is wrong. */
  function failInvalid(request, isTooLong) {
    fail(request, { code: isTooLong && request.frame.text ? "question_too_long" : "invalid_frame" });
  }

  /** Rejects a request that may be on its way: if it gets into the log after all, it is cancelled. */
  function giveUp(request, code) {
    cancelled.add(request.frame.id);
    fail(request, { code }, code === "cancelled");
  }

  /** Ends a question whose turn has ended, once its answer is complete: one that is not is fetched again. */
  async function checkAnswer(turn) {
    if (turn?.status !== "ended") return;
    const asked = requests.get(turn.id) ?? {};
    asked.isChecked = true;
    let isComplete = await matchesCheck(turn);
    if (!isComplete) {
      const afterQuestion = turn.from + 2; // `from` is the position before the question, and `before` is exclusive
      await history({ before: afterQuestion, limit: 1 }).catch(() => {});
      turn = findTurn("turn", turn.turn);
      isComplete = await matchesCheck(turn);
    }
    asked.isChecked = false;
    if (!asked.frame) return; // nobody waits for it
    if (isComplete) settle(asked, turn);
    else fail(asked, { code: endCode ?? "damaged" });
  }

  /** Ends the questions whose turns the log does not have any more, once it was read to its end: nobody pays twice. */
  function endReplay() {
    isReplaying = false;
    for (const each of all()) {
      const turn = turnOf(each);
      if (turn && turn.status !== "ended" && !current.turns.includes(turn)) settle(each, { ...turn, status: "ended", reason: "interrupted" });
    }
  }

  // --- the session and its view --------------------------------------------------------------------------------------

  function emit(type, detail) {
    if (heard[type]) chat.dispatchEvent(new CustomEvent(type, { detail: detail ?? currentView() }));
  }

  /** Calls a method of the storage. Errors are ignored: it may be missing, full or forbidden. */
  function callStorage(method, value) {
    try {
      return (storage ?? localStorage)[method](storageKey, value);
    } catch {}
  }

  /**
   * Makes the next connection begin a new session. Where the old one is gone (`session_not_found`), what was never asked
   * in it is asked there; where it is left (`closed`), that is given back.
   */
  function startNewSession(code) {
    const isGone = code !== "closed";
    const { session } = chat;
    const known = all(); // not those that listeners make
    known.forEach(turnOf);
    if (callStorage("getItem") === session) callStorage("removeItem"); // or it is another tab's
    chat.session = null;
    cancelled.clear();
    current = { ...empty, keep: current.keep };
    emit("change");
    for (const each of known) {
      const { frame, turn } = each;
      if (frame.type === "forget") {
        if (isGone && frame.session === session) settle(each);
      } else if (!isGone || frame.type !== "ask" || turn) {
        fail(each, { code }, !textOf(each));
      }
    }
  }

  /** Ends the conversation. `code` is `closed`, or why the server refuses us. */
  function end(code) {
    if (endCode) return;
    endCode = code;
    for (const each of all()) fail(each, { code });
    connection.close(code);
    const error = requestError({ code });
    settleOpened(error);
    if (code !== "closed") emit("error", error);
  }

  function settleOpened(result) {
    setOpenTimer();
    opening.settle(result);
  }

  function onOpenTimeout() {
    const { cause, tries } = chat.connection;
    opening.settle(requestError({ code: "timeout", message: `Not open after ${tries} tries: ${cause?.code ?? "no answer"}` }));
  }

  // --- frames --------------------------------------------------------------------------------------------------------

  /** Takes a frame. A slice of text that follows another one is added to that, which is all that most frames cost. */
  function receive(frame) {
    const { type, turn, seq, text } = frame;
    if (text && turn && type === run.type && turn === run.turn && seq === run.seq + countCodePoints(text)) {
      run.text += text;
      run.seq = seq;
      onRead(seq);
    } else {
      if (isBroken(frame, chat.session)) return connection.reconnect();
      if (type === "ready" && frame.id) return handle(frame); // of a session that `fork` has made
      // A connection begins with `ready`, and an event before that comes again. One of a fork is none of this conversation.
      const isExpected = type === "ready" || seq === undefined || (isReady && frame.session === chat.session);
      if (!isExpected || typeof type !== "string" || !apply(frame)) return;
    }
    emit("frame", frame);
    emit("change");
  }

  /** Applies a frame to the view, and handles it. Returns false where frames are missing before it. */
  function apply(frame) {
    const before = currentView();
    const after = view(before, frame);
    if (after.gap) return connection.reconnect();
    if (frame.type === "ready") {
      all().forEach(turnOf);
      furthest = Math.max(furthest, after.seq);
      isReplaying = true;
    }
    current = after;
    run = { ...frame, text: "" };
    if (after !== before || frame.seq === undefined) handle(frame); // or it was read before
    onRead(after.seq);
    return true;
  }

  /** The log was read up to a position. */
  function onRead(seq) {
    if (seq > furthest) {
      furthest = seq;
      connection.onProgress();
    }
    if (isReplaying && seq >= current.head) endReplay();
  }

  /** Handles a frame, beyond its effect on the view. */
  function handle(frame) {
    const { id, type, code } = frame;
    const asked = requests.get(id);
    if (asked && END_BY_REQUEST_TYPE[asked.frame.type] === (code ?? type)) settle(asked, code ? undefined : frame);
    handlers[type]?.(frame, asked);
    renewCredential(frame);
  }

  /** Has a credential renewed that expires. What does it is loaded where there is one; else the connection is closed with 4401. */
  async function renewCredential(frame) {
    if (frame.expires && [token, ticket].some(isFunction)) {
      renewal ??= import("./credentials.js")
        .then(({ createRenewal }) => createRenewal({ chat, token, ticket, setTimer: createTimer(timers), connection, onFailed }))
        .catch(() => (renewal = null));
    }
    (await renewal)?.(frame);
  }

  /** Has the server send no more of a session that `fork` has made. */
  function detach(session) {
    if (session !== chat.session) connection.send(JSON.stringify({ type: "detach", session }));
  }

  const handlers = {
    __proto__: null, // a type such as "constructor" is unknown too

    ready({ session, id, user }) {
      if (id) return detach(session);
      // What one user has asked is never asked as another, nor given back.
      if (chat.user && chat.user !== user) for (const each of all()) settle(each, requestError({ code: "unauthorized", id: each.frame.id }));
      chat.user = user;
      chat.session = session;
      callStorage("setItem", session);
      isReady = true;
      connection.onReady();
    },

    question({ id, turn, seq }, asked) {
      if (asked && !asked.turn) furthest = seq - 1; // new, in whatever history: it is acknowledged only once
      if (cancelled.delete(id)) cancel(turn);
    },

    title({ text }) {
      for (const each of all()) if (each.frame.type === "title" && each.frame.text === text) settle(each);
    },

    done({ turn }) {
      for (const each of all()) if (each.frame.type === "cancel" && each.frame.turn === turn) settle(each);
      checkAnswer(findTurn("turn", turn));
    },

    going_away: (frame) => connection.leaveAfter(frame.reconnect_after),

    error(frame, asked) {
      connection.pause(frame);
      const isNotFound = frame.code === "session_not_found";
      // Nobody misses one that was only kept, or made by the server, and of which nothing was shown: it was empty, mostly.
      const isMissed = !isNotFound || current.turns[0] || !chat.session || chat.session === session;
      const isForgotten = isNotFound && all().some((each) => each.frame.type === "forget" && each.frame.session === chat.session);
      const isGone = isNotFound && (asked?.frame.session ?? frame.session) === chat.session;
      if (isGone) connection.reconnect({ code: SESSION_NOT_FOUND });
      else if (asked && !turnOf(asked)) fail(asked, frame); // else it was sent again, and its turn's end is its end
      if (!asked && isMissed && !isForgotten) emit("error", requestError(frame));
    },
  };

  Object.defineProperty(chat, "view", { get: currentView });
  Object.assign(chat, {
    session: session ?? callStorage("getItem"),
    opened: opening.result,
    addEventListener(type, ...rest) {
      heard[type] = true;
      listen.call(chat, type, ...rest);
    },
    ask: (text, options) => request({ ...options, type: "ask", text }),
    retry: (turn, options) => request({ ...options, type: "retry", turn }),
    edit: (turn, text, options) => request({ ...options, type: "edit", turn, text }),
    fork: (turn, options) => request({ ...options, type: "fork", turn }),
    forget: (session = chat.session) => request({ type: "forget", session }),
    title: (text) => request({ type: "title", text }),
    sessions: (range) => request({ ...range, type: "sessions" }),
    history,
    cancel,
    requests: unanswered,
    pending: () => all().filter(textOf).map(({ frame }) => frame),
    fresh,
    reconnect: () => connection.wake(),
    close: () => end("closed"),
  });

  // --- what the connection calls -------------------------------------------------------------------------------------

  function onFailed(error) {
    emit("error", requestError({ code: "unauthorized", message: error?.message, retryable: true }));
  }

  const connection = openConnection({
    token,
    ticket,
    random,
    page,
    timers,
    receive,
    createSocket(protocols, once) {
      const resumed = resumeAddress(address, chat.session, currentView(), once);
      return hideSecrets(() => new WebSocket(resumed, protocols));
    },

    /** Sends what has no acknowledgement once it is open, before any other. */
    onState(now) {
      const { state } = now;
      chat.state = state;
      chat.connection = now;
      if (state === "open") {
        all().forEach(send);
        settleOpened(chat);
      }
      emit("state", state);
    },

    onFailed,

    onLost(code) {
      currentView();
      run = {};
      isReady = hasForked = false;
      if (REFUSED.includes(code)) return end(ERROR_BY_CLOSE_CODE[code]);
      const sent = all().filter((each) => each.timer && !turnOf(each));
      all().forEach(stopTimer); // time without a connection does not count
      if (code === SESSION_NOT_FOUND) startNewSession("session_not_found");
      // One of the frames that were sent was bad: the longest, where it was too long, else the oldest without an answer.
      const isTooLong = code === FRAME_TOO_BIG;
      if (isTooLong) sent.sort((one, other) => other.bytes - one.bytes);
      if (BAD_FRAME_CODES.includes(code) && sent[0]) failInvalid(sent[0], isTooLong);
    },
  });
  setOpenTimer(openTimeout, onOpenTimeout);
  return chat;
}

export { delay };
