/**
 * The page: a connection (askbot.js), a view (view.js) and what is drawn of it.
 *
 * For tests and style sheets, these stay:
 *   #ask (form) #question #send #stop #new #earlier #latest #model #notice #announce #empty
 *   #state[data-state=connecting|open|waiting|closed]
 *   #turns > article[data-turn][data-id][data-status=sending|waiting|answering|ended][data-reason]
 *     .question .answer .meta .badge, button[data-do=retry|edit|copy|copy-code], form.edit (while a question is edited)
 *   An article with an empty data-turn is a question that is not in the log yet.
 * The address may have ?session=, and #token= where the server wants one.
 */
import { connect } from "./askbot.js";
import { update } from "./markdown.js";
import { points, shown } from "./view.js";

const $ = (id) => document.getElementById(id);
const NEAR = 64; // pixels from the end that count as reading along
const DRAFT = "askbot.draft";

// --- what to say: pure -----------------------------------------------------------------------------------------------

const BADGES = {
  cancelled: "Stopped",
  length: "Cut off at the length limit",
  refused: "Refused",
  interrupted: "Interrupted: the server went away",
  error: "Failed",
};

const STATES = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", closed: "Disconnected" };

const ERRORS = {
  unauthorized: "You are not signed in.",
  forbidden: "You may not use this server.",
  session_not_found: "That conversation is gone. This is a new one.",
};

const seconds = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 2 : 1)} s`;
const number = (value) => (value < 10 ? Math.round(value * 10) / 10 : Math.round(value)).toLocaleString("en");

/** Without the provider's count of tokens there are only characters to go by, and it says so. */
function speed({ timing, usage, answer }) {
  const writing = (timing.total - timing.first_token) / 1000;
  if (timing.first_token == null || writing <= 0) return [];
  const [count, unit] = usage ? [usage.output_tokens, "tokens/s"] : [points(answer), "characters/s"];
  return count ? [`${number(count / writing)} ${unit}`] : [];
}

function metaOf(turn) {
  const { timing, model, usage } = turn;
  if (!timing) return [];
  const first = timing.first_token == null ? [] : [`${seconds(timing.first_token)} to first token`];
  return [...first, ...speed(turn), ...(usage ? [`${number(usage.output_tokens)} tokens`] : []), model].filter(Boolean);
}

const badgeOf = ({ reason, error, note }) => note ?? ((reason === "error" && error?.message) || BADGES[reason] || "");

/** What is drawn: the turns, then the questions that the log does not have yet, each in the place it will have. */
function rowsOf({ turns }, pending, connected) {
  const note = connected ? "" : "Will be sent when the connection is back";
  const asked = (frame) => ({ turn: "", id: frame.id, question: frame.text, answer: "", status: "sending", reason: null, note });
  return [...shown(turns), ...pending.map(asked)];
}

// --- small things ----------------------------------------------------------------------------------------------------

const stored = (action) => {
  try {
    return action(localStorage);
  } catch {
    return null; // forbidden or full: the page works without
  }
};

function node(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

const button = (action, text, label = text) => node("button", { type: "button", "data-do": action, "aria-label": label }, text);
const say = (text) => ($("announce").textContent = text);
const set = (element, text) => element.textContent !== text && (element.textContent = text);

async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // an insecure origin has no clipboard
  }
  const before = from.textContent;
  from.textContent = "Copied";
  say("Copied");
  setTimeout(() => (from.textContent = before === "Copied" ? "Copy" : before), 1500);
}

function copyBySelection(text) {
  const area = node("textarea", { class: "aside" }, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// --- one turn --------------------------------------------------------------------------------------------------------

function article() {
  const parts = {
    question: node("h2", { class: "question" }),
    answer: node("div", { class: "answer" }),
    badge: node("p", { class: "badge" }),
    meta: node("p", { class: "meta" }),
    tools: node("div", { class: "tools" }, button("copy", "Copy", "Copy the answer"), button("retry", "Retry", "Ask again"), button("edit", "Edit", "Edit the question")),
  };
  const foot = node("div", { class: "foot" }, parts.meta, parts.tools);
  return Object.assign(node("article", {}, parts.question, parts.answer, parts.badge, foot), { parts });
}

function draw(element, turn) {
  if (element.drawn === turn) return;
  const { parts, drawn } = element;
  element.drawn = turn;
  Object.assign(element.dataset, { turn: turn.turn, id: turn.id ?? "", status: turn.status, reason: turn.reason ?? "" });
  element.setAttribute("aria-busy", String(turn.status !== "ended"));
  set(parts.question, turn.question);
  if (drawn?.answer !== turn.answer) {
    update(parts.answer, turn.answer);
    for (const caption of parts.answer.querySelectorAll("figcaption:not(:has(button))")) caption.append(button("copy-code", "Copy", "Copy the code"));
  }
  set(parts.badge, badgeOf(turn));
  if (turn.status === "ended") parts.meta.replaceChildren(...metaOf(turn).map((text) => node("span", {}, text)));
}

function edit(element, bot) {
  const { turn, question } = element.drawn;
  const area = node("textarea", { "aria-label": "The question", rows: "1" }, question);
  const cancel = button("keep", "Cancel");
  const form = node("form", { class: "edit" }, area, node("div", {}, cancel, node("button", { type: "submit" }, "Ask this instead")));
  const end = () => {
    form.replaceWith(element.parts.question);
    element.querySelector("[data-do=edit]").focus();
  };
  cancel.addEventListener("click", end);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!area.value.trim()) return;
    end();
    bot.edit(turn, area.value.trim());
    $("question").focus();
  });
  sends(area, form);
  area.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), end()));
  element.parts.question.replaceWith(form);
  grow(area);
  area.focus();
  area.setSelectionRange(question.length, question.length);
}

// --- fields ----------------------------------------------------------------------------------------------------------

function grow(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

/** Enter sends, but not the one that ends the composing of a syllable: Safari says so only by the key code 229. */
function sends(area, form) {
  area.addEventListener("input", () => grow(area));
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

// --- the page --------------------------------------------------------------------------------------------------------

const address = new URL(location.href);
const bot = connect({
  url: new URL("v1/chat", document.baseURI),
  session: address.searchParams.get("session") ?? undefined,
  token: new URLSearchParams(address.hash.slice(1)).get("token") ?? undefined,
});
const articles = new Map(); // by the question's id, so that an article stays when the log takes its question
let following = true;
let height = 0;
let due = false;

const end = () => document.documentElement.scrollHeight - innerHeight - scrollY;
const toEnd = () => scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
const running = () => bot.view.turns.find(({ status }) => status !== "ended");

function drawAll() {
  due = false;
  const { view } = bot;
  const rows = rowsOf(view, bot.pending(), bot.state === "open");
  const keys = rows.map(({ id, turn }) => id ?? turn);
  for (const [key, element] of articles) if (!keys.includes(key)) articles.delete(key), element.remove();
  rows.forEach((turn, place) => {
    const element = articles.get(keys[place]) ?? article();
    articles.set(keys[place], element);
    draw(element, turn);
    if ($("turns").children[place] !== element) $("turns").insertBefore(element, $("turns").children[place] ?? null);
  });
  $("empty").hidden = rows.length > 0 || view.seq === null || view.seq < view.head || view.earlier;
  $("earlier").hidden = !view.earlier;
  $("stop").hidden = !running() && !bot.pending().length;
  set($("model"), view.model ?? "");
  if (view.limits?.question_chars) $("question").maxLength = view.limits.question_chars;
  if (following) toEnd();
  $("latest").hidden = following || end() < NEAR;
}

/** Drawn once a frame at most; a hidden page has no frames, and draws when it is seen. */
function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(drawAll);
}

function ask(text) {
  following = true;
  $("notice").textContent = "";
  bot.ask(text).then(
    () => {},
    ({ code, message }) => {
      if (code === "cancelled" || code === "closed") return;
      $("notice").textContent = message;
      if (!$("question").value) fill(text); // nothing that was typed is lost
    },
  );
  redraw();
}

function fill(text) {
  $("question").value = text;
  stored((storage) => storage.setItem(DRAFT, text));
  $("send").disabled = !text.trim();
  grow($("question"));
}

function stop() {
  const pending = bot.pending().at(-1);
  bot.cancel(running()?.turn ?? pending?.id);
}

function onAct({ target }) {
  const from = target.closest("[data-do]");
  const element = from?.closest("article");
  if (!element) return;
  const { turn, answer } = element.drawn;
  const acts = {
    copy: () => copy(answer, from),
    "copy-code": () => copy(from.closest("figure").querySelector("code").textContent, from),
    retry: () => ((following = true), bot.retry(turn)),
    edit: () => edit(element, bot),
  };
  acts[from.dataset.do]?.();
}

function onFrame({ detail: frame }) {
  if (frame.seq <= bot.view.head) return; // a replay is not news
  if (frame.type === "question") say("Waiting for the answer");
  if (frame.type === "done") say(frame.reason === "stop" ? "The answer is complete" : badgeOf(frame));
}

function onState({ detail: state }) {
  redraw();
  $("state").dataset.state = state;
  $("state").lastChild.textContent = STATES[state];
  if (state === "waiting") say("Connection lost, reconnecting");
  if (state === "open") onOpen();
}

function onOpen() {
  if (address.searchParams.has("session") && address.searchParams.get("session") !== bot.session) {
    address.searchParams.delete("session");
    history.replaceState(null, "", address);
  }
  if ($("announce").textContent.startsWith("Connection lost")) say("Connected again");
}

async function showEarlier() {
  const before = document.documentElement.scrollHeight;
  following = false;
  await bot.history().catch(() => {});
  requestAnimationFrame(() => requestAnimationFrame(() => scrollBy({ top: document.documentElement.scrollHeight - before, behavior: "instant" })));
}

bot.addEventListener("change", redraw);
bot.addEventListener("state", onState);
bot.addEventListener("frame", onFrame);
bot.addEventListener("error", ({ detail }) => ($("notice").textContent = ERRORS[detail.code] ?? detail.message));
$("turns").addEventListener("click", onAct);
$("earlier").addEventListener("click", showEarlier);
$("stop").addEventListener("click", stop);
$("latest").addEventListener("click", () => ((following = true), redraw()));
$("new").addEventListener("click", () => (bot.fresh(), $("question").focus()));
$("empty").addEventListener("click", ({ target }) => target.closest("button") && ask(target.closest("button").textContent));
$("question").addEventListener("input", () => fill($("question").value));
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("question").value.trim();
  if (!text) return;
  fill("");
  ask(text);
});
addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && !$("stop").hidden && stop());
addEventListener("scroll", () => {
  following = end() < NEAR || (following && scrollY >= height);
  height = scrollY;
  $("latest").hidden = following;
}, { passive: true });
addEventListener("resize", redraw);

sends($("question"), $("ask"));
fill(stored((storage) => storage.getItem(DRAFT)) ?? "");
onState({ detail: bot.state });
