/** All that the package declares, used as it is meant. Checked by tsc, and then run: what is declared is there. */
import assert from "node:assert/strict";
import { connect, delay, type AnswerStream, type Asked, type AskbotError, type Chat, type Connection, type ConnectionCause, type ConnectOptions, type RequestFrame, type State } from "askbot-ws";
import { AskBot } from "askbot-ws/element";
import type { ClientFrame, ErrorCode, Ready, Reason, ServerFrame } from "askbot-ws/frames";
import { render, update, type Options, type RenderMath } from "askbot-ws/markdown";
import { useAskbot, type Askbot, type AskbotOptions } from "askbot-ws/react";
import { rows, running, type Command, type Row } from "askbot-ws/rows";
import { countCodePoints, empty, points, shown, view, type Turn, type View } from "askbot-ws/view";
import WebSocket from "ws";

const [url] = process.argv.slice(2);

const options: ConnectOptions = { url, WebSocket, storage: {}, random: () => 0, name: "types", token: async () => null, ticket: async () => undefined, openTimeout: 60_000 };
const chat: Chat = connect(options);
const heard: string[] = [];
chat.addEventListener("state", ({ detail }: CustomEvent<State>) => heard.push(detail));
chat.addEventListener("frame", ({ detail: frame }) => {
  if (frame.type === "token") heard.push(frame.text);
  if (frame.type === "done") heard.push(frame.check.sha256);
});
chat.addEventListener("state", () => {
  const { state, cause, tries, since, nextTry }: Connection = chat.connection;
  assert.equal(state, chat.state);
  const { code, message, closeCode }: Partial<ConnectionCause> = cause ?? {};
  heard.push(`${code ?? ""} ${message ?? ""} ${closeCode ?? 0} ${tries} ${since + (nextTry ?? 0)}`);
});
chat.addEventListener("change", ({ detail }) => assert.equal<View>(detail, chat.view));
chat.addEventListener("error", ({ detail }) => heard.push(`${detail.code} ${detail.retryAfter ?? "never"}`));

const asked: AnswerStream = chat.ask("Why?", { model: "scripted", temperature: 0.5, max_tokens: 10, when_busy: "reject" });
assert.equal<Asked>(asked, asked); // the former name of its type
assert.deepEqual(chat.pending().map(({ id, text }) => [id, text]), [[asked.id, "Why?"]]);
assert.equal(running(chat), asked.id);
assert.deepEqual(chat.requests().map(({ type, id }: RequestFrame) => [type, id]), [["ask", asked.id]]);
assert.equal<Chat>(await chat.opened, chat);
chat.reconnect();
const pieces: string[] = [];
for await (const piece of asked) pieces.push(piece.toUpperCase());
const turn: Turn = await asked;
assert.equal(pieces.join(""), turn.answer.toUpperCase());
const known: Reason = "stop";
assert.equal(turn.reason satisfies Reason | string | null, known);
assert.ok((turn.timing?.total ?? -1) >= 0);
assert.equal(turn.thinking satisfies string, "");
assert.equal(turn.thinkingTime satisfies number | null, null);
assert.equal(turn.thinkingSince satisfies number | null | undefined, undefined);

const retried = await chat.retry(turn.turn, { temperature: 1 });
const edited = await chat.edit(retried.turn, "Who?", { model: "scripted", max_tokens: 5 });
assert.equal(edited.question, "Who?");
const forking = chat.fork(edited.turn, { id: "f1" });
assert.equal(rows(chat)[0]?.pending satisfies Command | null | undefined, "fork");
assert.equal(forking.id, "f1");
const fork: string = await forking.then(({ session }) => session, ({ code }: AskbotError) => code);
assert.notEqual(fork, chat.session);
assert.equal(chat.view.models?.includes("nothing"), chat.view.models && false);
const history = await chat.history({ limit: 1 });
assert.equal(history.more satisfies boolean, false);
assert.equal((await chat.title("Colours")) satisfies void, undefined);
assert.equal(chat.view.title satisfies string | null | undefined, "Colours");
assert.equal(chat.user satisfies string | null | undefined, null);
assert.equal(chat.view.user satisfies string | null | undefined, null);
const listing = await chat.sessions({ limit: 5 }).then(({ sessions: [first], more }) => first?.title ?? more, ({ code }: AskbotError) => code);
assert.equal(listing, "forbidden"); // nobody is signed in
await chat.cancel(edited.turn);
assert.equal((await chat.cancel()) satisfies void, undefined);
assert.equal((await chat.ask("Who?", { id: edited.id ?? "" })).turn, edited.turn); // it is in the view already
const drawn: Row[] = rows(chat);
assert.deepEqual(drawn.map(({ status, turn }) => [status, turn]), [["ended", edited.turn]]);
assert.deepEqual(drawn.map(({ thinking, thinkingTime }) => [thinking, thinkingTime]), [["", null]]);
assert.deepEqual(shown(chat.view.turns).map(({ turn }) => turn), [edited.turn]);
assert.ok(chat.session);
await chat.forget("0".repeat(32));
await chat.forget();
chat.fresh();
const refused = await chat.ask("").catch((error: AskbotError) => error);
assert.ok(refused instanceof Error && (refused.code satisfies ErrorCode | string) === "question_empty");
assert.deepEqual([refused.id?.length, refused.text], [32, ""]);
chat.close();
assert.equal(chat.state, "closed");
assert.ok(heard.includes("open"));

const ready: Ready = {
  type: "ready", session: "s", seq: 1, from: 0, resumed: false, protocol: "askbot.v1", server: "x", model: "m", models: ["m"],
  limits: { frame_bytes: 1, question_chars: 1, waiting_turns: 1 }, log: "l", title: null, user: null, expires: null,
};
const frames: ServerFrame[] = [ready, { type: "question", session: "s", seq: 1, turn: "t", text: "Why?", created: "2026-01-01T00:00:00Z" }];
const folded = frames.reduce(view, empty);
assert.equal(folded.turns[0]?.question, "Why?");
assert.equal(countCodePoints("한🙂"), 2);
assert.equal(points, countCodePoints);
assert.equal(delay(0, () => 1), 500);
const command: ClientFrame = { type: "ask", text: "Why?" };
assert.ok(command);

const renderMath: RenderMath = (tex, display) => (display ? null : document.createTextNode(tex));
const drawing: Options = { write: (code, text, language) => code.append(text, language), renderMath, isGrowing: true };
assert.equal(typeof drawing.write, "function");
assert.equal(typeof useAskbot, "function");
assert.ok(AskBot.observedAttributes.includes("server"));

/** Only in a page is there something to run these on. */
export function inAPage(): void {
  const element = document.createElement("ask-bot");
  element.addEventListener("askbot-done", ({ detail }) => detail.answer.length);
  element.addEventListener("askbot-error", ({ detail }) => detail.code);
  element.ask("Why?", { max_tokens: 5 });
  element.retry();
  element.stop();
  element.fresh();
  element.earlier();
  element.latest();
  element.reconnect();
  element.ticket = async () => "t";
  element.renderMath = (tex, display) => (display ? document.createTextNode(tex) : null);
  element.chat?.close();
  update(element, "# One");
  element.append(...render("*one*", document));
}

/** Only in a component may this be called. */
export function useAll(given: AskbotOptions): Askbot {
  const { turns, state, connection, session, model, models, title, user, limits, running, earlier, draft, error, ...acts } = useAskbot(given);
  void [turns.map(({ question, answer }) => question + answer), state, session, model, limits?.question_chars, running, earlier, draft.length, error?.code];
  void [connection.cause?.code, connection.tries satisfies number, models?.includes("m"), turns.map(({ pending }) => pending satisfies Command | null)];
  void [title satisfies string | null, user satisfies string | null];
  acts.setTitle("Colours").then(() => acts.sessions({ limit: 5 })).then(({ more }) => more?.length);
  acts.ask("Why?").catch(() => acts.stop());
  acts.fork("t1", { id: "f1" }).then(({ session }) => session.length);
  acts.reconnect();
  acts.retry();
  acts.edit("t1", "Who?");
  acts.history({ before: 5 });
  acts.forget();
  acts.fresh();
  for (const { id, text } of acts.pending()) acts.ask(text, { id });
  return useAskbot({ url: new URL("ws://127.0.0.1/v1/chat"), name: "shop", session: "s1", token: async () => "t", ticket: () => null, storage: {}, unsentStorage: {}, onFrame: ({ type }) => void type });
}
