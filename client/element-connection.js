/** What `<ask-bot>` says of a connection that is not there. */

const SECOND_MS = 1000; // for which nothing is said: most connections that are lost are back sooner

/** Returns the time of day, with the date where that is not today. */
function formatTime(time, now, language) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date(now).toDateString();
  return date.toLocaleString(language, { ...(isToday ? {} : { dateStyle: "medium" }), timeStyle: "short" });
}

/**
 * Returns since when there is no connection, why, how often it was tried, and when it is tried next.
 *
 * @param {import("./askbot.js").Connection} connection
 * @param {number} now milliseconds since 1970
 * @param {(name: string, values?: object) => string} translate
 * @returns {string} empty while connected, once it is closed, and in the first second without a connection
 */
export function offlineText({ state, cause, tries, since, nextTry }, now, translate) {
  const isOffline = state === "connecting" || state === "waiting";
  if (!isOffline || (now - since < SECOND_MS && tries < 2)) return "";
  const reason = cause && translate(cause.code);
  const said = [
    translate("offline", { time: formatTime(since, now, translate("language")) }),
    reason === cause?.code ? cause?.message : reason,
    translate("tries", { tries }),
    translate(nextTry ? "next_try" : "trying", { seconds: Math.max(1, Math.ceil((nextTry - now) / SECOND_MS)) }),
  ];
  return said.filter(Boolean).join(" ");
}
