/** Stand-ins for what a browser gives: sockets, timers, storage, and a document just large enough for markdown.js. */
import assert from "node:assert/strict";
import { connect } from "../../client/askbot.js";
import { countCodePoints } from "../../client/view.js";

/** Waits until promises are resolved, those too of SHA-256, which runs on another thread. */
export const flushPromises = async () => {
  for (let turn = 0; turn < 4; turn += 1) {
    await crypto.subtle.digest("SHA-256", new Uint8Array());
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};

/** Returns the processor time of this thread so far: what else the machine does is not in it. */
export const cpuMilliseconds = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

export class Timers {
  now = 0;
  #due = new Map();
  #last = 0;

  setTimeout = (action, wait) => {
    this.#due.set((this.#last += 1), { action, at: this.now + wait });
    return this.#last;
  };

  clearTimeout = (timer) => this.#due.delete(timer);

  /** How many have neither ended nor been cleared. */
  get count() {
    return this.#due.size;
  }

  advance(milliseconds) {
    const until = this.now + milliseconds;
    for (;;) {
      const [next] = [...this.#due].filter(([, { at }]) => at <= until).sort(([, one], [, other]) => one.at - other.at);
      if (!next) break;
      this.#due.delete(next[0]);
      this.now = next[1].at;
      next[1].action();
    }
    this.now = until;
  }
}

export class Storage {
  kept = new Map();
  getItem = (key) => this.kept.get(key) ?? null;
  setItem = (key, value) => this.kept.set(key, value);
  removeItem = (key) => this.kept.delete(key);
}

/**
 * A client with a page, a clock and sockets that the test controls. `serve(socket, number)` is called a moment after each
 * socket was made, unless that is closed by then: what the server does.
 */
export function client({ serve, ...options } = {}) {
  const sockets = [];
  const timers = new Timers();
  class Socket {
    sent = [];
    closed = false;
    constructor(url, protocols) {
      Object.assign(this, { url: new URL(url), protocols });
      sockets.push(this);
      if (serve) timers.setTimeout(() => this.closed || serve(this, sockets.length), 20);
    }
    send(text) {
      if (this.closed) throw new Error("sent on a closed socket");
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.closed = true;
    }
    deliver(...frames) {
      for (const frame of frames) this.deliverText(JSON.stringify(frame));
    }
    deliverText(data) {
      this.onmessage({ data });
    }
    closeWith(code = 1006) {
      this.onclose({ code });
    }
    after() {
      return this.url.searchParams.get("after");
    }
    session() {
      return this.url.searchParams.get("session");
    }
  }
  const storage = new Storage();
  const page = Object.assign(new EventTarget(), { document: { hidden: false } });
  const chat = connect({ url: "http://test/v1/chat", WebSocket: Socket, timers, storage, page, random: () => 1, ...options });
  return { chat, sockets, timers, storage, page, get socket() { return sockets.at(-1); } };
}

/** A client that has read `ready` of an empty session. */
export function openedClient(options) {
  const all = client(options);
  const log = new Log();
  all.socket.deliver(log.ready());
  return Object.defineProperty({ ...all, log }, "socket", { get: () => all.sockets.at(-1) });
}

/** Returns a list to which each event's detail is added. */
export function collectEvents(chat, type) {
  const details = [];
  chat.addEventListener(type, ({ detail }) => details.push(detail));
  return details;
}

/** Returns all that an iterable gives. */
export async function collect(pieces) {
  const texts = [];
  for await (const text of pieces) texts.push(text);
  return texts;
}

/** Asserts that a promise, and what is iterated over instead, end with an error of this code. */
export async function assertEndsWith(asked, code) {
  await Promise.all([assert.rejects(asked, { code }), assert.rejects(collect(asked), { code })]);
}

export const sha256 = async (text) =>
  Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toString("hex");

/** Whether an event is a slice of a text. */
export const isSlice = ({ type }) => type === "token" || type === "thinking";

/** A log, as a server keeps it. */
export class Log {
  seq = 0;
  events = [];
  constructor(session = "s1") {
    this.session = session;
  }

  add(event) {
    this.seq += isSlice(event) ? countCodePoints(event.text) : 1;
    this.events.push({ session: this.session, seq: this.seq, ...event });
    return this.events.at(-1);
  }

  ready(from = 0, more = {}) {
    return { type: "ready", session: this.session, seq: this.seq, from, resumed: from > 0, protocol: "askbot.v1", server: "x", model: "m", limits: {}, ...more };
  }

  question(turn, text = "Why?", more = {}) {
    return this.add({ type: "question", turn, text, created: "2026-01-01T00:00:00Z", ...more });
  }

  token(turn, text) {
    return this.add({ type: "token", turn, text });
  }

  thinking(turn, text) {
    return this.add({ type: "thinking", turn, text });
  }

  async done(turn, more = {}) {
    const answer = this.answer(turn);
    const check = { chars: countCodePoints(answer), sha256: await sha256(answer) };
    return this.add({ type: "done", turn, reason: "stop", model: "m", usage: null, timing: { queued: 0, first_token: 1, total: 2 }, check, ...more });
  }

  answer(turn, type = "token") {
    return this.events.filter((event) => event.type === type && event.turn === turn).map(({ text }) => text).join("");
  }

  /** What a server sends a reader that comes with `after`: merged, and cut inside a slice. */
  resume(after) {
    const rest = this.events.filter(({ seq }) => seq > after);
    return rest.map((event) =>
      isSlice(event) ? { ...event, text: [...event.text].slice(Math.max(0, after - event.seq + countCodePoints(event.text))).join("") } : event);
  }
}

/** Numbers that look random and are the same each time. */
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, below: (limit) => Math.floor(next() * limit), of: (list) => list[Math.floor(next() * list.length)] };
}

// --- a document ------------------------------------------------------------------------------------------------------

class Node {
  parent = null;

  get parentNode() {
    return this.parent;
  }

  replaceWith(node) {
    this.parent?.insertBefore(node, this);
    this.remove();
  }

  get nextSibling() {
    return this.parent?.childNodes[this.parent.childNodes.indexOf(this) + 1] ?? null;
  }

  remove() {
    if (this.parent) this.parent.childNodes.splice(this.parent.childNodes.indexOf(this), 1);
    this.parent = null;
  }
}

class Text extends Node {
  constructor(data) {
    super();
    this.data = data;
  }

  replaceData(offset, count, data) {
    this.data = this.data.slice(0, offset) + data + this.data.slice(offset + count);
  }

  get textContent() {
    return this.data;
  }

  get html() {
    return this.data.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  }
}

class Element extends Node {
  childNodes = [];
  attributes = {};
  constructor(name, document) {
    super();
    Object.assign(this, { name, ownerDocument: document });
  }

  get firstChild() {
    return this.childNodes[0] ?? null;
  }

  get lastChild() {
    return this.childNodes.at(-1) ?? null;
  }

  get textContent() {
    return this.childNodes.map((node) => node.textContent).join("");
  }

  get html() {
    const attributes = Object.entries(this.attributes).map(([key, value]) => ` ${key}="${value}"`).join("");
    const inner = this.inner;
    return `<${this.name}${attributes}>${["br", "hr"].includes(this.name) ? "" : `${inner}</${this.name}>`}`;
  }

  get inner() {
    return this.childNodes.map((node) => node.html).join("");
  }

  setAttribute(key, value) {
    this.attributes[key] = String(value);
  }

  removeAttribute(key) {
    delete this.attributes[key];
  }

  append(...nodes) {
    for (const node of nodes) this.insertBefore(node instanceof Node ? node : new Text(String(node)), null);
  }

  insertBefore(node, next) {
    if (next && next.parent !== this) throw new Error("The node before which the new node is to be inserted is not a child of this node.");
    node.remove();
    node.parent = this;
    if (next) this.childNodes.splice(this.childNodes.indexOf(next), 0, node);
    else this.childNodes.push(node);
  }

  cloneNode() {
    const copy = Object.assign(new Element(this.name, this.ownerDocument), { attributes: { ...this.attributes } });
    for (const node of this.childNodes) copy.append(node.data ?? node.cloneNode());
    return copy;
  }

  /** What is below, in order. */
  *all() {
    for (const node of this.childNodes) {
      if (!(node instanceof Element)) continue;
      yield node;
      yield* node.all();
    }
  }
}

export const fakeDocument = {
  createElement: (name) => new Element(name, fakeDocument),
  createTextNode: (data) => new Text(data),
};
