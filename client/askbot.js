/** A connection is a cursor over a session's log: this connects, resumes and asks; view.js says what there is to see. */
import { empty, points, view } from "./view.js";

const SILENCE = 45e3; // the server says `alive` after 20 s
const WAKES = ["online", "visibilitychange"];

/** Full jitter, so that a restarted server is not met by every page in the same instant. */
export const delay = (tries, random = Math.random) => random() * Math.min(30_000, 500 * 2 ** tries);

const failure = ({ code, message = code, retryable, retry_after: retryAfter }) =>
  Object.assign(new Error(message), { code, retryable, retryAfter });

const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, 0)).join("");

/** Insecure origins have no SHA-256, and no randomUUID. */
const proven = async ({ answer, check }, { subtle } = crypto) =>
  points(answer) === check.chars &&
  (!subtle || hex(await subtle.digest("SHA-256", new TextEncoder().encode(answer))) === check.sha256);

/** askbot.d.ts says all of it. */
export function connect({ url = "/v1/chat", session, token, storage, random, page = globalThis, ...env } = {}) {
  const { WebSocket = page.WebSocket, timers = page } = env;
  const waits = new Map(); // by id: what has no answer yet
  const unwanted = new Set();
  let tries = 0;
  let ready, socket, timer; // ready to take frames: not while it goes away

  const bot = Object.assign(new EventTarget(), {
    view: empty,
    session: session ?? stored("getItem"),
    ask: (text, options) => request({ type: "ask", text, ...options }),
    retry: (turn, options) => request({ type: "retry", turn, ...options }),
    edit: (turn, text, options) => request({ type: "edit", turn, text, ...options }),
    forget: () => request({ type: "forget", session: bot.session }),
    history: (range) => request({ type: "history", before: bot.view.turns[0]?.from + 1, limit: 20, ...range }),
    cancel: (turn = bot.view.turns.find(({ status }) => status !== "ended")?.turn) =>
      waits.has(turn) ? withdraw(turn) : request({ type: "cancel", turn }),
    pending: () => frames().filter(({ id, text }) => text && !find("id", id)),
    fresh() {
      refuse("closed");
      renew();
      open();
    },
    close(code) {
      for (const name of WAKES) page.removeEventListener?.(name, wake);
      leave();
      timers.clearTimeout(timer);
      refuse(code ?? "closed");
      become("closed");
      if (code) emit("error", failure({ code }));
    },
  });

  const emit = (type, detail) => bot.dispatchEvent(new CustomEvent(type, { detail }));
  const show = (state) => emit("change", (bot.view = state));
  const become = (state) => emit("state", (bot.state = state));
  const find = (key, value) => bot.view.turns.find((turn) => turn[key] === value);
  const frames = () => [...waits.values()].map(({ frame }) => frame);
  const send = (frame) => socket.send(JSON.stringify(frame));

  function request(frame) {
    const id = hex(crypto.getRandomValues(new Uint8Array(16)));
    const settled = new Promise((resolve, reject) => waits.set(id, { frame: { id, ...frame }, resolve, reject }));
    settled.catch(() => {}); // there is the error event
    if (ready) send(waits.get(id).frame);
    show(bot.view);
    return Object.assign(settled, { id, [Symbol.asyncIterator]: () => pieces(id, settled) });
  }

  /** Pulled: a slow reader gets longer pieces, no queue grows. */
  async function* pieces(id, settled) {
    for (let given = 0, waiting = true; waiting; ) {
      waiting = waits.has(id);
      const text = (waiting ? find("id", id) : await settled)?.answer.slice(given);
      given += text?.length ?? 0;
      if (text) yield text;
      else if (waiting) await new Promise((resolve) => bot.addEventListener("change", resolve, { once: true }));
    }
  }

  function settle(id, error, value) {
    const wait = waits.get(id);
    waits.delete(id);
    error ? wait?.reject(error) : wait?.resolve(value);
    show(bot.view);
  }

  /** What is on its way is cancelled when it arrives. */
  function withdraw(id) {
    unwanted.add(id);
    settle(id, failure({ code: "cancelled" }));
  }

  const each = (which, error, value) => frames().filter(which).forEach(({ id }) => settle(id, error, value));
  const refuse = (code, which = Boolean) => each(which, failure({ code }));

  /** It may be missing, full or forbidden. */
  function stored(action, value) {
    try {
      return (storage ?? localStorage)[action]("askbot.session", value);
    } catch {}
  }

  function after(wait, action = lost) {
    timers.clearTimeout(timer);
    timer = timers.setTimeout(action, wait);
  }

  const comeBack = (wait) => after(wait + delay(tries++, random), open);

  function open() {
    leave();
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    const query = address.searchParams;
    const { session, seq, log } = bot.view;
    if (bot.session) query.set("session", bot.session);
    if (session) query.set("after", seq);
    if (log) query.set("log", log);
    const mine = (socket = new WebSocket(address.href, token ? ["askbot.v1", "askbot.bearer." + token] : ["askbot.v1"]));
    mine.onmessage = ({ data }) => mine === socket && hear(JSON.parse(data));
    mine.onclose = mine.onerror = ({ code }) => mine === socket && lost(code);
    after(SILENCE);
    become("connecting");
  }

  /** A dead socket may take minutes to close. */
  function leave() {
    const left = socket;
    ready = socket = null;
    left?.close();
  }

  function lost(code) {
    const moving = bot.state === "open" && !ready; // the time is set
    leave();
    const fatal = { 4401: "unauthorized", 4403: "forbidden" }[code];
    if (fatal) return bot.close(fatal);
    if (code === 4404) renew();
    if (code === 1009) refuse("invalid_frame", ({ id }) => !find("id", id));
    if (!moving) comeBack(0);
    become("waiting");
  }

  /** What a session never got is asked in the next one. */
  function renew() {
    refuse("session_not_found", ({ type, id }) => type !== "ask" || find("id", id));
    if (stored("getItem") === bot.session) stored("removeItem");
    bot.session = null;
    show(empty);
  }

  function wake() {
    if (page.document?.hidden) return;
    if (bot.state === "waiting") open();
    if (!ready) return;
    send({ type: "ping" });
    after(5000);
  }

  function hear(frame) {
    const state = view(bot.view, frame);
    if (state.gap) return lost();
    if (frame.type !== "ready") tries = 0; // `ready` alone is no sign of health
    bot.view = state;
    on[frame.type]?.(frame);
    if (ready) after(SILENCE);
    emit("frame", frame);
    show(bot.view);
  }

  const on = {
    __proto__: null,
    ready(frame) {
      ready = true;
      stored("setItem", (bot.session = frame.session));
      frames().filter(({ id }) => !find("id", id)).forEach(send);
      become("open");
    },
    question: ({ id, turn }) => unwanted.delete(id) && bot.cancel(turn),
    history: (frame) => settle(frame.id, null, frame),
    going_away(frame) {
      ready = false;
      comeBack(frame.reconnect_after);
    },
    error(frame) {
      const type = waits.get(frame.id)?.frame.type;
      if (type === "cancel" || type === "forget") settle(frame.id); // so it was gone
      if (frame.code === "session_not_found" && frame.session === bot.session) return lost(4404);
      if (type === "cancel") return;
      settle(frame.id, failure(frame));
      emit("error", failure(frame));
    },
    async done({ turn: id }) {
      const turn = find("turn", id);
      each(({ type, turn }) => type === "cancel" && turn === id);
      if (turn && !(await proven(turn))) await bot.history({ before: turn.from + 2, limit: 1 }).catch(() => {});
      settle(turn?.id, null, find("turn", id) ?? turn);
    },
  };

  for (const name of WAKES) page.addEventListener?.(name, wake);
  open();
  return bot;
}
