/** Date groups: the headings of a list by time. Pure: translations are passed in (strings.js). */

/** Returns how many days ago something was, by the calendar. */
function daysAgo(time, now) {
  const [day, today] = [new Date(time), new Date(now)].map((date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()));
  return (today - day) / 86_400_000;
}

/**
 * Returns the heading for a time: today, yesterday, the last 7 days, or the month.
 *
 * @param {number} time milliseconds since 1970
 * @param {number} now
 * @param {typeof import("./strings.js")} strings
 * @returns {string}
 */
export function dateGroup(time, now, { translate, language }) {
  const days = daysAgo(time, now);
  if (days < 1) return translate("today");
  if (days < 2) return translate("yesterday");
  if (days < 8) return translate("last_7_days");
  return new Date(time).toLocaleDateString(language, { year: "numeric", month: "long" });
}
