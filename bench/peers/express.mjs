// npm express + npm openai: each question is a request, its answer is streamed as plain text, nothing is remembered.
import express from "express";
import OpenAI from "openai";

const openai = new OpenAI();
const app = express();
app.use(express.json());

app.post("/chat", async (request, response) => {
  const stream = await openai.chat.completions.create({
    model: "bench-model",
    messages: [{ role: "user", content: request.body.text }],
    stream: true,
  });
  response.on("close", () => stream.controller.abort());
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  for await (const chunk of stream) {
    const piece = chunk.choices[0]?.delta?.content;
    if (piece) response.write(piece);
  }
  response.end();
});

app.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
