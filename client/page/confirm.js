/** The dialog that asks before something is done that takes something away. */
import { byId, setText } from "./dom.js";
import { translate } from "./strings.js";

const dialog = byId("confirm");

/**
 * Asks the reader a question that is answered by yes or no.
 *
 * @param {string} question
 * @param {"delete" | "ask_again"} action what yes does: the name of its text
 * @returns {Promise<boolean>} false too where the dialog is closed in any other way, as by Escape
 */
export function askForConfirmation(question, action) {
  setText(byId("confirm-question"), question);
  setText(byId("confirm-yes"), translate(action));
  dialog.dataset.action = action;
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Closes the dialog, as no would: what it asks about is not on the page any more. */
export function closeConfirmation() {
  dialog.close();
}

byId("confirm-yes").addEventListener("click", () => dialog.close("yes"));
byId("confirm-no").addEventListener("click", closeConfirmation);
