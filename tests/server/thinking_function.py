"""A user's function that thinks and answers in turn, slowly. It is copied beside a server that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from askbot_ws.upstream import ThinkingText


async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncGenerator[str]:
    """Think and answer as often as the question says; to any other question, repeat what the model was shown."""
    del options
    question = messages[-1]["content"]
    if not question.isdigit():
        yield "|".join(message["content"] for message in messages if message["role"] != "system")
        return
    for number in range(int(question)):
        yield ThinkingText(f"thought {number} 🙂 ")
        await asyncio.sleep(0.001)
        yield f"word {number}, "
        await asyncio.sleep(0.001)
