/** Export: a conversation as a file, to keep or for another program. Pure. */
import { shown } from "../view.js";

const MAX_NAME_CHARACTERS = 60; // of a file's name, without its extension

function quote(text) {
  const lines = text.split("\n").map((line) => `> ${line}`.trimEnd());
  return lines.join("\n");
}

/**
 * Returns a conversation as Markdown, as it is shown: without what was replaced.
 *
 * @param {string} title
 * @param {import("../view.js").Turn[]} turns
 * @param {(turn: import("../view.js").Turn) => string} badgeOf returns why an answer is not whole; empty where it is
 * @returns {string}
 */
export function markdownOf(title, turns, badgeOf) {
  const parts = shown(turns).map((turn) => {
    const time = turn.created?.slice(0, 16).replace("T", " ");
    const about = [badgeOf(turn), turn.model, time].filter(Boolean).join(" · ");
    return [quote(turn.question), turn.answer.trim(), `*${about}*`].filter(Boolean).join("\n\n");
  });
  const heading = `# ${title}`;
  if (!parts.length) return `${heading}\n`;
  return `${heading}\n\n${parts.join("\n\n---\n\n")}\n`;
}

/**
 * Returns a conversation as JSON: all turns, in the order of the log.
 *
 * @param {string} session
 * @param {string} title
 * @param {import("../view.js").Turn[]} turns
 * @returns {string}
 */
export function jsonOf(session, title, turns) {
  return `${JSON.stringify({ session, title, turns }, null, 2)}\n`;
}

/**
 * Returns a name for the file that is valid on every system.
 *
 * @param {string} title
 * @param {string} extension without the dot
 * @returns {string}
 */
export function fileName(title, extension) {
  const allowed = title.replace(/[\\/:*?"<>|\p{Cc}]+/gu, " ").replace(/\s+/g, " ").trim();
  const name = allowed.slice(0, MAX_NAME_CHARACTERS).replace(/^\.+|[. ]+$/g, "");
  return `${name || "askbot"}.${extension}`;
}
