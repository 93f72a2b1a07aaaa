/**
 * The list of conversations, drawn: #sessions > li[data-session], each with a link and, when it is opened, its acts.
 * The tab is called as the conversation on it. Where the screen is wide the list stands beside that, elsewhere in a drawer.
 */
import { addressOf } from "./address.js";
import { $, announce, button, node, order, set } from "./dom.js";
import { sends } from "./text-field.js";
import { say } from "./strings.js";

const wide = matchMedia("(min-width: 70rem)");
const items = new Map(); // by session
const ACTS = ["rename", "as_markdown", "as_json", "delete"];

// --- one conversation ------------------------------------------------------------------------------------------------

function item(session) {
  const parts = {
    link: node("a", {}, node("span", { class: "title" }), node("small", { class: "excerpt" })),
    more: button("more", "⋯"),
    acts: node("div", { class: "acts", id: `acts-${session}` }, ...ACTS.map((act) => button(act, say(act)))),
  };
  parts.more.setAttribute("aria-controls", parts.acts.id);
  const line = node("div", { class: "entry" }, parts.link, parts.more);
  const element = Object.assign(node("li", { "data-session": session }, line, parts.acts), { parts });
  unfold(element, false);
  return element;
}

function unfold(element, open) {
  element.parts.acts.hidden = !open;
  element.parts.more.setAttribute("aria-expanded", String(open));
}

function drawItem(element, { title, session, excerpt }, shown) {
  const { link, more } = element.parts;
  link.href = addressOf(session);
  set(link.firstChild, title);
  drawExcerpt(link.lastChild, excerpt);
  more.setAttribute("aria-label", say("more", { title }));
  if (session === shown) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

function drawExcerpt(place, excerpt) {
  place.replaceChildren(...(excerpt ? [excerpt[0], node("mark", {}, excerpt[1]), excerpt[2]] : []));
}

/** A field in the link's place, until its text is kept or left. */
function rename(element, keep) {
  const { link, more } = element.parts;
  const field = node("input", { "aria-label": say("new_title"), value: link.firstChild.textContent, maxlength: "80", autocomplete: "off" });
  const form = node("form", { class: "rename" }, field, node("button", { type: "submit" }, say("save")));
  const end = () => {
    form.replaceWith(link);
    more.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    end();
    keep(field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault(); // the drawer stays open
    event.stopPropagation();
    end();
  });
  sends(field, form);
  link.replaceWith(form);
  field.select();
}

// --- the list --------------------------------------------------------------------------------------------------------

/** `acts` has what the page does: open, as_markdown, as_json and delete, each with a session. */
export function list(shelf, acts) {
  let shown = null;

  function draw(session = shown) {
    shown = session;
    const query = $("search").value.trim();
    const entries = query ? shelf.search(query) : shelf.all();
    const known = new Map(shelf.all().map((entry) => [entry.session, entry]));
    for (const key of items.keys()) if (!known.has(key)) items.delete(key);
    document.title = [known.get(shown)?.title, say("title")].filter(Boolean).join(" · ");
    order($("sessions"), entries.map((entry) => {
      const element = items.get(entry.session) ?? item(entry.session);
      items.set(entry.session, element);
      drawItem(element, entry, shown);
      return element;
    }));
    set($("none"), entries.length ? "" : say(query ? "none_found" : "none"));
    if (query) announce(say("found", { count: entries.length }));
  }

  function onClick(event) {
    const element = event.target.closest("li");
    const act = event.target.closest("[data-do]")?.dataset.do;
    const session = element?.dataset.session;
    if (act === "more") unfold(element, element.parts.acts.hidden);
    else if (act === "rename") rename(element, (title) => (shelf.rename(session, title), draw()));
    else if (act) acts[act](session);
    else if (event.target.closest("a") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      $("drawer").close();
      acts.open(session);
    }
  }

  $("sessions").addEventListener("click", onClick);
  $("search").addEventListener("input", () => draw());
  addEventListener("storage", () => draw()); // another tab
  return draw;
}

/** Where the focus goes when a conversation leaves the list: what takes its place, or the search field. */
export function focusBeside(session) {
  const element = items.get(session);
  const next = element?.nextElementSibling ?? element?.previousElementSibling;
  (next?.querySelector("a") ?? $("search")).focus();
}

// --- the drawer ------------------------------------------------------------------------------------------------------

function settle() {
  $("drawer").close();
  if (wide.matches) document.body.prepend($("list"));
  else $("drawer").append($("list"));
}

wide.addEventListener("change", settle);
settle();
$("menu").addEventListener("click", () => $("drawer").showModal());
$("close").addEventListener("click", () => $("drawer").close());
$("drawer").addEventListener("click", ({ target }) => target === $("drawer") && target.close()); // beside it
