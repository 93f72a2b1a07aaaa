/** `<ask-bot>`: a conversation as an element of any page. README.md has its attributes, parts, slots and events. */
import { connect } from "./askbot.js";
import { update } from "./markdown.js";
import { rows, running } from "./rows.js";
import { drawThinking } from "./thinking.js";
import { Draft, keep, take, unsentKey, unsentOf, withdraw } from "./unsent.js";

/** Texts by name: of parts, of the status line and of a turn's badge; by code, of the client's own errors. */
const ENGLISH = {
  log: "Conversation",
  field: "Ask a question",
  send: "Send",
  stop: "Stop",
  retry: "Ask again",
  earlier: "Show earlier",
  fresh: "New conversation",
  connecting: "Connecting",
  closed: "Disconnected",
  sending: "Not sent yet",
  unsent: "A question may not have been sent: it is in the field",
  waiting: "Waiting",
  thinking: "Thinking…",
  thinking_time: "Thinking… {seconds} s",
  thought: "Thoughts",
  thought_time: "Thought for {seconds} s",
  answering: "Answering",
  done: "The answer is complete",
  cancelled: "Stopped",
  length: "Cut off at the length limit",
  refused: "Refused",
  interrupted: "Interrupted",
  error: "Failed",
  unauthorized: "Not signed in",
  forbidden: "Not allowed",
  timeout: "No answer",
  damaged: "The answer is damaged",
  invalid_frame: "Refused",
  question_too_long: "Too long a question",
};

const CSS = `
:host {
  --ink: var(--askbot-ink, light-dark(#1f2624, #e4e5de));
  --paper: var(--askbot-paper, light-dark(#fbf9f4, #1b201f));
  --line: var(--askbot-line, #8886);
  --accent: var(--askbot-accent, light-dark(#14594c, #86c7b3));
  display: flex;
  flex-direction: column;
  block-size: min(32rem, 100dvh);
  overflow: hidden;
  color: var(--ink);
  background: var(--paper);
  border: 1px solid var(--line);
  border-radius: var(--askbot-radius, 0.75rem);
  font: var(--askbot-font, 1rem/1.6 system-ui);
}
:host([theme=light]) { color-scheme: light; }
:host([theme=dark]) { color-scheme: dark; }
:host([theme=auto]) { color-scheme: light dark; }
:host([hidden]), [hidden], [part=retry], [part=badge]:empty { display: none; }
:host, * { box-sizing: border-box; }
[part=header], form { display: flex; gap: 0.5em; align-items: center; padding: 0.5em 1em; }
[part=header], [part=badge], [part=thought], figcaption { font-size: 0.85em; }
section { flex: 1; overflow: auto; padding: 0 1rem; overflow-wrap: anywhere; border: solid var(--line); border-width: 1px 0; }
h2 { margin: 1em 0 0; font-size: 1em; white-space: pre-wrap; }
figure { margin: 1em 0; }
pre { margin: 0; padding: 0.5em 1em; border-inline-start: 3px solid var(--line); }
[part=thought] { margin-block: 1em; }
[part=thought-label] { cursor: pointer; }
[part=thought-text] { padding-inline-start: 1em; border-inline-start: 1px solid var(--line); white-space: pre-wrap; }
[part~=waiting]::after, [part~=thinking] [part=thought-text]::after, [part~=answering] > [part=answer] > :last-child::after { content: "▍"; color: var(--accent); }
[part~=ended]:last-child > [part=retry] { display: revert; }
pre, .table { overflow: auto; }
a { color: var(--accent); }
button, textarea {
  font: inherit;
  color: inherit;
  background: none;
  border: 1px solid var(--line);
  border-radius: 0.5em;
  padding: 0.5em 1em;
}
textarea { flex: 1; min-inline-size: 0; resize: none; field-sizing: content; max-block-size: 8em; }
[part=send] { color: var(--paper); background: var(--accent); }
[part=status] { flex: 1; margin: 0; }
::placeholder { color: inherit; opacity: 0.75; }
`;

const NEAR_END_PX = 64; // a reader within this of the log's end is kept at its end
const COMPOSING_KEY_CODE = 229; // Safari reports the Enter that ends the composing of a syllable only by this
const BUTTON_METHODS = ["fresh", "earlier", "stop", "retry"]; // each button calls the method of its name

function createSlot(name) {
  return Object.assign(document.createElement("slot"), { name });
}

/** Returns an element that pages can style as `::part(name)`. */
function createPart(tag, name, ...content) {
  const element = Object.assign(document.createElement(tag), { part: name, name });
  element.append(...content);
  return element;
}

/** Sets an element's text, where it is not the same: a status that is set is read aloud. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** element.d.ts has the types of what is public. */
export class AskBot extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["server", "session", "token", "name", "id", "placeholder", "lang"];

  #chat = null;
  #unsentKey; // of the server and the name with which it is connected
  #kept = []; // what was kept when the page, or the document, was left
  #isDrawScheduled = false;
  #token; // with which it connected last
  #error; // the message of the last error; empty once something is asked, or another conversation is shown
  #texts = ENGLISH;
  #articles = new Map(); // by the question's id, so that an article stays when its question enters the log
  #status = createPart("p", "status");
  #fresh = createPart("button", "fresh");
  #earlier = createPart("button", "earlier");
  #empty = createSlot("empty");
  #turns = createPart("div", "turns");
  #log = createPart("section", "log", this.#earlier, this.#empty, this.#turns);
  #field = createPart("textarea", "field");
  #draft = new Draft(this.#field);
  #stop = createPart("button", "stop");
  #send = createPart("button", "send");
  #form = createPart("form", "form", this.#field, this.#stop, this.#send);

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    this.adoptedCallback();
    const header = createPart("div", "header", createSlot("header"), this.#status, this.#fresh);
    root.append(header, this.#log, this.#form, createSlot("footer"));
    this.#status.role = "status";
    this.#stop.type = "button";
    this.#field.rows = 1;
    this.#log.tabIndex = 0;
    root.addEventListener("click", (event) => this.#onClick(event));
    root.addEventListener("submit", (event) => this.#onSubmit(event));
    root.addEventListener("keydown", (event) => this.#onKeydown(event));
  }

  // --- what a page calls ---------------------------------------------------------------------------------------------

  get chat() {
    return this.#chat;
  }

  focus(options) {
    this.#field.focus(options);
  }

  ask(text, options) {
    return this.#request("ask", text, options);
  }

  retry() {
    return this.#request("retry");
  }

  stop() {
    const turn = running(this.#chat);
    if (turn) this.#chat.cancel(turn);
  }

  fresh() {
    this.#error = "";
    this.#giveBackUnsent();
    this.#chat.fresh();
    this.focus();
  }

  earlier() {
    this.#chat.history();
  }

  // --- what the browser calls ----------------------------------------------------------------------------------------

  connectedCallback() {
    this.#setTexts(ENGLISH);
    if (this.#isKorean()) this.#loadKorean();
    if (!this.#chat) this.#open();
    this.#scheduleDraw();
  }

  /** Gives it its style, which is lost with each document. */
  adoptedCallback() {
    const { CSSStyleSheet } = this.ownerDocument.defaultView;
    const sheet = new CSSStyleSheet(); // unlike a <style>, any Content-Security-Policy allows it
    sheet.replaceSync(CSS);
    this.shadowRoot.adoptedStyleSheets = [sheet];
  }

  /** An element that is only moved is in the document again before the microtask runs: it keeps its connection. */
  disconnectedCallback() {
    queueMicrotask(() => this.isConnected || this.#close());
  }

  attributeChangedCallback(attribute, _, value) {
    if (!this.#chat) return;
    if (this.#isLeft(attribute, value)) this.#close();
    this.connectedCallback();
  }

  // --- the conversation ----------------------------------------------------------------------------------------------

  /** Whether an attribute's new value asks for another connection. */
  #isLeft(attribute, value) {
    const { state, session } = this.#chat;
    if (attribute === "token") return state === "closed"; // else the next connection has the new one
    if (attribute === "session") return Boolean(value) && value !== session;
    const { url, name } = this.#place();
    return unsentKey(url, name) !== this.#unsentKey;
  }

  /** Returns the server's URL, and what tells its elements apart: never their order, or a new one could take another's place. */
  #place() {
    const base = new URL(this.getAttribute("server") ?? new URL(".", import.meta.url), document.baseURI);
    return { url: new URL("v1/chat", base), name: this.getAttribute("name") ?? this.id };
  }

  #open() {
    const place = this.#place();
    const session = this.getAttribute("session") || undefined;
    const chat = connect({ ...place, session, token: () => (this.#token = this.getAttribute("token")) });
    this.#error = "";
    this.#withdrawKept();
    this.#unsentKey = unsentKey(place.url, place.name);
    for (const type of ["change", "state"]) chat.addEventListener(type, () => this.#scheduleDraw());
    chat.addEventListener("error", ({ detail }) => this.#onError(detail));
    this.#chat = chat;
    this.#draft.add(take(undefined, this.#unsentKey));
    addEventListener("pagehide", this.#keepDraft);
    addEventListener("pageshow", this.#withdrawKept);
  }

  /** Closes the connection. What was not sent is in the field then; where this is in no document, it is kept as well. */
  #close() {
    if (!this.#chat) return;
    removeEventListener("pagehide", this.#keepDraft);
    removeEventListener("pageshow", this.#withdrawKept);
    if (!this.isConnected) this.#keepDraft();
    this.#giveBackUnsent();
    this.#chat.close();
    this.#chat = null;
  }

  // --- what is not sent ----------------------------------------------------------------------------------------------

  #giveBackUnsent() {
    this.#draft.add(unsentOf(this.#chat));
  }

  /** Keeps what is not sent for the next visit: the page may not come back. */
  #keepDraft = () => {
    this.#kept = [...unsentOf(this.#chat), ...this.#draft.items];
    keep(undefined, this.#unsentKey, this.#kept);
  };

  /** The page has come back after all, and so has this. */
  #withdrawKept = () => {
    withdraw(undefined, this.#unsentKey, this.#kept);
    this.#kept = [];
  };

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Makes a request, scrolls to it, and dispatches `askbot-done` at its end. Returns it. */
  #request(method, ...given) {
    if (this.#chat.state !== "closed") this.#error = ""; // before it, as it may fail at once
    const request = this.#chat[method](...given);
    this.#log.scrollTop = this.#log.scrollHeight;
    request.then((turn) => this.#dispatch("askbot-done", turn), (error) => this.#draft.addFailed(error));
    return request;
  }

  #onError(error) {
    const isTokenOld = this.#chat.state === "closed" && this.#token !== this.getAttribute("token");
    if (isTokenOld) return this.attributeChangedCallback("token");
    if (error.code !== "closed") this.#error = error.message; // else a question was given back, which the status says
    this.#scheduleDraw();
    this.#dispatch("askbot-error", error);
  }

  #dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // --- texts ---------------------------------------------------------------------------------------------------------

  #isKorean() {
    const language = this.closest("[lang]")?.lang || navigator.language;
    return language.startsWith("ko");
  }

  /** Loads the Korean texts; does nothing where that fails, or where the language has changed meanwhile. */
  async #loadKorean() {
    const { KOREAN } = await import("./element-ko.js").catch(() => ({}));
    if (KOREAN && this.#isKorean()) this.#setTexts(KOREAN);
  }

  /** Returns a text by its name, or what has none: an error of the client has its code as its message. */
  #textOf(name) {
    return this.#texts[name] ?? name;
  }

  #setTexts(texts) {
    this.#texts = texts;
    this.#log.ariaLabel = texts.log;
    this.#field.placeholder = this.#field.ariaLabel = this.getAttribute("placeholder") ?? texts.field;
    for (const button of this.shadowRoot.querySelectorAll("button")) button.textContent = texts[button.name];
    for (const article of this.#articles.values()) article.row = null; // their badges are drawn again
    this.#scheduleDraw();
  }

  // --- what a reader does --------------------------------------------------------------------------------------------

  #onClick({ target }) {
    if (target.matches("button[part]") && BUTTON_METHODS.includes(target.name)) this[target.name]();
  }

  #onSubmit(event) {
    event.preventDefault();
    const { text, options } = this.#draft.submit();
    if (text) this.ask(text, options);
  }

  #onKeydown(event) {
    if (event.key === "Escape") this.stop();
    const isComposing = event.keyCode === COMPOSING_KEY_CODE;
    if (event.key !== "Enter" || event.shiftKey || isComposing || event.target !== this.#field) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  /** Draws once an animation frame at most. */
  #scheduleDraw() {
    if (this.#isDrawScheduled) return;
    this.#isDrawScheduled = true;
    requestAnimationFrame(() => {
      this.#isDrawScheduled = false;
      if (this.#chat) this.#draw();
    });
  }

  #draw() {
    const { view } = this.#chat;
    const { scrollHeight, clientHeight, scrollTop } = this.#log;
    const isNearEnd = scrollHeight - clientHeight - scrollTop < NEAR_END_PX; // else somebody reads further up
    const all = rows(this.#chat);
    this.#draft.removeLogged(view.turns);
    this.#drawTurns(all);
    this.#empty.hidden = all.length || view.seq === null || view.seq < view.head || view.earlier;
    this.#earlier.hidden = !view.earlier;
    this.#stop.hidden = !running(this.#chat);
    setText(this.#status, this.#textOf(this.#error) || this.#statusOf(all.at(-1)));
    if (isNearEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #drawTurns(all) {
    this.#articles = new Map(all.map((row) => [row.id ?? row.turn, this.#drawArticle(row)]));
    const { children } = this.#turns;
    let place = 0;
    for (const article of this.#articles.values()) {
      if (children[place] !== article) this.#turns.insertBefore(article, children[place]);
      place += 1;
    }
    while (children.length > place) this.#turns.lastChild.remove();
  }

  /** Returns the text of the status line: of the last turn while connected, else of the connection. */
  #statusOf({ status, reason } = {}) {
    const { state } = this.#chat;
    if (this.#draft.hasQuestion) return this.#texts.unsent;
    if (state === "waiting") return this.#texts.connecting;
    if (state !== "open") return this.#texts[state];
    const name = reason === "stop" ? "done" : (reason ?? status);
    return this.#texts[name] ?? "";
  }

  /** Returns a turn's article, drawn where the row is a new one. */
  #drawArticle(row) {
    const article = this.#articles.get(row.id ?? row.turn) ?? this.#createArticle();
    if (article.row === row) return article;
    const [question, thought, answer, badge] = article.children;
    article.row = row;
    article.part = `turn ${row.status}`;
    setText(question, row.question);
    drawThinking(thought, row, (name, seconds) => this.#texts[name].replace("{seconds}", seconds));
    update(answer, row.answer);
    setText(badge, this.#badgeOf(row));
    return article;
  }

  #createArticle() {
    const thought = createPart("details", "thought", createPart("summary", "thought-label"), createPart("div", "thought-text"));
    thought.name = ""; // of several with one name, only one would be open
    return createPart(
      "article",
      "turn",
      createPart("h2", "question"),
      thought,
      createPart("div", "answer"),
      createPart("p", "badge"),
      createPart("button", "retry", this.#texts.retry),
    );
  }

  /** Returns why a turn has no whole answer, or empty; for a reason that is not known here, its name. */
  #badgeOf({ status, reason, error }) {
    if (error) return error.message;
    if (status === "sending") return this.#texts.sending;
    if (!reason || reason === "stop") return "";
    return this.#textOf(reason);
  }
}

globalThis.customElements?.define("ask-bot", AskBot);
