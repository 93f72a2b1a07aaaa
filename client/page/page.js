/**
 * The page: a conversation (askbot.js), the list of those that there were (conversation-store.js), and what is drawn of both.
 *
 * For tests and style sheets, these stay:
 *   #ask (form) #question #send #stop #new #earlier #latest #model #notice #announce #empty
 *   #state[data-state=connecting|open|waiting|closed]
 *   #turns > article[data-turn][data-id][data-status=sending|waiting|answering|ended][data-reason]
 *     .question .answer .meta .badge, button[data-do=retry|edit|copy|copy-code], form.edit (while a question is edited)
 *   An article with an empty data-turn is a question that is not in the log yet.
 *   #list (in #drawer on a narrow screen, opened by #menu, closed by #close) #search #none
 *   #sessions > li[data-session] a[aria-current], button[data-do=more|rename|as_markdown|as_json|delete], form.rename
 *   #confirm (dialog) #confirm-yes #confirm-no
 * The address has ?session=, once something was asked, and may have #token= where the server wants one.
 */
import { connect } from "../askbot.js";
import { rows, running } from "../rows.js";
import { shown } from "../view.js";
import * as address from "./address.js";
import { confirmed } from "./confirm.js";
import { $, announce, download, set } from "./dom.js";
import { allOf, forget } from "./background-connection.js";
import { grow, sends } from "./text-field.js";
import { focusBeside, list } from "./list.js";
import { badgeOf } from "./turn-text.js";
import { fileName, jsonOf, markdownOf } from "./export.js";
import { Shelf, titleOf } from "./conversation-store.js";
import { act } from "./turn.js";
import { above, drawTurns, follow } from "./turns.js";
import { say, sayError, sayReason } from "./strings.js";

const server = { url: new URL("v1/chat", document.baseURI), token: address.token() };
const shelf = new Shelf(() => localStorage);
let bot, listening; // the connection of the conversation on the page, and what ends our listening to it
let due = false;

const badge = (turn) => badgeOf(turn, say, sayError, sayReason);

// --- the conversation on the page ------------------------------------------------------------------------------------

/** Another one, or, without a session, a new one. */
function open(session) {
  if (bot) leave();
  follow();
  $("notice").textContent = "";
  const storage = { getItem: () => session, setItem: (_, id) => shelf.keepLast(id), removeItem: () => shelf.keepLast(null) };
  bot = connect({ ...server, storage });
  listening = new AbortController();
  const { signal } = listening;
  const onError = ({ detail }) => set($("notice"), sayError(detail));
  for (const [name, listener] of Object.entries({ change: redraw, state: onState, frame: onFrame, error: onError }))
    bot.addEventListener(name, listener, { signal });
  fill(shelf.draft(listed()));
  onState({ detail: bot.state });
  drawList(session);
}

/** What waits for a connection is not lost with it: it becomes the draft. */
function leave() {
  const unsent = bot.state === "open" ? [] : bot.pending().map(({ text }) => text);
  if (unsent.length) shelf.keepDraft(listed(), [...unsent, $("question").value].filter(Boolean).join("\n\n"));
  listening.abort();
  bot.close();
}

/** The session, if there is something in it. */
const listed = () => (shelf.find(bot.session) ? bot.session : null);

function go(session) {
  if (session !== null && session === bot.session) return;
  history.pushState(null, "", address.addressOf(session));
  open(session);
}

/** The address names what is on the page. */
function name(session) {
  if (address.session() !== session) history.replaceState(null, "", address.addressOf(session));
}

/** Put down what the list has to know: once the log was read to its end, then with each question and each end. */
function note(used) {
  const { turns, earlier } = bot.view;
  const first = shown(turns)[0];
  if (!first) return;
  const title = earlier ? (shelf.find(bot.session)?.title ?? titleOf(first.question)) : titleOf(first.question);
  const fresh = shelf.note(bot.session, { title, used });
  if (fresh) keepDraft(), shelf.keepDraft(null, "");
  shelf.remember(bot.session, turns.map(({ question, answer }) => `${question}\n${answer}`).join("\n"));
  name(bot.session);
  drawList(bot.session);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function drawAll() {
  due = false;
  const { view } = bot;
  const drawn = rows(bot).map((row) => (row.status === "sending" && bot.state !== "open" ? { ...row, waits: true } : row));
  $("empty").hidden = drawn.length > 0 || view.seq === null || view.seq < view.head || view.earlier;
  $("earlier").hidden = !view.earlier;
  $("stop").hidden = !running(bot);
  set($("model"), view.model ?? "");
  if (view.limits?.question_chars) $("question").maxLength = view.limits.question_chars;
  drawTurns(drawn);
}

/** Drawn once a frame at most; a hidden page has no frames, and draws when it is seen. */
function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(drawAll);
}

const drawList = list(shelf, { open: go, delete: remove, as_markdown: saveAs("md"), as_json: saveAs("json") });

// --- asking ----------------------------------------------------------------------------------------------------------

function ask(text) {
  follow();
  $("notice").textContent = "";
  bot.ask(text).then(
    () => {},
    (error) => {
      if (error.code === "cancelled" || error.code === "closed") return;
      $("notice").textContent = sayError(error);
      if (!$("question").value) fill(text), keepDraft(); // nothing that was typed is lost
    },
  );
  redraw();
}

function fill(text) {
  $("question").value = text;
  $("send").disabled = !text.trim();
  grow($("question"));
}

const keepDraft = () => shelf.keepDraft(listed(), $("question").value);

const stop = () => bot.cancel(running(bot));

async function showEarlier() {
  await bot.history().catch(() => {});
  await above(drawAll);
}

// --- the others ------------------------------------------------------------------------------------------------------

async function remove(session) {
  if (!(await confirmed(say("delete_question", shelf.find(session))))) return;
  focusBeside(session);
  shelf.remove(session);
  if (session === bot.session) go(null);
  else drawList();
  announce(say("deleted"));
  forgetAll();
}

/** Tell the server of what was deleted here; what fails is tried again when the page is connected again. */
function forgetAll() {
  for (const session of shelf.gone()) forget({ ...server, session }).then(() => shelf.forgotten(session), () => {});
}

function saveAs(kind) {
  return async (session) => {
    const { title } = shelf.find(session);
    try {
      const turns = await allOf({ ...server, session });
      if (kind === "md") download(fileName(title, kind), "text/markdown", markdownOf(title, turns, badge));
      else download(fileName(title, kind), "application/json", jsonOf(session, title, turns));
      announce(say("exported", { name: fileName(title, kind) }));
    } catch (error) {
      if (error.code === "session_not_found") gone(session);
      $("notice").textContent = say("not_exported");
    }
  };
}

// --- what happens ----------------------------------------------------------------------------------------------------

function onFrame({ detail: frame }) {
  const news = frame.seq > bot.view.head; // a replay is none
  if (frame.type === "error" && frame.code === "session_not_found" && frame.session) gone(frame.session);
  if (news && frame.type === "question") announce(say("waiting"));
  if (news && frame.type === "done") announce(frame.reason === "stop" ? say("complete") : badge(frame));
  if (news ? frame.type !== "token" : frame.seq === bot.view.head) note(news ? Date.now() : Date.parse(bot.view.turns.at(-1)?.created));
}

/** The server has it no more: it expired, or somebody deleted it elsewhere. */
function gone(session) {
  shelf.drop(session);
  drawList();
}

function onState({ detail: state }) {
  redraw();
  $("state").dataset.state = state;
  $("state").lastChild.textContent = say(`state_${state}`);
  if (state === "waiting") announce(say("lost"));
  if (state === "open") onOpen();
}

function onOpen() {
  const wanted = address.session();
  if (wanted && wanted !== bot.session) gone(wanted), name(null);
  if ($("announce").textContent === say("lost")) announce(say("again"));
  forgetAll();
}

function onKey(event) {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (!$("stop").hidden) stop();
}

$("turns").addEventListener("click", ({ target }) => {
  const from = target.closest("[data-do]");
  if (from?.dataset.do === "retry") follow();
  if (from) act(from, bot);
});
$("earlier").addEventListener("click", showEarlier);
$("stop").addEventListener("click", stop);
$("latest").addEventListener("click", () => (follow(), redraw()));
$("new").addEventListener("click", () => (go(null), $("question").focus()));
$("empty").addEventListener("click", ({ target }) => target.closest("button") && ask(target.closest("button").textContent));
$("question").addEventListener("input", () => (fill($("question").value), keepDraft()));
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("question").value.trim();
  if (!text) return;
  fill("");
  keepDraft();
  ask(text);
});
addEventListener("keydown", onKey);
addEventListener("resize", redraw);
addEventListener("popstate", () => open(address.session()));

sends($("question"), $("ask"));
open(address.session() ?? shelf.last());
