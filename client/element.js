/** `<ask-bot>`: a conversation in any page. README.md tells what a page can do with it. */
import { connect } from "./askbot.js";
import { update } from "./markdown.js";
import { rows, running } from "./rows.js";

const ENGLISH = {
  log: "Conversation", field: "Ask a question", send: "Send", stop: "Stop", retry: "Ask again", earlier: "Show earlier",
  fresh: "New conversation", connecting: "Connecting", closed: "Disconnected", sending: "Not sent yet", waiting: "Waiting",
  answering: "Answering", done: "The answer is complete", cancelled: "Stopped", length: "Cut off at the length limit",
  refused: "Refused", interrupted: "Interrupted", error: "Failed",
};

const CSS = `
:host { --ink: var(--askbot-ink, light-dark(#1f2624, #e4e5de)); --paper: var(--askbot-paper, light-dark(#fbf9f4, #1b201f));
  --line: var(--askbot-line, #8886); --accent: var(--askbot-accent, light-dark(#14594c, #86c7b3));
  display: flex; flex-direction: column; block-size: min(32rem, 100dvh); overflow: hidden; color: var(--ink); background: var(--paper);
  border: 1px solid var(--line); border-radius: var(--askbot-radius, 0.75rem); font: var(--askbot-font, 1rem/1.6 system-ui); }
:host([theme=light]) { color-scheme: light; }
:host([theme=dark]) { color-scheme: dark; }
:host([theme=auto]) { color-scheme: light dark; }
:host([hidden]), [hidden], [part=retry], [part=badge]:empty { display: none; }
:host, * { box-sizing: border-box; }
[part=header], form { display: flex; gap: 0.5em; align-items: center; padding: 0.5em 1em; }
[part=header], [part=badge], figcaption { font-size: 0.85em; }
section { flex: 1; overflow: auto; padding: 0 1rem; overflow-wrap: anywhere; border: solid var(--line); border-width: 1px 0; }
h2 { margin: 1em 0 0; font-size: 1em; white-space: pre-wrap; }
figure { margin: 1em 0; }
pre { margin: 0; padding: 0.5em 1em; border-inline-start: 3px solid var(--line); }
[part~=waiting]::after, [part~=answering] > [part=answer] > :last-child::after { content: "▍"; color: var(--accent); }
[part~=ended]:last-child > [part=retry] { display: revert; }
pre, .table { overflow: auto; }
a { color: var(--accent); }
button, textarea { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 0.5em; padding: 0.5em 1em; }
textarea { flex: 1; min-inline-size: 0; resize: none; field-sizing: content; max-block-size: 8em; }
[part=send] { color: var(--paper); background: var(--accent); }
[part=status] { flex: 1; margin: 0; }
::placeholder { color: inherit; opacity: 0.75; }
`;

const slot = (name) => Object.assign(document.createElement("slot"), { name });

/** Each element of ours is a part, and is found by its name. */
function make(tag, name, ...content) {
  const element = Object.assign(document.createElement(tag), { part: name, name });
  element.append(...content);
  return element;
}

const set = (element, text) => element.textContent !== text && (element.textContent = text);

export class AskBot extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["server", "session", "token", "placeholder", "lang"];
  #bot = null;
  #due;
  #error;
  #words = ENGLISH;
  #articles = new Map(); // by the question's id, so that an article stays when the log takes its question
  #status = make("p", "status");
  #fresh = make("button", "fresh");
  #earlier = make("button", "earlier");
  #empty = slot("empty");
  #turns = make("div", "turns");
  #log = make("section", "log", this.#earlier, this.#empty, this.#turns);
  #field = make("textarea", "field");
  #stop = make("button", "stop");
  #send = make("button", "send");
  #form = make("form", "form", this.#field, this.#stop, this.#send);

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet(); // it needs no leave of a Content-Security-Policy
    sheet.replaceSync(CSS);
    root.adoptedStyleSheets = [sheet];
    root.append(make("div", "header", slot("header"), this.#status, this.#fresh), this.#log, this.#form, slot("footer"));
    this.#status.role = "status";
    this.#stop.type = "button";
    this.#field.rows = 1;
    this.#log.tabIndex = 0;
    root.addEventListener("click", ({ target }) => target.matches("button[part]") && this[target.name]?.());
    root.addEventListener("submit", (event) => this.#submit(event));
    root.addEventListener("keydown", (event) => this.#key(event));
  }

  get chat() {
    return this.#bot;
  }

  focus(options) {
    this.#field.focus(options);
  }

  ask(text, options) {
    return this.#asked(this.#bot.ask(text, options));
  }

  retry() {
    return this.#asked(this.#bot.retry());
  }

  stop() {
    const turn = running(this.#bot);
    if (turn) this.#bot.cancel(turn);
  }

  fresh() {
    this.#bot.fresh();
    this.focus();
  }

  earlier() {
    this.#bot.history();
  }

  connectedCallback() {
    const korean = () => (this.closest("[lang]")?.lang || navigator.language).startsWith("ko");
    this.#label(ENGLISH);
    if (korean()) import("./element-ko.js").then(({ KOREAN }) => korean() && this.#label(KOREAN), () => {});
    this.#bot ??= this.#open();
    this.#redraw();
  }

  /** One that is only moved is back at once. */
  disconnectedCallback() {
    queueMicrotask(() => this.isConnected || this.#close());
  }

  attributeChangedCallback(name) {
    if (!this.#bot) return;
    if (name !== "placeholder" && name !== "lang") this.#close();
    this.connectedCallback();
  }

  #close() {
    this.#bot?.close();
    this.#bot = null;
  }

  #open() {
    const base = new URL(this.getAttribute("server") ?? new URL(".", import.meta.url), document.baseURI);
    const key = `askbot.session ${base} ${this.id || [...document.querySelectorAll("ask-bot")].indexOf(this)}`;
    const keep = (action) => (_, value) => localStorage[action](key, value);
    const bot = connect({
      url: new URL("v1/chat", base),
      session: this.getAttribute("session") ?? undefined,
      token: this.getAttribute("token"),
      storage: { getItem: keep("getItem"), setItem: keep("setItem"), removeItem: keep("removeItem") },
    });
    for (const type of ["change", "state"]) bot.addEventListener(type, () => this.#redraw());
    bot.addEventListener("error", ({ detail }) => this.#fail(detail));
    return bot;
  }

  #asked(asked) {
    this.#error = "";
    this.#log.scrollTop = this.#log.scrollHeight;
    asked.then((turn) => this.#tell("done", turn), () => {});
    return asked;
  }

  #fail(error) {
    this.#error = error.message;
    this.#redraw();
    this.#tell("error", error);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`askbot-${name}`, { detail, bubbles: true, composed: true }));
  }

  #label(words) {
    this.#words = words;
    this.#log.ariaLabel = words.log;
    this.#field.placeholder = this.#field.ariaLabel = this.getAttribute("placeholder") ?? words.field;
    for (const element of this.shadowRoot.querySelectorAll("button")) element.textContent = words[element.name];
    for (const article of this.#articles.values()) article.row = null;
    this.#redraw();
  }

  #submit(event) {
    event.preventDefault();
    const text = this.#field.value.trim();
    if (!text) return;
    this.#field.value = "";
    this.ask(text).catch(({ code }) => code === "cancelled" || code === "closed" || (this.#field.value ||= text));
  }

  /** Enter sends, but not the one that ends a syllable's composing: Safari says so only by the code 229. */
  #key(event) {
    if (event.key === "Escape") this.stop();
    if (event.key !== "Enter" || event.shiftKey || event.keyCode === 229 || event.target !== this.#field) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** Once a frame at most. */
  #redraw() {
    this.#due ??= requestAnimationFrame(() => {
      this.#due = null;
      if (this.#bot) this.#draw();
    });
  }

  #draw() {
    const { state, view } = this.#bot;
    const { scrollHeight, clientHeight, scrollTop } = this.#log;
    const all = rows(this.#bot);
    this.#articles = new Map(all.map((row) => [row.id ?? row.turn, this.#article(row)]));
    const articles = [...this.#articles.values()];
    const { children } = this.#turns;
    articles.forEach((article, place) => children[place] === article || this.#turns.insertBefore(article, children[place]));
    while (children.length > articles.length) this.#turns.lastChild.remove();
    this.#empty.hidden = all.length || view.seq === null || view.seq < view.head || view.earlier;
    this.#earlier.hidden = !view.earlier;
    this.#stop.hidden = !running(this.#bot);
    const { status, reason } = all.at(-1) ?? {};
    const last = reason === "stop" ? "done" : (reason ?? status);
    set(this.#status, this.#error || this.#words[{ open: last, waiting: "connecting" }[state] ?? state] || "");
    if (scrollHeight - clientHeight - scrollTop < 64) this.#log.scrollTop = this.#log.scrollHeight; // else somebody reads there
  }

  #article(row) {
    const { question, answer, status, reason, error } = row;
    const lack = status === "sending" ? status : reason !== "stop" && reason;
    const parts = () => [make("h2", "question"), make("div", "answer"), make("p", "badge"), make("button", "retry", this.#words.retry)];
    const article = this.#articles.get(row.id ?? row.turn) ?? make("article", "turn", ...parts());
    if (article.row === row) return article;
    const [asked, answered, badge] = article.children;
    article.row = row;
    article.part = `turn ${status}`;
    set(asked, question);
    update(answered, answer);
    set(badge, (error?.message ?? this.#words[lack] ?? lack) || "");
    return article;
  }
}

globalThis.customElements?.define("ask-bot", AskBot);
