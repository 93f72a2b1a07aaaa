"""websockets + openai's typed stream, as one would first write it."""

import asyncio
import json
import os

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from websockets.asyncio.server import ServerConnection, serve

openai = AsyncOpenAI()


async def chat(socket: ServerConnection) -> None:
    """One connection, one conversation."""
    messages: list[ChatCompletionMessageParam] = []
    async for data in socket:
        frame = json.loads(data)
        messages.append({"role": "user", "content": frame["text"]})
        stream = await openai.chat.completions.create(model="bench-model", messages=messages, stream=True)
        answer = ""
        async for chunk in stream:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                answer += piece
                await socket.send(json.dumps({"type": "token", "text": piece}))
        messages.append({"role": "assistant", "content": answer})
        await socket.send(json.dumps({"type": "done", "reason": "stop"}))


async def main() -> None:
    """Serve until killed."""
    async with serve(chat, "127.0.0.1", int(os.environ["PORT"])) as server:
        print("listening", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
