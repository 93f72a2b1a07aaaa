/**
 * Thinking: a turn's reasoning, folded until the reader opens it, under a line that says how long it took.
 *
 * The text is shown as it is, not as Markdown. It grows by its end, so that what the reader has selected stays.
 */

const SECOND_MS = 1000;

/** @typedef {(name: "thinking" | "thinking_time" | "thought" | "thought_time", seconds: number) => string} Translate */

/**
 * Returns what is said of a turn's thinking: that it goes on or has ended, and its seconds where those are known.
 *
 * @param {import("./view.js").Turn} turn
 * @param {Translate} translate
 * @param {number} now milliseconds since 1970
 * @returns {string}
 */
export function labelOf(turn, translate, now) {
  const isThinking = turn.status === "thinking";
  const seconds = isThinking ? secondsSoFar(turn, now) : secondsTaken(turn);
  if (seconds) return translate(isThinking ? "thinking_time" : "thought_time", seconds);
  return translate(isThinking ? "thinking" : "thought", 0);
}

/** Returns for how many whole seconds a turn has thought; 0 where that is not known, and once it has begun to answer. */
function secondsSoFar({ answer, thinkingSince }, now) {
  return answer || !thinkingSince ? 0 : Math.max(0, Math.floor((now - thinkingSince) / SECOND_MS));
}

function secondsTaken({ thinkingTime }) {
  return thinkingTime == null ? 0 : Math.max(1, Math.round(thinkingTime / SECOND_MS));
}

/**
 * Shows a turn's thinking; nothing where there is none. While it goes on, the seconds are counted.
 *
 * @param {HTMLDetailsElement} details with a summary, and an element for the text
 * @param {import("./rows.js").Row} turn
 * @param {Translate} translate
 */
export function drawThinking(details, turn, translate) {
  const [summary, text] = details.children;
  clearTimeout(details.timer);
  details.hidden = !turn.thinking;
  if (details.hidden) return;
  const label = labelOf(turn, translate, Date.now());
  if (summary.textContent !== label) summary.textContent = label;
  appendNew(text, turn.thinking);
  if (turn.status === "thinking") details.timer = setTimeout(() => details.isConnected && drawThinking(details, turn, translate), SECOND_MS);
}

/** Shows a text, of which only what is new is added. */
function appendNew(element, text) {
  const shown = element.firstChild;
  if (shown && text.startsWith(shown.data)) {
    if (text.length > shown.length) shown.appendData(text.slice(shown.length));
  } else element.textContent = text;
}
