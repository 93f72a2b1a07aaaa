/** A conversation as a file, for keeping or for another program. Pure. */
import { shown } from "../view.js";

const quoted = (text) => text.split("\n").map((line) => `> ${line}`.trimEnd()).join("\n");

/** As one reads it: what was replaced is left out. `badge` says what an answer lacks. */
export function markdownOf(title, turns, badge) {
  const parts = shown(turns).map((turn) => {
    const [lacks, model] = [badge(turn), turn.model];
    const about = [lacks, model, turn.created?.slice(0, 16).replace("T", " ")].filter(Boolean).join(" · ");
    return [quoted(turn.question), turn.answer.trim(), `*${about}*`].filter(Boolean).join("\n\n");
  });
  return `${[`# ${title}`, ...parts].join("\n\n---\n\n").replace("\n\n---", "")}\n`;
}

/** All that is known of it, in the order of the log. */
export const jsonOf = (session, title, turns) => `${JSON.stringify({ session, title, turns }, null, 2)}\n`;

/** A file's name that every system takes. */
export const fileName = (title, kind) =>
  `${title.replace(/[\\/:*?"<>|\p{Cc}]+/gu, " ").replace(/\s+/g, " ").trim().slice(0, 60).replace(/^\.+|[. ]+$/g, "") || "askbot"}.${kind}`;
