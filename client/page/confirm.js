/** A question that is asked before what can't be undone. */
import { $, set } from "./dom.js";

/** Whether the answer is yes. Escape says no; so does whatever closes the question. */
export function confirmed(question) {
  set($("confirm-question"), question);
  $("confirm").returnValue = "";
  $("confirm").showModal();
  $("confirm-no").focus();
  return new Promise((resolve) =>
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true }));
}

$("confirm-yes").addEventListener("click", () => $("confirm").close("yes"));
$("confirm-no").addEventListener("click", () => $("confirm").close());
