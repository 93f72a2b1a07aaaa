"""fastapi on uvicorn + openai's typed stream, as one would first write it."""

import os

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

app = FastAPI()
openai = AsyncOpenAI()


@app.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    """One connection, one conversation."""
    await socket.accept()
    messages: list[ChatCompletionMessageParam] = []
    try:
        while True:
            frame = await socket.receive_json()
            messages.append({"role": "user", "content": frame["text"]})
            stream = await openai.chat.completions.create(model="bench-model", messages=messages, stream=True)
            answer = ""
            async for chunk in stream:
                if chunk.choices and (piece := chunk.choices[0].delta.content):
                    answer += piece
                    await socket.send_json({"type": "token", "text": piece})
            messages.append({"role": "assistant", "content": answer})
            await socket.send_json({"type": "done", "reason": "stop"})
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
