/** State that survives a reload: of a text that is typed, and not asked. */
import { useEffect, useState } from "react";

function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // it may be forbidden
  }
}

function write(key, text) {
  try {
    sessionStorage.setItem(key, text);
  } catch {}
}

export function useTabState(key) {
  const [text, setText] = useState(() => read(key));
  useEffect(() => write(key, text), [key, text]);
  return [text, setText];
}
