/** What the page says, in its reader's language: the server has put it into the page (strings.json, by Accept-Language). */
const words = JSON.parse(document.getElementById("words").textContent);

export const language = document.documentElement.lang;

/** The sentence of this name, with what varies in it. */
export const say = (name, values = {}) => words[name].replace(/\{(\w+)\}/g, (_, value) => values[value]);

/** How a turn ended; where we have no words for it, the server's. */
export const sayReason = (reason) => words[`reason_${reason}`] ?? reason;

/** Of an error by its code; where we have no words for it, the server's. */
export const sayError = ({ code, message }) => words[`error_${code}`] ?? message;
