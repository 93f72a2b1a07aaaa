/** A component that tells all that the hook tells it, for a test that mounts it, changes it and takes it away. */
import { createElement as h, StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { useAskbot } from "../../../client/react.js";

const seen = (globalThis.seen = { renders: 0, torn: 0, frames: [], last: null });

function Reader({ bot }) {
  return h("p", null, bot.turns.map(({ answer }) => answer).join("|"));
}

/** What two components show of one moment is the same, or it is torn. */
function Twice({ bot }) {
  useEffect(() => {
    const [one, other] = [...document.querySelectorAll("p")].map(({ textContent }) => textContent);
    if (one !== other) seen.torn += 1;
  });
  return [h(Reader, { key: 1, bot }), h(Reader, { key: 2, bot })];
}

function Early({ ask, question }) {
  useEffect(() => {
    if (question) ask(question);
  }, [ask, question]);
}

/** With `keeps`, it names the session that it has heard of last. */
function Bot({ early, keeps, ...options }) {
  const [kept, keep] = useState();
  if (keeps && kept) options.session = kept;
  const onFrame = ({ type, session }) => {
    seen.frames.push(type);
    if (type === "ready") keep(session);
  };
  const bot = useAskbot({ ...options, onFrame });
  seen.renders += 1;
  seen.last = bot;
  return [h(Twice, { key: "twice", bot }), h(Early, { key: "early", ask: bot.ask, question: early })];
}

let root;

globalThis.show = (options) => {
  root ??= createRoot(document.querySelector("main"));
  root.render(h(StrictMode, null, h(Bot, options)));
};

globalThis.hide = () => root.render(null);
