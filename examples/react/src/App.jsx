import { useEffect, useRef, useState } from "react";
import { useAskbot } from "askbot-ws/react";
import { Connection } from "./Connection.jsx";
import { usePieces } from "./pieces.js";
import { QuestionForm } from "./QuestionForm.jsx";
import { useTabState } from "./tab-state.js";
import { Turn } from "./Turn.jsx";

const SERVER = import.meta.env.VITE_ASKBOT ?? "ws://127.0.0.1:8765/v1/chat";

export function App() {
  const [branch, setBranch] = useState(null); // { session, origin }: the conversation that it was made of is kept
  const bot = useAskbot({ url: SERVER, session: branch?.session });
  const { turns, session, running, earlier, draft, error, limits } = bot;
  const pieces = usePieces(turns);
  const [text, setText] = useTabState("question");
  const [model, setModel] = useState();
  const end = useRef(null);

  // What was refused is in the field again, before what was typed meanwhile.
  useEffect(() => {
    setText((typed) => (typed.includes(draft) ? typed : `${draft}\n\n${typed}`.trim()));
  }, [draft]);

  // A new question is shown; while the answer grows, the style keeps whoever is at the end there.
  useEffect(() => {
    end.current.scrollIntoView({ block: "end" });
  }, [turns.at(-1)?.id]);

  const fork = async (turn) => {
    const fork = await bot.fork(turn).catch(() => null); // why not is in `error`
    if (fork) setBranch({ session: fork.session, origin: session });
  };
  const begin = () => {
    setBranch(null); // without a name, the conversation stays the present one, until the next line
    bot.fresh();
  };
  const ask = (question) => {
    setText("");
    bot.ask(question, { model });
  };

  return (
    <>
      <header>
        <h1>Askbot</h1>
        <Connection connection={bot.connection} model={bot.model} reconnect={bot.reconnect} />
        <button onClick={begin}>New conversation</button>
      </header>
      {branch?.origin && (
        <p>
          This is a branch. <button onClick={() => setBranch({ session: branch.origin })}>Back to the conversation before</button>
        </p>
      )}
      {earlier && <button onClick={() => bot.history()}>Earlier</button>}
      {turns.map((turn, place) => (
        <Turn
          key={turn.id ?? turn.turn}
          row={turn}
          later={turns.length - 1 - place}
          pieces={pieces[turn.turn] ?? []}
          limit={limits?.question_chars}
          retry={bot.retry}
          edit={bot.edit}
          fork={fork}
        />
      ))}
      {error && <p role="alert">{error.message}</p>}
      <QuestionForm label="Your question" value={text} onChange={setText} onSubmit={ask} limit={limits?.question_chars} autoFocus>
        {bot.models?.length > 1 && (
          <select aria-label="Model" value={model ?? bot.model} onChange={({ target }) => setModel(target.value)}>
            {bot.models.map((name) => <option key={name}>{name}</option>)}
          </select>
        )}
        {running && <button type="button" disabled={turns.some(({ pending }) => pending === "cancel")} onClick={bot.stop}>Stop</button>}
        <button>Ask</button>
      </QuestionForm>
      <div className="end" ref={end} />
    </>
  );
}
