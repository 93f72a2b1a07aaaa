// npm ws + npm openai, as one would first write it: the yardstick.
import OpenAI from "openai";
import { WebSocketServer } from "ws";

const openai = new OpenAI();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT) });

server.on("connection", (socket) => {
  const messages = [];
  const left = new AbortController();
  let turn = Promise.resolve();

  async function answer(text) {
    messages.push({ role: "user", content: text });
    const stream = await openai.chat.completions.create(
      { model: "bench-model", messages, stream: true },
      { signal: left.signal },
    );
    let said = "";
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta?.content;
      if (piece) {
        said += piece;
        socket.send(JSON.stringify({ type: "token", text: piece }));
      }
    }
    messages.push({ role: "assistant", content: said });
    socket.send(JSON.stringify({ type: "done", reason: "stop" }));
  }

  socket.on("message", (data) => {
    const frame = JSON.parse(data);
    if (frame.type !== "ask") return;
    turn = turn
      .then(() => answer(frame.text))
      .catch((error) => {
        if (!left.signal.aborted) socket.send(JSON.stringify({ type: "error", message: String(error) }));
      });
  });
  socket.on("close", () => left.abort());
});

server.on("listening", () => console.log("listening"));
