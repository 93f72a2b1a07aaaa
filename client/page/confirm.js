/** The dialog that asks before something is done that cannot be undone. */
import { byId, setText } from "./dom.js";

const dialog = byId("confirm");

/**
 * Asks the reader a question that is answered by yes or no.
 *
 * @param {string} question
 * @returns {Promise<boolean>} false too where the dialog is closed in any other way, as by Escape
 */
export function askForConfirmation(question) {
  setText(byId("confirm-question"), question);
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

byId("confirm-yes").addEventListener("click", () => dialog.close("yes"));
byId("confirm-no").addEventListener("click", () => dialog.close());
