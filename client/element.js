/** `<ask-bot>`: a conversation as an element of any page. README.md has its attributes, parts, slots and events. */
import { connect } from "./askbot.js";
import { isComposing } from "./composing.js";
import { Composer, isTouchScreen } from "./element-composer.js";
import { offlineText } from "./element-connection.js";
import { createPart, createSlot, setPending, setText } from "./element-parts.js";
import { CSS } from "./element-style.js";
import { ENGLISH } from "./element-texts.js";
import { createArticle, drawPlainAnswer, drawTurn, toggleFold } from "./element-turn.js";
import { Following } from "./following.js";
import { rows, running } from "./rows.js";
import { Draft, Outbox, resend, unsentKey, unsentOf } from "./unsent.js";

const BUTTON_METHODS = ["fresh", "earlier", "latest", "stop", "retry", "reconnect"]; // each button calls the method of its name
const LAYER = ":is(:modal, :popover-open)"; // what closes by Escape
const SECOND_MS = 1000;

/** element.d.ts has the types of what is public. */
export class AskBot extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["server", "session", "token", "name", "id", "placeholder", "lang"];

  #chat = null;
  #outbox; // what is not sent, under #unsentKey
  #unsentKey; // of the server and the name with which it is connected
  #left = null; // questions that were not sent when this was taken out of its document
  #isDrawScheduled = false;
  #timer; // to draw again what changes with time
  #token; // with which it connected last
  #error; // the message of the last error; empty once something is asked, or another conversation is shown
  #renderMath;
  #ticket;
  #answers = null; // element-answer.js, or what is there in its place, once it is loaded
  #isLoading = false; // whether that is being loaded
  #texts = ENGLISH;
  #articles = new Map(); // by the question's id, so that an article stays when its question enters the log
  #status = createPart("p", "status");
  #fresh = createPart("button", "fresh");
  #connection = createPart("p", "connection");
  #reconnect = createPart("button", "reconnect");
  #offline = createPart("div", "offline", this.#connection, this.#reconnect);
  #earlier = createPart("button", "earlier");
  #hint = createPart("p", "hint");
  #empty = createSlot("empty", this.#hint);
  #turns = createPart("div", "turns");
  #latest = createPart("button", "latest");
  #log = createPart("section", "log", this.#earlier, this.#empty, this.#turns, this.#latest);
  #following = null; // while it is in a document
  #followed = new WeakSet(); // requests whose outcome is waited for
  #composer = new Composer({ onInput: () => this.#onInput(), onSubmit: () => this.#onSubmit() });
  #field = this.#composer.field;
  #draft = new Draft(this.#field);

  constructor() {
    super();
    const shadow = this.attachShadow({ mode: "open" });
    const header = createPart("div", "header", createSlot("header"), this.#status, this.#fresh);
    const root = document.createElement("div");
    root.id = "root";
    root.append(header, this.#offline, this.#log, this.#composer.form, createSlot("footer"));
    shadow.append(root);
    this.adoptedCallback();
    this.#status.role = "status";
    this.#log.tabIndex = 0;
    root.addEventListener("click", (event) => this.#onClick(event));
    root.addEventListener("keydown", (event) => this.#onKeydown(event));
    const { renderMath, ticket } = this; // set before this was defined, they hide the accessors
    delete this.renderMath;
    delete this.ticket;
    this.#renderMath = renderMath;
    this.#ticket = ticket;
  }

  // --- what a page calls ---------------------------------------------------------------------------------------------

  get chat() {
    return this.#chat;
  }

  get renderMath() {
    return this.#renderMath;
  }

  set renderMath(renderMath) {
    this.#renderMath = renderMath;
    this.#redraw();
  }

  get ticket() {
    return this.#ticket;
  }

  set ticket(ticket) {
    this.#ticket = ticket;
    this.attributeChangedCallback("token");
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

  latest() {
    this.#following.followEnd();
  }

  reconnect() {
    if (this.#chat.state === "closed") this.attributeChangedCallback("token"); // it was refused: with what the token is now
    else this.#chat.reconnect();
  }

  // --- what the browser calls ----------------------------------------------------------------------------------------

  connectedCallback() {
    this.#setTexts(ENGLISH);
    if (this.#isKorean()) this.#loadKorean();
    this.#following ??= new Following(this.#log, { content: this.#turns, onChange: () => this.#scheduleDraw() });
    if (!this.#chat) this.#open();
    if (this.#following.isFollowing) this.latest(); // one that was moved has lost its place
    this.#scheduleDraw();
  }

  /** Its style is lost with each document. */
  adoptedCallback() {
    this.#setStyle();
    this.#stopFollowing();
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
    const token = () => (this.#token = this.getAttribute("token"));
    const chat = connect({ ...place, session, token, ticket: () => this.#ticket?.() });
    for (const type of ["change", "state"]) chat.addEventListener(type, () => this.#scheduleDraw());
    chat.addEventListener("error", ({ detail }) => this.#onError(detail));
    this.#error = "";
    this.#chat = chat;
    this.#openOutbox(unsentKey(place.url, place.name));
    addEventListener("pagehide", this.#onPagehide);
    addEventListener("pageshow", this.#onPageshow);
  }

  /** Closes the connection. What was not sent is in the field then; where this is in no document, it waits until it is in one. */
  #close() {
    if (!this.#chat) return;
    removeEventListener("pagehide", this.#onPagehide);
    removeEventListener("pageshow", this.#onPageshow);
    this.#save();
    if (this.isConnected) this.#giveBackUnsent();
    else {
      this.#left = unsentOf(this.#chat);
      this.#outbox.release();
      this.#stopFollowing();
    }
    this.#chat.close();
    this.#chat = null;
  }

  #stopFollowing() {
    this.#following?.disconnect();
    this.#following = null;
  }

  // --- what is not sent ----------------------------------------------------------------------------------------------

  /** Asks what was not sent here before, and has in the field what was typed. */
  #openOutbox(key) {
    const isElsewhere = key !== this.#unsentKey;
    const left = this.#left;
    this.#left = null;
    this.#unsentKey = key;
    if (left) this.#outbox.hold();
    this.#outbox ??= new Outbox(key);
    this.#outbox.move(key);
    for (const item of left ?? []) this.#takeOver({ ...item, isDraft: isElsewhere });
    this.#save();
    this.#outbox.takeOver((item) => this.#takeOver(item));
  }

  #takeOver({ isDraft, session, ...item }) {
    const isElsewhere = session && this.#chat.session && session !== this.#chat.session;
    if (isDraft || isElsewhere) this.#draft.add([item]);
    else this.#follow(resend(this.#chat, item));
    this.#drawForm();
  }

  #giveBackUnsent() {
    this.#draft.add(unsentOf(this.#chat));
  }

  /** Keeps what is asked and not acknowledged, and what stands in the field, in case that the page ends now. */
  #save() {
    const { session } = this.#chat;
    const asked = unsentOf(this.#chat).map((item) => ({ ...item, session }));
    const typed = this.#draft.items.map((item) => ({ ...item, isDraft: true }));
    this.#outbox.keep([...asked, ...typed]);
  }

  #onPagehide = () => this.#outbox.release();

  /** Where the page has only rested, what is not sent is its own again. */
  #onPageshow = ({ persisted }) => persisted && this.#outbox.hold();

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Makes a request, and follows its answer. Returns it. */
  #request(method, ...given) {
    if (this.#chat.state !== "closed") this.#error = ""; // before it, as it may fail at once
    const request = this.#chat[method](...given);
    this.latest();
    this.#follow(request);
    return request;
  }

  /** Waits for the outcome of what was asked: tells the page of its end, or gives back what is not in the log. */
  async #follow(request) {
    const chat = this.#chat;
    this.#save();
    if (this.#followed.has(request)) return; // the same command was made again
    this.#followed.add(request);
    try {
      this.#dispatch("askbot-done", await request);
    } catch ({ code, id, text }) {
      if (code === "closed" && chat !== this.#chat) return; // it was given back, or waits to be asked again
      const isWanted = code !== "cancelled" || !this.#draft.items.length;
      if (isWanted) this.#draft.addFailed({ id, text });
      if (this.#chat) this.#drawForm();
    }
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
  #translate = (name, values) => (this.#texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key]);

  #setTexts(texts) {
    this.#texts = texts;
    this.#log.ariaLabel = texts.log;
    this.#hint.textContent = texts.hint;
    this.#field.placeholder = this.#field.ariaLabel = this.getAttribute("placeholder") ?? texts.field;
    for (const button of this.shadowRoot.querySelectorAll("button")) button.textContent = texts[button.name];
    this.#redraw();
  }

  // --- what a reader does --------------------------------------------------------------------------------------------

  #onClick({ target }) {
    if (!target.matches("button[part]") || target.ariaDisabled === "true") return;
    if (target.name === "fold") toggleFold(target.parentNode, this.#translate);
    else if (BUTTON_METHODS.includes(target.name)) this[target.name]();
  }

  #onInput() {
    this.#loadAnswers();
    if (!this.#chat) return;
    this.#drawForm(); // at once: it keeps what is typed
    this.#scheduleDraw();
  }

  #onSubmit() {
    this.#drawForm();
    if (this.#composer.isTooLong) return;
    const { text, options } = this.#draft.submit();
    if (text) this.ask(text, options);
    this.#drawForm();
  }

  /** Escape stops the answer, unless it is meant for what is in a slot, or closes something that this is in. */
  #onKeydown(event) {
    if (event.key !== "Escape" || event.defaultPrevented || isComposing(event)) return;
    const isOwn = event.target.getRootNode() === this.shadowRoot;
    if (!isOwn || !running(this.#chat) || event.composedPath().some((node) => node.matches?.(LAYER))) return;
    event.preventDefault();
    this.stop();
  }

  // --- what is loaded later ------------------------------------------------------------------------------------------

  #hasAnswers() {
    return Boolean(this.#chat?.view.turns.some(({ answer, thinking }) => answer || thinking));
  }

  /**
   * Loads what draws answers, so that it is there before one is. Where that fails, as while there is no network, it is tried again;
   * where an answer is there already, they all are plain text.
   */
  async #loadAnswers() {
    if (this.#answers || this.#isLoading) return;
    this.#isLoading = true;
    try {
      this.#answers = await import("./element-answer.js");
      this.#setStyle();
    } catch {
      if (this.#hasAnswers()) this.#answers = { CSS: "", drawAnswer: drawPlainAnswer };
    }
    this.#isLoading = false;
    if (this.#answers) this.#scheduleDraw();
  }

  #setStyle() {
    const { CSSStyleSheet } = this.ownerDocument.defaultView;
    const sheet = new CSSStyleSheet(); // unlike a <style>, any Content-Security-Policy allows it
    sheet.replaceSync(CSS + (this.#answers?.CSS ?? ""));
    this.shadowRoot.adoptedStyleSheets = [sheet];
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

  /** Draws all turns again, in other words or with other formulas. */
  #redraw() {
    for (const article of this.#articles.values()) article.row = null;
    this.#scheduleDraw();
  }

  #draw() {
    const { view, state } = this.#chat;
    const all = rows(this.#chat);
    const focused = this.shadowRoot.activeElement;
    this.#draft.removeLogged(view.turns);
    const isReplaying = view.seq < view.head;
    const hasAnswers = this.#hasAnswers();
    if (hasAnswers || (state === "open" && (all.length || isReplaying))) this.#loadAnswers();
    if (this.#answers || !(hasAnswers || isReplaying)) this.#drawTurns(all); // else once it is loaded: questions alone would jump apart
    this.#empty.hidden = all.length || view.seq === null || isReplaying || view.earlier;
    this.#earlier.hidden = !view.earlier;
    setPending(this.#earlier, this.#isPending("history"), this.#texts.earlier);
    this.#latest.hidden = this.#following.isFollowing;
    this.#drawForm();
    const offline = offlineText(this.#chat.connection, Date.now(), this.#translate);
    this.#offline.hidden = !offline;
    setText(this.#connection, offline);
    setText(this.#status, this.#textOf(all.at(-1)));
    this.#following.scroll();
    if (focused?.checkVisibility?.() === false) this.#moveFocus(focused);
    const changesWithTime = state === "connecting" || state === "waiting" || all.some(({ status }) => status === "waiting");
    clearTimeout(this.#timer);
    if (changesWithTime) this.#timer = setTimeout(() => this.#scheduleDraw(), SECOND_MS);
  }

  /** Gives the focus to the field, or where a button of the log is gone, or the field would open a keyboard, to the log. */
  #moveFocus(focused) {
    const isLog = focused.name === "earlier" || focused.name === "retry" || isTouchScreen();
    (isLog ? this.#log : this.#field).focus({ preventScroll: true });
  }

  #isPending(type) {
    return this.#chat.requests().some((request) => request.type === type);
  }

  #drawTurns(all) {
    let before = 0; // how many answers come before the next one that waits
    const articles = all.map((row) => {
      const article = this.#articles.get(row.id ?? row.turn) ?? createArticle();
      drawTurn(article, row, { before, translate: this.#translate, renderMath: this.#renderMath, drawAnswer: this.#answers?.drawAnswer });
      before += Number(row.status !== "ended");
      return article;
    });
    this.#articles = new Map(all.map((row, place) => [row.id ?? row.turn, articles[place]]));
    const { children } = this.#turns;
    articles.forEach((article, place) => {
      if (children[place] !== article) this.#turns.insertBefore(article, children[place]);
    });
    while (children.length > articles.length) this.#turns.lastChild.remove();
  }

  /** Draws the form, and keeps what stands in it. */
  #drawForm() {
    this.#composer.draw({
      limit: this.#chat.view.limits?.question_chars,
      canStop: Boolean(running(this.#chat)),
      isStopping: this.#isPending("cancel"),
      translate: this.#translate,
    });
    this.#save();
  }

  /** Returns the text of the status: of the last turn while connected, else of the connection. */
  #textOf({ status, reason } = {}) {
    const { state } = this.#chat;
    if (this.#error) return this.#translate(this.#error);
    if (this.#draft.hasQuestion) return this.#texts.unsent;
    if (this.#composer.isTooLong) return this.#texts.question_too_long;
    if (state !== "open") return this.#texts[state === "closed" ? state : "connecting"];
    const name = reason === "stop" ? "done" : (reason ?? status);
    return this.#texts[name] ?? "";
  }
}

globalThis.customElements?.define("ask-bot", AskBot);
