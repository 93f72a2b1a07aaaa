/**
 * The page: its conversation (conversation.js), those that this browser knows (conversation-store.js), and what is drawn.
 *
 * For tests and style sheets, these stay:
 *   #ask (form) #question #length #new #earlier #latest #model #notice #announce #empty
 *   #send #stop: one of them is shown. #offline with #try-now, #undo with #take-back: hidden where there is nothing to say
 *   #state[data-state=connecting|open|waiting|closed]
 *   #turns > article[data-turn][data-id][data-status=sending|waiting|thinking|answering|ended][data-reason]
 *     .question .thought (details) .wait .answer .badge .about (details) .meta, form.edit (while a question is edited)
 *     button[data-do=retry|edit|branch|copy|copy-code|fold][aria-busy]
 *   An article with an empty data-turn is a question that is not in the log yet.
 *   #list (on a narrow screen in #drawer: #menu opens, #close closes it) #search #none
 *   #sessions > li[data-session] a[aria-current], button[data-do=more|rename|as_markdown|as_json|delete], form.rename
 *   #more-conversations #take-along with #take and #decline, #account with #user, #sign-out, #sign-in-open
 *   #confirm (dialog) #confirm-yes #confirm-no
 *   #sign-in with #key #keep #sign-in-submit, or #sign-in-link; body[data-view=sign-in] where there is nothing else
 * The address has ?session= once something was asked; #token= is read and removed.
 */
import { isComposing } from "../composing.js";
import { UNAUTHORIZED } from "../connection.js";
import { rows, running } from "../rows.js";
import { shown } from "../view.js";
import { ensureIdentity, initAccount } from "./account.js";
import * as address from "./address.js";
import { Commands } from "./commands.js";
import { composerField, drawComposer, initComposer, isAskedEarly } from "./composer.js";
import { drawConnection } from "./connection-state.js";
import { Conversation } from "./conversation.js";
import { ConversationActions } from "./conversation-actions.js";
import { ConversationStore, titleOf } from "./conversation-store.js";
import { announce, byId, drawWithFocus, setText, showBusy } from "./dom.js";
import { takeEarlyText } from "./early-text.js";
import { fetchIdentity } from "./identity.js";
import { currentKey, keyFragment } from "./key.js";
import { initList } from "./list.js";
import { loadRenderMath } from "./math.js";
import { isSignInRequired, offerSignIn, signInAgain, tokenFor } from "./sign-in.js";
import * as strings from "./strings.js";
import { markAnswered } from "./tab-title.js";
import { badgeOf } from "./turn-text.js";
import { runAction } from "./turn.js";
import { articleOf, drawAbove, drawTurns, followEnd } from "./turns.js";

const { translate, translateError } = strings;
const notice = byId("notice");
const identity = await ensureIdentity();
const { user } = identity;
const key = currentKey();
const server = { url: new URL("v1/chat", document.baseURI), token: () => tokenFor(identity, onCookieLost) };
const keptFor = (owner) =>
  new ConversationStore(() => localStorage, {
    tabStorage: () => sessionStorage,
    path: new URL(".", document.baseURI).pathname,
    user: owner,
  });
const store = keptFor(user);
const list = user === null ? null : await openServerList();
const actions = new ConversationActions(server, store, {
  chat: () => conversation.chat,
  onDeleted: (session) => (session === conversation.chat.session ? navigate(null) : drawList()),
  onLost: removeLost,
  onError: (text) => setText(notice, text),
});
const commands = new Commands({ current: () => conversation, openBranch, onError });
let conversation; // the one on the page
let refusal; // why somebody had to sign in again last: the cause of a connection that was refused
let isDrawScheduled = false;

// --- who is signed in ------------------------------------------------------------------------------------------------

/** Returns the user's list, whose module is loaded for users only. */
async function openServerList() {
  const { ServerList } = await import("./server-list.js");
  return new ServerList(store, { chat: () => conversation.chat, onChange: () => drawList() });
}

/** Offers the conversations that this browser had before somebody has signed in. */
async function offerOwnConversations() {
  const { offerToTakeAlong } = await import("./take-along.js");
  offerToTakeAlong({ server, from: keptFor(null), store, onTaken: () => drawList() });
}

/** Begins anew as whoever is signed in now: nothing of anybody else is left. */
function restart() {
  conversation.close();
  history.replaceState(null, "", address.addressOf(null) + keyFragment());
  location.reload();
}

function onRefusedConnection(cause) {
  refusal = cause;
  signInAgain(identity, {
    onOther: restart,
    onAgain() {
      const { chat } = conversation;
      setText(notice, "");
      if (chat.state === "closed") open(chat.session);
      else chat.reconnect();
      onState();
    },
  });
  onState();
}

/** The cookie is that of nobody, or of somebody else. */
function onCookieLost({ user: other }) {
  if (other === null) onRefusedConnection(conversation.chat.connection.cause);
  else restart();
}

/** Returns whether a connection is another user's. Then the conversation is left: nothing may be asked or kept as another's. */
function isOther(found) {
  if (found === undefined || found === user) return false;
  conversation.close();
  restartAsOther(found);
  return true;
}

async function restartAsOther(found) {
  const now = await fetchIdentity(currentKey()).catch(() => identity);
  if (now.user !== user) restart();
  else setText(notice, translate("signed_in_other", { user: found ?? translate("nobody") }));
}

// --- the conversation on the page ------------------------------------------------------------------------------------

/** Shows a conversation in place of the one on the page; without a session, a new one. */
function open(session) {
  const hasUnsent = conversation?.close();
  followEnd();
  commands.reset();
  setText(notice, hasUnsent ? translate("unsent") : "");
  conversation = new Conversation({
    server,
    session,
    store,
    field: composerField,
    listeners: { change: scheduleDraw, state: onState, frame: onFrame, error: onError },
    onRefused,
    isOther,
    onListed: () => drawList(conversation?.chat.session),
  });
  onState();
  drawList(session);
}

/** Shows a conversation, as a step of the browser's history; with null, a new one. */
function navigate(session) {
  if (session !== null && session === conversation.chat.session) return;
  history.pushState(null, "", address.addressOf(session));
  open(session);
}

/** Shows a fork of a conversation, under its title. */
function openBranch(session, origin) {
  const title = store.find(origin)?.title ?? translate("title");
  store.recordUse(session, { title, used: Date.now() });
  store.rename(session, translate("branch_title", { title }));
  navigate(session);
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
  const { session, view } = conversation.chat;
  const [first] = shown(view.turns);
  if (!first) return;
  const knownTitle = view.title || (view.earlier ? store.find(session)?.title : null); // the first question is not here
  conversation.record(knownTitle || titleOf(first.question), used);
  store.saveSearchText(session, view.turns.map((turn) => `${turn.question}\n${turn.answer}`).join("\n"));
  updateAddress(session);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

/** Returns the rows to draw, with what the page knows beyond them. */
function pageRows(chat) {
  const isOffline = chat.state !== "open";
  let before = 0; // answers that come first
  return rows(chat).map((row) => {
    const isUnsent = row.status === "sending" || Boolean(row.pending);
    const more = { ...(isOffline && isUnsent && { isOffline }), ...(before && row.status === "waiting" && { before }) };
    if (row.status !== "ended") before += 1;
    return Object.keys(more).length ? { ...row, ...more } : row;
  });
}

function draw() {
  isDrawScheduled = false;
  const { chat } = conversation;
  const { view } = chat;
  const drawn = pageRows(chat);
  const target = running(chat);
  drawWithFocus(() => {
    byId("empty").hidden = drawn.length > 0 || view.seq === null || view.seq < view.head || view.earlier;
    byId("earlier").hidden = !view.earlier;
    setText(byId("model"), view.model ?? "");
    drawComposer({
      questionLimit: view.limits?.question_chars,
      canStop: target !== undefined,
      isStopping: drawn.some(({ turn, pending }) => turn === target && pending === "cancel"),
    });
    drawTurns(drawn);
  });
  commands.restoreEdits();
}

/** Draws once an animation frame at most; a hidden page has none, and is drawn when it is seen. */
function scheduleDraw() {
  if (isDrawScheduled) return;
  isDrawScheduled = true;
  requestAnimationFrame(draw);
}

const drawList = initList(store, list, {
  open: navigate,
  rename,
  delete: (session) => actions.delete(session),
  as_markdown: (session) => actions.saveFile(session, "md"),
  as_json: (session) => actions.saveFile(session, "json"),
});

/** Removes a conversation that the server does not have any more: it has expired, or was deleted elsewhere. */
function removeLost(session) {
  store.remove(session);
  drawList();
}

/** Names a conversation on the server; that of a reader whom it does not know, here only. */
async function rename(session, title) {
  if (!list) return;
  try {
    await actions.rename(session, title);
  } catch (error) {
    setText(notice, translateError(error));
  }
  list.refresh();
}

// --- what happens ----------------------------------------------------------------------------------------------------

function onFrame(frame) {
  const { state, view } = conversation.chat;
  const { head, turns } = view;
  // Before `ready` it is not known as whom the server does not have it.
  if (frame.code === "session_not_found" && frame.session && state === "open") removeLost(frame.session);
  const isNew = frame.seq > head; // not a part of what is read again
  if (frame.type === "question") conversation.removeLogged();
  if (isNew) onNewEvent(frame);
  else if (frame.seq === head) recordConversation(Date.parse(turns.at(-1)?.created));
}

function onNewEvent(event) {
  const { type, reason } = event;
  if (type === "token" || type === "thinking") return;
  recordConversation(type === "title" ? 0 : Date.now()); // a name is no use
  if (type !== "question") list?.refresh();
  if (type === "question") {
    announce(translate("waiting"));
    commands.onLogged(event);
  } else if (type === "done") {
    announce(reason === "stop" ? translate("complete") : badgeOf(event, strings));
    if (reason !== "cancelled") markAnswered();
  }
}

function onError(error) {
  if ((error.code === "unauthorized" && isSignInRequired()) || list?.isOwnRequest(error.id)) return; // where one signs in, it is said
  if (error.id?.startsWith("auth-")) return; // the connection is closed in time, and then it is said
  const isNew = !address.session() || store.find(conversation.chat.session)?.isUnsent; // the server has nothing of it
  if (error.code !== "session_not_found" || !isNew) setText(notice, translateError(error));
}

/** Says why a question is refused. The text of an edit goes back into its form, where its turn is still there. */
function onRefused(error, turn) {
  setText(notice, translateError(error));
  const article = error.text && articleOf(turn);
  if (article) {
    conversation.saveEdit(turn, error.text);
    commands.edit(article, { text: error.text });
  }
  return Boolean(article);
}

function onState() {
  const { chat } = conversation;
  const { cause } = chat.connection;
  const isNew = cause?.closeCode === UNAUTHORIZED && cause !== refusal;
  if (isNew && (currentKey() || chat.state === "closed")) return onRefusedConnection(cause); // a cookie is looked at first
  scheduleDraw();
  drawConnection(chat, isSignInRequired());
  if (chat.state === "waiting") setText(byId("announce"), translate("lost")); // once, however often it is tried
  if (chat.state === "open") onOpen();
}

function onOpen() {
  if (address.session() !== conversation.chat.session) updateAddress(null);
  const isLostAnnounced = byId("announce").textContent === translate("lost");
  if (isLostAnnounced) announce(translate("again"));
  actions.deleteOnServer();
  list?.refresh();
}

/** Asks what is in the field, or an example. */
function ask(example) {
  setText(notice, "");
  followEnd();
  if (example) conversation.ask(example);
  else conversation.submit();
}

function stop() {
  const { chat } = conversation;
  chat.cancel(running(chat)).catch(() => {});
}

async function showEarlier() {
  const first = byId("turns").firstElementChild;
  await showBusy(byId("earlier"), conversation.chat.history());
  const hadFocus = document.activeElement === byId("earlier");
  await drawAbove(draw);
  if (!hadFocus || !byId("earlier").hidden) return;
  first.tabIndex = -1; // what one has read up to: the button is gone
  first.focus({ preventScroll: true });
}

/** Closes an open detail by Escape, else stops the answer, where that key is nobody else's. */
function onKeydown(event) {
  const { key, target, defaultPrevented } = event;
  if (key !== "Escape" || defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
  const details = target.closest("details[open]");
  if (details) {
    details.open = false;
    details.querySelector("summary").focus();
  } else if (!target.closest("#list, form:not(#ask)") && running(conversation.chat) !== undefined) {
    stop();
  }
}

function onTurnsClick({ target }) {
  const button = target.closest("[data-do]");
  if (!button) return;
  runAction(button, {
    retry: (article) => commands.retry(article),
    edit: (article) => commands.edit(article),
    branch: (article) => commands.branch(article),
  });
}

byId("turns").addEventListener("click", onTurnsClick);
byId("earlier").addEventListener("click", showEarlier);
byId("try-now").addEventListener("click", () => conversation.chat.reconnect());
byId("latest").addEventListener("click", () => {
  drawWithFocus(followEnd);
  scheduleDraw();
});
byId("new").addEventListener("click", () => {
  navigate(null);
  byId("question").focus();
});
byId("empty").addEventListener("click", ({ target }) => {
  const example = target.closest("button");
  if (example && running(conversation.chat) === undefined) ask(example.textContent); // or it was clicked twice
});
addEventListener("keydown", onKeydown);
addEventListener("resize", scheduleDraw);
addEventListener("popstate", () => {
  if (currentKey() !== key) return location.reload(); // the address had another one
  open(address.session());
});
document.addEventListener("visibilitychange", () => document.hidden || list?.refresh());
addEventListener("focus", () => list?.refresh());
addEventListener("pagehide", ({ persisted }) => persisted && conversation.release());
addEventListener("pageshow", ({ persisted }) => persisted && conversation.hold());

initAccount(identity, {
  store,
  close: () => conversation.close(),
  onSignIn: () => offerSignIn(identity, restart),
});
await loadRenderMath();
const typed = composerField.value;
open(address.session() ?? store.lastSession());
if (isAskedEarly) conversation.ask(typed.trim());
else conversation.addText(typed);
conversation.addText(takeEarlyText());
initComposer({ onInput: () => conversation.save(), onSubmit: ask, onStop: stop });
if (user !== null) offerOwnConversations();
else if (identity.isRefused) offerSignIn(identity, restart);
