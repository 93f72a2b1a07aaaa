import { useEffect, useState } from "react";
import { useAskbot } from "askbot-ws/react";
import { usePieces } from "./pieces.js";
import { useUnsent } from "./unsent.js";

const SERVER = import.meta.env.VITE_ASKBOT ?? "ws://127.0.0.1:8765/v1/chat";
const STATES = { connecting: "connecting …", open: "connected", waiting: "reconnecting …", closed: "disconnected" };

const clock = (at) => `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;

export function App() {
  const { turns, state, model, running, draft, error, ask, pending, stop, retry, fresh } = useAskbot({ url: SERVER });
  const pieces = usePieces(turns);
  useUnsent({ ask, pending });
  return (
    <>
      <header>
        <h1>Askbot</h1>
        <p role="status" data-state={state}>{STATES[state]}{model && `, ${model}`}</p>
        <button onClick={fresh}>New conversation</button>
      </header>
      {turns.map((turn) => (
        <Turn key={turn.id ?? turn.turn} turn={turn} pieces={pieces[turn.turn] ?? []} retry={retry} />
      ))}
      {error && <p role="alert">{error.message}</p>}
      <Question ask={ask} draft={draft} running={running} stop={stop} />
    </>
  );
}

function Turn({ turn: { turn, question, status, reason, error }, pieces, retry }) {
  return (
    <article data-status={status} data-reason={reason}>
      <h2>{question}</h2>
      <ol>
        {pieces.map(({ at, text }, place) => (
          <li key={place}>
            <time dateTime={at.toISOString()}>{clock(at)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
      {reason && reason !== "stop" && <p>{error?.message ?? reason} <button onClick={() => retry(turn)}>Ask again</button></p>}
    </article>
  );
}

function Question({ ask, draft, running, stop }) {
  const [text, setText] = useState("");
  useEffect(() => setText((typed) => typed || draft), [draft]); // what was not sent can be sent again
  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    ask(text.trim());
    setText("");
  };
  return (
    <form onSubmit={submit}>
      <input aria-label="Your question" placeholder="Ask a question" value={text} onChange={({ target }) => setText(target.value)} autoFocus />
      {running && <button type="button" onClick={stop}>Stop</button>}
      <button>Ask</button>
    </form>
  );
}
