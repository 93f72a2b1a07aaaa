"""A FastAPI application that holds conversations: one process, one event loop, the application's own state.

    uvicorn --app-dir examples fastapi_app:app
    askbot chat ws://127.0.0.1:8765/v1/chat

The application keeps its port, and the conversations have theirs (CHAT_PORT). A reverse proxy makes one of the two.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

import askbot_ws

stock = {"apples": 3, "pears": 0}


async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncIterator[str]:
    """Answer from what the application knows. A model, an agent or a search could stand here as well."""
    del options  # what the question may choose: model, temperature, max_tokens
    asked = [name for name in re.findall(r"\w+", messages[-1]["content"].lower()) if name in stock]
    for name in asked:
        yield f"There are {stock[name] or 'no'} {name}. "
    if not asked:
        yield f"I know about {', '.join(stock)}."


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """The conversations begin and end with the application."""
    async with askbot_ws.serve(
        answer,
        port=int(os.environ.get("CHAT_PORT", "8765")),
        store=os.environ.get("CHAT_STORE", "sqlite:///shop.db"),
        origins="http://127.0.0.1:8000",  # where the application's own pages come from
    ) as chat:
        app.state.chat = chat.url
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/chat")
async def chat(request: Request) -> dict[str, str]:
    """Where a page of the application connects."""
    return {"url": request.app.state.chat}


@app.put("/stock/{name}")
async def store(name: str, count: int) -> dict[str, int]:
    """What is said changes with what is done."""
    stock[name] = count
    return stock
