/** Strings: the page's texts in its reader's language. The server has put them into the page, from strings.json. */
const strings = JSON.parse(document.getElementById("strings").textContent);

/** The language of the page, as a BCP 47 tag. */
export const language = document.documentElement.lang;

/**
 * Returns a text.
 *
 * @param {string} name as in strings.json
 * @param {Record<string, string | number>} [values] for the `{placeholders}` in it
 * @returns {string}
 */
export function translate(name, values = {}) {
  return strings[name].replace(/\{(\w+)\}/g, (_, placeholder) => values[placeholder]);
}

/** Returns the text for the reason of a turn's end; one that this page doesn't know stays as the server has it. */
export function translateReason(reason) {
  return strings[`reason_${reason}`] ?? reason;
}

/**
 * Returns the text for an error, by its code; of a code that this page doesn't know, the server's message.
 *
 * @param {{ code: string, message: string, retryAfter?: number | null }} error `retryAfter`: in how many milliseconds what
 *   was refused may be tried again
 * @returns {string}
 */
export function translateError({ code, message, retryAfter }) {
  const text = strings[`error_${code}`] ?? message;
  return retryAfter > 0 ? `${text} ${translate("again_in", { seconds: Math.ceil(retryAfter / 1000) })}` : text;
}

/** Returns the text for the cause of a lost connection. */
export function translateCause({ code, message }) {
  return strings[`cause_${code}`] ?? translateError({ code, message });
}
