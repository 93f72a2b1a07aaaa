/** What is typed before the page is ready: the tab keeps it for a reload. Nothing is imported, so this runs at once. */
const KEY = `askbot.early ${location.pathname}`;

let left = ""; // by the page before this one; where storage is forbidden, nothing
try {
  left = sessionStorage.getItem(KEY) ?? "";
} catch {}

function keep(text) {
  try {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  } catch {}
}

const onInput = ({ target }) => target.id === "question" && keep(`${left}\n\n${target.value}`.trim());

addEventListener("input", onInput);

/** Returns what the page before this one has left, and keeps nothing more. */
export function takeEarlyText() {
  removeEventListener("input", onInput);
  keep("");
  return left;
}
