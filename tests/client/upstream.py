"""An upstream: `long:N` is N times 4 KiB of text, `says:word` a word, `wait:word` a word that nothing follows.

`words:N name` is N words, 2 ms apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

PIECE = 1024  # code points, of four bytes each


def piece(number: int) -> str:
    """One piece of a long answer."""
    return f"{number:07} " + "🎈" * (PIECE - 8)


def long(count: int) -> str:
    """A whole one."""
    return "".join(map(piece, range(count)))


def words(question: str) -> str:
    """The whole answer to such a question."""
    kind, name = question.split()
    return "".join(f"{name}/{number}🎈 " for number in range(int(kind.partition(":")[2])))


async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncGenerator[str]:
    """Answer the last question."""
    del options
    kind, _, what = messages[-1]["content"].partition(":")
    if kind in {"says", "wait"} and what:
        yield what
    if kind == "words":
        for word in words(messages[-1]["content"]).split():
            await asyncio.sleep(0.002)
            yield word + " "
    if kind == "wait":
        await asyncio.Event().wait()
    for number in range(int(what) if kind == "long" else 0):
        yield piece(number)
