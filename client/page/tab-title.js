/** The tab's title: that of the conversation on the page; while the tab is hidden, it says that an answer is complete. */
import { byId } from "./dom.js";
import { translate } from "./strings.js";

let title = document.title;
let isAnswered = false;

function draw() {
  document.title = isAnswered ? translate("title_done", { title }) : title;
}

/** Sets the title: that of the conversation, where it has one. */
export function setTabTitle(conversationTitle) {
  title = [conversationTitle, translate("title")].filter(Boolean).join(" · ");
  byId("turns").dataset.title = conversationTitle ?? ""; // for the printed page
  draw();
}

/** Says that an answer is complete, until the reader looks. */
export function markAnswered() {
  isAnswered = document.hidden;
  draw();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !isAnswered) return;
  isAnswered = false;
  draw();
});
