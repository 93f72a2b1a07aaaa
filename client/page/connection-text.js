/** Connection text: what is said of a connection that is not there. Pure: translations are passed in (strings.js). */

const GRACE_MS = 1000; // most connections that are lost are back sooner

/** Returns the time of day, with the date where that is another one than `now`'s. */
function formatTime(time, now, language) {
  const [date, today] = [new Date(time), new Date(now)];
  const isToday = date.toDateString() === today.toDateString();
  const day = isToday ? {} : { month: "short", day: "numeric" };
  return date.toLocaleString(language, { hour: "numeric", minute: "2-digit", ...day });
}

/**
 * Returns since when there is no connection, why, how often it was tried, and when it is tried next.
 *
 * @param {import("../askbot.js").Connection} connection
 * @param {number} now milliseconds since 1970
 * @param {typeof import("./strings.js")} strings
 * @returns {string} empty while connected, and in the first second without a connection
 */
export function offlineText({ state, cause, tries, since, nextTry }, now, { translate, translateCause, language }) {
  const isOver = state === "open" || state === "closed";
  if (isOver || (now - since < GRACE_MS && tries < 2)) return "";
  const seconds = Math.max(1, Math.ceil((nextTry - now) / 1000));
  return [
    translate("offline", { time: formatTime(since, now, language) }),
    cause && translateCause(cause),
    tries > 0 && translate(tries === 1 ? "tries_1" : "tries", { count: tries }),
    translate(nextTry ? "next_try" : "trying", { seconds }),
  ]
    .filter(Boolean)
    .join(" ");
}
