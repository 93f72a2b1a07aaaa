/** Each line that ends in `// wrong` must be one to tsc, and no other line. */
import { connect } from "askbot-ws";
import { AskBot } from "askbot-ws/element";
import type { ClientFrame, ServerFrame } from "askbot-ws/frames";
import { useAskbot } from "askbot-ws/react";
import { rows } from "askbot-ws/rows";
import { countCodePoints, empty, view } from "askbot-ws/view";

const chat = connect({ url: "ws://127.0.0.1/v1/chat" });
connect({ address: "ws://127.0.0.1/v1/chat" }); // wrong
chat.ask(5); // wrong
chat.ask("Why?", { when_busy: "perhaps" }); // wrong
chat.edit("t1"); // wrong
chat.session = "s1"; // wrong
chat.user = "anna"; // wrong
chat.sessions("more"); // wrong
(await chat.sessions()).turns; // wrong
chat.title(); // wrong
connect({ ticket: 5 }); // wrong
chat.connection.tries = 0; // wrong
chat.fork(); // wrong
(await chat.fork("t1")).answer; // wrong
(await chat.opened).answer; // wrong
chat.view.turns.push(); // wrong
chat.addEventListener("frame", ({ detail }) => detail.rainbow); // wrong
(await chat.ask("Why?")).text; // wrong
for await (const piece of chat.ask("Why?")) piece.toFixed(); // wrong
rows(chat)[0]?.turn.length; // wrong
empty.seq = 1; // wrong
countCodePoints(["a"]); // wrong
view(empty, { type: "token" }); // wrong
export const asked: ClientFrame = { type: "ask" }; // wrong
export const told = (frame: ServerFrame) => frame.text; // wrong
export const element = (bot: AskBot) => bot.ask(); // wrong
export function Component() {
  const { turns, connection, models, ask, fork } = useAskbot({ uri: "/v1/chat" }); // wrong
  turns.push(); // wrong
  connection.tries = 0; // wrong
  models.push("m"); // wrong
  fork(); // wrong
  return ask({}); // wrong
}
