/** The state of the connection (#state), and why there is none (#offline), with a button to try now. */
import { offlineText } from "./connection-text.js";
import { byId, focusQuestion, setText } from "./dom.js";
import * as strings from "./strings.js";

const TICK_MS = 1000;

const banner = byId("offline");
let shown; // the conversation's connection, as a function that returns it
let isSignedOut = false; // there is none before somebody has signed in again
let timer;

/** Draws the state; while there is no connection, again each second. */
function draw() {
  clearTimeout(timer);
  const connection = shown();
  const { state } = connection;
  byId("state").dataset.state = isSignedOut ? "closed" : state;
  setText(byId("state").lastChild, strings.translate(isSignedOut ? "state_signed_out" : `state_${state}`));
  const text = isSignedOut ? "" : offlineText(connection, Date.now(), strings);
  const hadFocus = banner.contains(document.activeElement);
  banner.hidden = !text;
  setText(banner.firstChild, text);
  if (hadFocus && banner.hidden) focusQuestion();
  const isOver = state === "open" || state === "closed";
  if (!isOver) timer = setTimeout(draw, TICK_MS);
}

/** Draws the state of a conversation's connection, which may wait until the reader has signed in again. */
export function drawConnection(chat, isWaitingForReader) {
  isSignedOut = isWaitingForReader;
  shown = () => chat.connection;
  draw();
}
