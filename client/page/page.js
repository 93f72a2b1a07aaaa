/**
 * The page: a conversation (askbot.js), the conversations that this browser knows (conversation-store.js), and what is
 * drawn of both.
 *
 * For tests and style sheets, these stay:
 *   #ask (form) #question #send #stop #new #earlier #latest #model #notice #announce #empty
 *   #state[data-state=connecting|open|waiting|closed]
 *   #turns > article[data-turn][data-id][data-status=sending|waiting|thinking|answering|ended][data-reason]
 *     .question .thought (details) .answer .meta .badge, button[data-do=retry|edit|copy|copy-code], form.edit (while a question is edited)
 *   An article with an empty data-turn is a question that is not in the log yet.
 *   #list (in #drawer on a narrow screen, opened by #menu, closed by #close) #search #none
 *   #sessions > li[data-session] a[aria-current], button[data-do=more|rename|as_markdown|as_json|delete], form.rename
 *   #confirm (dialog) #confirm-yes #confirm-no
 * The address has ?session=, once something was asked; #token=, where the server wants one, is read and removed.
 */
import { connect } from "../askbot.js";
import { rows, running } from "../rows.js";
import { Draft, unsentOf } from "../unsent.js";
import { shown } from "../view.js";
import * as address from "./address.js";
import { fetchAllTurns } from "./background-connection.js";
import { askForConfirmation } from "./confirm.js";
import { ConversationStore, titleOf } from "./conversation-store.js";
import { announce, byId, downloadFile, setText } from "./dom.js";
import { fileName, jsonOf, markdownOf } from "./export.js";
import { createList, focusNeighbour } from "./list.js";
import * as strings from "./strings.js";
import { fitHeight, submitOnEnter } from "./text-field.js";
import { badgeOf } from "./turn-text.js";
import { runAction } from "./turn.js";
import { drawAbove, drawTurns, followEnd } from "./turns.js";

const { translate, translateError } = strings;
const notice = byId("notice");
const question = byId("question");
const server = { url: new URL("v1/chat", document.baseURI), token: address.currentToken };
const { pathname: path } = new URL(".", document.baseURI);
const store = new ConversationStore(() => localStorage, { tabStorage: () => sessionStorage, path });
const draft = new Draft({
  get value() {
    return question.value;
  },
  set value(text) {
    setQuestion(text);
  },
});
let chat; // the conversation on the page
let listeners; // an AbortController of our listeners on `chat`
let isDrawScheduled = false;
const deleting = new Set(); // the sessions whose deletion the server has still to answer
let kept = []; // the questions that were kept when the page was left

const badge = (turn) => badgeOf(turn, strings);

// --- the conversation on the page ------------------------------------------------------------------------------------

/** Connects to a conversation in the place of the one on the page; without a session, to a new one. */
function open(session) {
  const hasUnsent = chat && closeCurrent();
  followEnd();
  setText(notice, hasUnsent ? translate("unsent") : "");
  const storage = {
    getItem: () => session,
    setItem: (_, id) => store.saveLastSession(id),
    removeItem: () => store.saveLastSession(null),
  };
  chat = connect({ ...server, storage });
  listeners = new AbortController();
  const { signal } = listeners;
  chat.addEventListener("change", scheduleDraw, { signal });
  chat.addEventListener("state", ({ detail }) => onState(detail), { signal });
  chat.addEventListener("frame", ({ detail }) => onFrame(detail), { signal });
  chat.addEventListener("error", ({ detail }) => onError(detail), { signal });
  setQuestion(store.draft(listedSession()));
  giveBackUnsent();
  onState(chat.state);
  drawList(session);
}

/** Leaves the conversation on the page. Returns whether there are questions that were perhaps not sent: they are kept. */
function closeCurrent() {
  const hasUnsent = unsentOf(chat).length > 0;
  keepUnsent();
  listeners.abort();
  chat.close();
  return hasUnsent;
}

/** Keeps the questions that are not in the log, or that were given back and not asked again, and the rest of the draft. */
function keepUnsent() {
  const items = [...unsentOf(chat), ...draft.items];
  kept = items.filter(({ id }) => id);
  store.keepUnsent(listedSession(), kept);
  if (draft.hasQuestion) store.saveDraft(listedSession(), draft.items.find(({ id }) => !id)?.text);
}

/** Puts the questions that were kept into the field. */
function giveBackUnsent() {
  const unsent = store.takeUnsent(listedSession());
  if (!unsent.length) return;
  draft.add(unsent);
  saveDraft();
  setText(notice, translate("unsent"));
}

/** Removes the questions from the field that the server has got after all. */
function removeLogged() {
  if (!draft.removeLogged(chat.view.turns)) return;
  saveDraft();
  const isTold = notice.textContent === translate("unsent");
  if (isTold && !draft.hasQuestion) setText(notice, "");
}

/** The page was left, but not closed, and is shown again: its questions are still with its conversation. */
function onPageShow({ persisted }) {
  if (!persisted) return;
  store.withdrawUnsent(listedSession(), kept);
  saveDraft();
}

/** Returns the session of the conversation on the page; null where nothing was asked in it. */
function listedSession() {
  return store.find(chat.session) ? chat.session : null;
}

/** Shows a conversation, as a step of the browser's history; with null, a new one. */
function navigate(session) {
  if (session !== null && session === chat.session) return;
  history.pushState(null, "", address.addressOf(session));
  open(session);
}

/** Sets the address to the conversation on the page. */
function updateAddress(session) {
  if (address.session() !== session) history.replaceState(null, "", address.addressOf(session));
}

/**
 * Records the conversation on the page for the list: once the log was read to its end, then with each question and each
 * end of an answer.
 *
 * @param {number} used when it was asked something, in milliseconds since 1970
 */
function recordConversation(used) {
  const { turns, earlier } = chat.view;
  const [first] = shown(turns);
  if (!first) return;
  const knownTitle = earlier ? store.find(chat.session)?.title : null; // the first question is not here
  const isNew = store.recordUse(chat.session, { title: knownTitle ?? titleOf(first.question), used });
  if (isNew) {
    saveDraft();
    store.saveDraft(null, "");
  }
  store.saveSearchText(chat.session, turns.map((turn) => `${turn.question}\n${turn.answer}`).join("\n"));
  updateAddress(chat.session);
  drawList(chat.session);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function draw() {
  isDrawScheduled = false;
  const { view } = chat;
  const isOffline = chat.state !== "open";
  removeLogged();
  const drawn = rows(chat).map((row) => (row.status === "sending" && isOffline ? { ...row, isOffline } : row));
  byId("empty").hidden = drawn.length > 0 || view.seq === null || view.seq < view.head || view.earlier;
  byId("earlier").hidden = !view.earlier;
  byId("stop").hidden = !running(chat);
  setText(byId("model"), view.model ?? "");
  if (view.limits?.question_chars) question.maxLength = view.limits.question_chars;
  drawTurns(drawn);
}

/** Draws once an animation frame at most; a hidden page has none, and is drawn when it is seen. */
function scheduleDraw() {
  if (isDrawScheduled) return;
  isDrawScheduled = true;
  requestAnimationFrame(draw);
}

const drawList = createList(store, {
  open: navigate,
  delete: deleteAfterConfirmation,
  as_markdown: (session) => exportConversation(session, "md"),
  as_json: (session) => exportConversation(session, "json"),
});

// --- asking ----------------------------------------------------------------------------------------------------------

function ask(text, options) {
  followEnd();
  follow(chat.ask(text, options));
}

/** Waits for the outcome of what was asked. What is refused goes back into the field. */
async function follow(request) {
  const asked = chat;
  setText(notice, "");
  scheduleDraw();
  try {
    await request;
  } catch (error) {
    if (asked !== chat || error.code === "cancelled") return; // what was left is kept
    setText(notice, translateError(error));
    draft.addFailed(error);
    saveDraft();
  }
}

function setQuestion(text) {
  question.value = text;
  byId("send").disabled = !text.trim();
  fitHeight(question);
}

function saveDraft() {
  store.saveDraft(listedSession(), question.value);
}

function stop() {
  chat.cancel(running(chat));
}

async function showEarlier() {
  await chat.history().catch(() => {});
  await drawAbove(draw);
}

// --- other conversations ---------------------------------------------------------------------------------------------

async function deleteAfterConfirmation(session) {
  const isConfirmed = await askForConfirmation(translate("delete_question", store.find(session)));
  if (!isConfirmed) return;
  focusNeighbour(session);
  store.markDeleted(session);
  if (session === chat.session) navigate(null);
  else drawList();
  announce(translate("deleted"));
  deleteOnServer();
}

/** Deletes on the server what was deleted here. What fails is tried again when the page is connected again. */
function deleteOnServer() {
  for (const session of store.deletedSessions()) if (!deleting.has(session)) deleteSession(session);
}

async function deleteSession(session) {
  deleting.add(session);
  try {
    await chat.forget(session);
    store.confirmDeleted(session);
  } catch {
  } finally {
    deleting.delete(session);
  }
}

async function exportConversation(session, extension) {
  const { title } = store.find(session);
  const name = fileName(title, extension);
  try {
    const turns = await fetchAllTurns({ ...server, session });
    if (extension === "md") downloadFile(name, "text/markdown", markdownOf(title, turns, badge));
    else downloadFile(name, "application/json", jsonOf(session, title, turns));
    announce(translate("exported", { name }));
  } catch (error) {
    if (error.code === "session_not_found") removeLost(session);
    notice.textContent = translate("not_exported");
  }
}

/** Removes a conversation that the server does not have any more: it has expired, or was deleted elsewhere. */
function removeLost(session) {
  store.remove(session);
  drawList();
}

// --- what happens ----------------------------------------------------------------------------------------------------

function onFrame(frame) {
  if (frame.type === "error" && frame.code === "session_not_found" && frame.session) removeLost(frame.session);
  const { head, turns } = chat.view;
  const isNew = frame.seq > head; // not a part of what is read again
  if (isNew) onNewEvent(frame);
  else if (frame.seq === head) recordConversation(Date.parse(turns.at(-1)?.created));
}

function onNewEvent(event) {
  if (event.type === "token" || event.type === "thinking") return;
  if (event.type === "question") announce(translate("waiting"));
  if (event.type === "done") announce(event.reason === "stop" ? translate("complete") : badge(event));
  recordConversation(Date.now());
}

function onError(error) {
  const isEmpty = error.code === "session_not_found" && !address.session(); // nothing had been asked in it
  if (!isEmpty) setText(notice, translateError(error));
}

function onState(state) {
  scheduleDraw();
  byId("state").dataset.state = state;
  byId("state").lastChild.textContent = translate(`state_${state}`);
  if (state === "waiting") announce(translate("lost"));
  if (state === "open") onOpen();
}

function onOpen() {
  const wanted = address.session();
  if (wanted && wanted !== chat.session) {
    removeLost(wanted);
    updateAddress(null);
    saveDraft(); // of the new conversation, which has what was typed
  }
  const isLostAnnounced = byId("announce").textContent === translate("lost");
  if (isLostAnnounced) announce(translate("again"));
  deleteOnServer();
}

function onKeydown(event) {
  const isDialogOpen = document.querySelector("dialog[open]");
  if (event.key !== "Escape" || event.isComposing || isDialogOpen) return;
  if (!byId("stop").hidden) stop();
}

function onSubmit(event) {
  event.preventDefault();
  const { text, options } = draft.submit();
  saveDraft();
  if (text) ask(text, options);
}

function onTurnsClick({ target }) {
  const button = target.closest("[data-do]");
  if (!button) return;
  if (button.dataset.do === "retry") followEnd();
  runAction(button, {
    retry: (turn) => chat.retry(turn),
    edit: (turn, text) => follow(chat.edit(turn, text)),
  });
}

byId("turns").addEventListener("click", onTurnsClick);
byId("earlier").addEventListener("click", showEarlier);
byId("stop").addEventListener("click", stop);
byId("latest").addEventListener("click", () => {
  followEnd();
  scheduleDraw();
});
byId("new").addEventListener("click", () => {
  navigate(null);
  question.focus();
});
byId("empty").addEventListener("click", ({ target }) => {
  const example = target.closest("button");
  if (example) ask(example.textContent);
});
question.addEventListener("input", () => {
  setQuestion(question.value);
  saveDraft();
});
byId("ask").addEventListener("submit", onSubmit);
addEventListener("keydown", onKeydown);
addEventListener("resize", scheduleDraw);
addEventListener("popstate", () => open(address.session()));
addEventListener("pagehide", keepUnsent);
addEventListener("pageshow", onPageShow);

submitOnEnter(question, byId("ask"));
open(address.session() ?? store.lastSession());
