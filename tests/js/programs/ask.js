/**
 * Asks what it is told to, as a program of somebody who has npm's `ws`. Its argument is JSON:
 *   url, chats: lists of questions, each asked one after the other over a connection of its own
 * Writes a line of JSON for each answer: the pieces, joined, and the turn.
 */
import WebSocket from "ws";
import { connect } from "../../../client/askbot.js";

const { url, chats } = JSON.parse(process.argv[2]);

async function converse(questions) {
  const chat = connect({ url, WebSocket, random: () => 0.02, storage: {} });
  for (const question of questions) {
    const asked = chat.ask(question);
    let text = "";
    for await (const piece of asked) text += piece;
    console.log(JSON.stringify({ question, text, turn: await asked, session: chat.session }));
  }
  chat.close();
}

await Promise.all(chats.map(converse));
