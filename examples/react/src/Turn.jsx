/** A question with its answer, and what can be done about it. */
import { useLayoutEffect, useRef, useState } from "react";
import { update } from "askbot-ws/markdown";
import { renderMath } from "./math.js";
import { QuestionForm } from "./QuestionForm.jsx";

const clock = (at) => `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;

const PENDING = { retry: "asking again …", edit: "asking …", fork: "branching …", cancel: "stopping …" };

/** Asks before later turns leave the conversation. */
const mayGo = (later) => !later || confirm(`Later turns will leave the conversation: ${later}. A branch would keep them.`);

export function Turn({ row, later, pieces, limit, retry, edit, fork }) {
  const { turn, question, answer, status, reason, error, pending } = row;
  const [edited, setEdited] = useState(null); // what stands in the form, where it is open
  const submit = (text) => {
    if (!mayGo(later)) return;
    setEdited(null);
    edit(turn, text).catch(() => {}); // what is refused is in the hook's `draft`
  };
  return (
    <article data-status={status} data-reason={reason}>
      {edited === null ? (
        <h2 dir="auto">{question}</h2>
      ) : (
        <QuestionForm label="Edit the question" value={edited} onChange={setEdited} onSubmit={submit} onEscape={() => setEdited(null)} limit={limit} autoFocus>
          <button>Ask this instead</button>
          <button type="button" onClick={() => setEdited(null)}>Cancel</button>
        </QuestionForm>
      )}
      <Answer text={answer} isGrowing={status !== "ended"} />
      {status === "sending" && <p>Not sent yet</p>}
      {reason && reason !== "stop" && <p>{error?.message ?? reason}</p>}
      {status === "ended" && edited === null && (
        <p className="actions">
          <button disabled={pending !== null} onClick={() => mayGo(later) && retry(turn)}>Ask again</button>
          <button disabled={pending !== null} onClick={() => setEdited(question)}>Edit</button>
          <button disabled={pending !== null} onClick={() => fork(turn)}>Branch from here</button>
          {pending && <span>{PENDING[pending]}</span>}
        </p>
      )}
      <Pieces pieces={pieces} />
    </article>
  );
}

/** An answer's Markdown. `update` draws what is new only, so that a selection and links in the rest stay. */
function Answer({ text, isGrowing }) {
  const container = useRef(null);
  useLayoutEffect(() => {
    update(container.current, text, { renderMath, isGrowing });
  }, [text, isGrowing]);
  return <div className="answer" dir="auto" ref={container} />;
}

function Pieces({ pieces }) {
  return (
    <details>
      <summary>How it came</summary>
      <ol>
        {pieces.map(({ at, text }, place) => (
          <li key={place}>
            <time dateTime={at.toISOString()}>{clock(at)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
    </details>
  );
}
