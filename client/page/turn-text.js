/** What is said about a turn, in words. Pure: `say` has them, `language` writes the numbers. */
import { countCodePoints } from "../view.js";

const seconds = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 2 : 1)} s`;

/** Of what an answer lacks. */
export function badgeOf({ reason, error, waits }, say, sayError, sayReason) {
  if (waits) return say("later");
  if (reason === "error" && error) return sayError(error);
  return reason && reason !== "stop" ? sayReason(reason) : "";
}

/** Of what an answer took. */
export function metaOf(turn, say, language) {
  const { timing, model, usage } = turn;
  if (!timing) return [];
  const number = (value) => (value < 10 ? Math.round(value * 10) / 10 : Math.round(value)).toLocaleString(language);
  const first = timing.first_token == null ? "" : say("first_token", { time: seconds(timing.first_token) });
  const tokens = usage ? say("tokens", { count: number(usage.output_tokens) }) : "";
  return [first, speedOf(turn, say, number), tokens, model].filter(Boolean);
}

/** Without the provider's count of tokens there are only characters to go by, and it says so. */
function speedOf({ timing, usage, answer }, say, number) {
  const writing = (timing.total - timing.first_token) / 1000;
  if (timing.first_token == null || writing <= 0) return "";
  const [count, unit] = usage ? [usage.output_tokens, "tokens"] : [countCodePoints(answer), "characters"];
  return count ? say(`${unit}_per_second`, { count: number(count / writing) }) : "";
}
