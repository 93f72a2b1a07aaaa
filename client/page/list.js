/**
 * The list of conversations: #sessions > li[data-session], each with a link and, when it is expanded, its actions. The
 * tab's title is that of the conversation on the page. On a wide screen the list stands beside that, on a narrow
 * one it is in a drawer.
 */
import { isComposing } from "../composing.js";
import { addressOf } from "./address.js";
import { dateGroup } from "./date-groups.js";
import { announce, byId, createButton, createElement, setChildren, setText, showBusy } from "./dom.js";
import * as strings from "./strings.js";
import { setTabTitle } from "./tab-title.js";
import { submitOnEnter } from "./text-field.js";

const { translate } = strings;
const MAX_TITLE_CHARACTERS = 80;
const ACTIONS = ["rename", "as_markdown", "as_json", "delete"];

const wideScreen = matchMedia("(min-width: 70rem)");
const drawer = byId("drawer");
const items = new Map(); // by session

// --- one conversation ------------------------------------------------------------------------------------------------

function createItem(session) {
  const buttons = ACTIONS.map((action) => createButton(action, translate(action)));
  const parts = {
    group: createElement("h3", { class: "group" }),
    link: createElement("a", {}, createElement("span", { class: "title", dir: "auto" }), createElement("small", { class: "excerpt", dir: "auto" })),
    more: createButton("more", "⋯"),
    actions: createElement("div", { class: "acts", id: `acts-${session}` }, ...buttons),
  };
  parts.more.setAttribute("aria-controls", parts.actions.id);
  const entry = createElement("div", { class: "entry" }, parts.link, parts.more);
  const item = Object.assign(createElement("li", { "data-session": session }, parts.group, entry, parts.actions), { parts });
  setExpanded(item, false);
  return item;
}

function setExpanded(item, isExpanded) {
  item.parts.actions.hidden = !isExpanded;
  item.parts.more.setAttribute("aria-expanded", String(isExpanded));
}

function drawItem(item, { title, session, excerpt }, currentSession) {
  const { link, more } = item.parts;
  const [titlePart, excerptPart] = link.children;
  link.href = addressOf(session);
  setText(titlePart, title);
  drawExcerpt(excerptPart, excerpt);
  more.setAttribute("aria-label", translate("more", { title }));
  if (session === currentSession) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

function drawExcerpt(element, excerpt) {
  if (!excerpt) return element.replaceChildren();
  const [before, found, after] = excerpt;
  element.replaceChildren(before, createElement("mark", {}, found), after);
}

/** Shows a field in the link's place, until the reader submits the new title or cancels. */
function renameItem(item, onRenamed) {
  const { link, more } = item.parts;
  const field = createElement("input", {
    "aria-label": translate("new_title"),
    value: link.firstChild.textContent,
    maxlength: String(MAX_TITLE_CHARACTERS),
    autocomplete: "off",
    dir: "auto",
  });
  const form = createElement("form", { class: "rename" }, field, createElement("button", { type: "submit" }, translate("save")));

  function close() {
    form.replaceWith(link);
    more.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    close();
    onRenamed(field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || isComposing(event)) return;
    event.preventDefault(); // the drawer stays open
    event.stopPropagation();
    close();
  });
  submitOnEnter(field, form);
  link.replaceWith(form);
  field.select();
}

// --- the list --------------------------------------------------------------------------------------------------------

/**
 * Makes the list work.
 *
 * @param {import("./conversation-store.js").ConversationStore} store
 * @param {import("./server-list.js").ServerList | null} serverList where more of it is; null: the store has all
 * @param {Record<"open" | "rename" | "as_markdown" | "as_json" | "delete", (session: string, title?: string) => void | Promise<void>>} actions
 * @returns {(session?: string | null) => void} draws the list; `session` is the one on the page from now on
 */
export function initList(store, serverList, actions) {
  const more = byId("more-conversations");
  let currentSession = null;
  let isFetching = false;

  function draw(session = currentSession) {
    currentSession = session;
    const query = byId("search").value.trim();
    const all = new Map(store.all().map((conversation) => [conversation.session, conversation]));
    const shown = query ? store.search(query) : [...all.values()];
    for (const known of items.keys()) if (!all.has(known)) items.delete(known);
    setTabTitle(all.get(currentSession)?.title);
    setChildren(byId("sessions"), shown.map(itemOf));
    drawGroups(query ? [] : shown);
    setText(byId("none"), shown.length ? "" : translate(query ? "none_found" : serverList ? "none_yet" : "none"));
    more.hidden = !serverList?.hasMore;
    if (query) announce(translate("found", { count: shown.length }));
    if (query) fetchAll();
  }

  /** Puts a heading above the first conversation of each group; above none while they are searched. */
  function drawGroups(shown) {
    const groups = new Map(shown.map(({ session, used }) => [session, dateGroup(used, Date.now(), strings)]));
    let before;
    for (const { dataset, parts } of byId("sessions").children) {
      const group = groups.get(dataset.session);
      parts.group.hidden = !group || group === before;
      setText(parts.group, group ?? "");
      before = group;
    }
  }

  function itemOf(conversation) {
    const { session } = conversation;
    const item = items.get(session) ?? createItem(session);
    items.set(session, item);
    drawItem(item, conversation, currentSession);
    return item;
  }

  function rename(session, title) {
    store.rename(session, title);
    draw();
    actions.rename(session, title);
  }

  /** Fetches the rest of the list, one page after the other, as long as it is searched: what was not fetched is not found. */
  async function fetchAll() {
    if (isFetching || !serverList) return;
    isFetching = true;
    try {
      while (byId("search").value.trim() && (await serverList.showMore()));
    } catch {
    } finally {
      isFetching = false;
    }
  }

  function onClick(event) {
    const item = event.target.closest("li");
    const session = item?.dataset.session;
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "more") setExpanded(item, item.parts.actions.hidden);
    else if (action === "rename") renameItem(item, (title) => rename(session, title));
    else if (action === "delete") actions.delete(session);
    else if (action) showBusy(event.target, actions[action](session));
    else if (event.target.closest("a")) onLinkClick(event, session);
  }

  function onLinkClick(event, session) {
    const opensElsewhere = event.ctrlKey || event.metaKey || event.shiftKey; // a new tab or window
    if (opensElsewhere) return;
    event.preventDefault();
    drawer.close();
    actions.open(session);
  }

  byId("sessions").addEventListener("click", onClick);
  byId("search").addEventListener("input", () => draw());
  more.addEventListener("click", () => showBusy(more, serverList.showMore()));
  addEventListener("storage", () => draw()); // another tab has changed the list
  return draw;
}

/** Moves the focus from a conversation that leaves the list to the one beside it, or to the search field. */
export function focusNeighbour(session) {
  const item = items.get(session);
  const neighbour = item?.nextElementSibling ?? item?.previousElementSibling;
  const target = neighbour?.querySelector("a") ?? byId("search");
  target.focus();
}

// --- the drawer ------------------------------------------------------------------------------------------------------

/** Puts the list where it belongs on a screen of this width. */
function placeList() {
  drawer.close();
  if (wideScreen.matches) document.body.prepend(byId("list"));
  else drawer.append(byId("list"));
}

wideScreen.addEventListener("change", placeList);
placeList();
byId("menu").addEventListener("click", () => drawer.showModal());
byId("close").addEventListener("click", () => drawer.close());
drawer.addEventListener("click", ({ target }) => {
  if (target === drawer) drawer.close(); // beside its content
});
