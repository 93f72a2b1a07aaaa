/** Questions that were not sent when the page was left. They are asked on the next visit, under their ids, and so never twice. */
import { useEffect } from "react";

const KEY = "unsent";

function take() {
  const unsent = JSON.parse(localStorage.getItem(KEY) ?? "[]");
  localStorage.removeItem(KEY);
  return unsent;
}

/** Takes the functions of `useAskbot`. */
export function useUnsent({ ask, pending }) {
  useEffect(() => {
    for (const { id, text } of take()) ask(text, { id });
    const keep = () => localStorage.setItem(KEY, JSON.stringify([...take(), ...pending()]));
    addEventListener("pagehide", keep);
    return () => removeEventListener("pagehide", keep);
  }, [ask, pending]);
}
