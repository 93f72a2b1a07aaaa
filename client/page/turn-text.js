/** Turn text: what is shown of a turn besides question and answer. Pure: translations are passed in (strings.js). */
import { countCodePoints } from "../view.js";

const TWO_DECIMALS_BELOW_MS = 9950;

function formatSeconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(milliseconds < TWO_DECIMALS_BELOW_MS ? 2 : 1)} s`;
}

function formatNumber(value, language) {
  const rounded = value < 10 ? Math.round(value * 10) / 10 : Math.round(value);
  return rounded.toLocaleString(language);
}

/**
 * Returns why a turn has no whole answer; empty where it has, or where it has not ended.
 *
 * @param {{ reason: string | null, error?: object | null, isOffline?: boolean }} turn `isOffline`: it waits to be sent
 * @param {typeof import("./strings.js")} strings
 * @returns {string}
 */
export function badgeOf({ reason, error, isOffline }, { translate, translateError, translateReason }) {
  if (isOffline) return translate("later");
  if (reason === "error" && error) return translateError(error);
  return reason && reason !== "stop" ? translateReason(reason) : "";
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
