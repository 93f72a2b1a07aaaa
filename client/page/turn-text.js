/** Turn text: what is shown of a turn besides question and answer. Pure: translations are passed in (strings.js). */
import { countCodePoints } from "../view.js";

const TWO_DECIMALS_BELOW_MS = 9950;
const CHARACTERS_IN_LINE = 80;
const CODE = /[{}();=<>]$|^(\s{2,}|\t|[#$@/*>-]|at |def |import |from |function |const |let |var |class |return )|[=!<>]=|=>|->|::|\w\(/;
const MIN_CODE_LINES = 3;

/** How many lines of a question are shown; a longer one is folded. */
export const MAX_SHOWN_LINES = 8;

/** Returns how many lines a question takes, about. */
export function estimateLineCount(text) {
  return text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / CHARACTERS_IN_LINE)), 0);
}

/** Returns whether a question looks like code, or like a log: most of its lines do. */
export function isCode(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return lines.length >= MIN_CODE_LINES && lines.filter((line) => CODE.test(line.trimEnd())).length > lines.length / 2;
}

function formatSeconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(milliseconds < TWO_DECIMALS_BELOW_MS ? 2 : 1)} s`;
}

function formatNumber(value, language) {
  const rounded = value < 10 ? Math.round(value * 10) / 10 : Math.round(value);
  return rounded.toLocaleString(language);
}

/**
 * Returns why a turn has no whole answer, or what it waits for; empty where there is nothing to say.
 *
 * @param {{ reason: string | null, answer?: string, error?: object | null, isOffline?: boolean, pending?: string | null }} turn
 *   `isOffline`: it, or the command that is pending, waits to be sent
 * @param {typeof import("./strings.js")} strings
 * @returns {string}
 */
export function badgeOf({ reason, answer, error, isOffline, pending }, { translate, translateError, translateReason }) {
  if (isOffline) return translate(pending ? "later_command" : "later");
  const text = reason === "error" && error ? translateError(error) : translateReason(reason);
  if (answer && reason === "interrupted") return translate("broke_off_interrupted");
  if (answer && reason === "error") return translate("broke_off", { reason: text });
  return reason && reason !== "stop" ? text : "";
}

/**
 * Returns what is said of a turn that waits for its answer: how many come before it, or for how many seconds it does.
 *
 * @param {{ status: string, before?: number }} turn
 * @param {number} seconds
 * @param {typeof import("./strings.js")} strings
 * @returns {string} empty for one that does not wait, and in its first second
 */
export function waitText({ status, before }, seconds, { translate }) {
  if (status !== "waiting") return "";
  if (before) return translate(before === 1 ? "in_line" : "in_line_after", { count: before });
  return seconds ? translate("waiting_time", { seconds }) : "";
}

/**
 * Returns what an answer took: the time to its first token, its speed, its tokens and its model, as far as they are known.
 *
 * @param {import("../view.js").Turn} turn
 * @param {typeof import("./strings.js")} strings
 * @returns {string[]}
 */
export function metaOf(turn, { translate, language }) {
  const { timing, model, usage } = turn;
  if (!timing) return [];
  const hasFirstToken = timing.first_token != null;
  return [
    hasFirstToken && translate("first_token", { time: formatSeconds(timing.first_token) }),
    hasFirstToken && speedOf(turn, translate, language),
    usage && translate("tokens", { count: formatNumber(usage.output_tokens, language) }),
    model,
  ].filter(Boolean);
}

/** Returns the speed in tokens a second, as the provider counts them; where it does not, in characters a second. */
function speedOf({ timing, usage, answer }, translate, language) {
  const seconds = (timing.total - timing.first_token) / 1000;
  const [count, unit] = usage ? [usage.output_tokens, "tokens"] : [countCodePoints(answer), "characters"];
  if (seconds <= 0 || !count) return "";
  return translate(`${unit}_per_second`, { count: formatNumber(count / seconds, language) });
}
