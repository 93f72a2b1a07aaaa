"""A user's function that does what it must not: the question says what. It is copied beside a server that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from askbot_ws.errors import UpstreamRateLimited

RAISED: dict[str, BaseException] = {
    "raise a cancellation": asyncio.CancelledError(),
    "leave the generator": GeneratorExit(),
    "leave the program": SystemExit(3),
    "interrupt the program": KeyboardInterrupt(),
    "complain": UpstreamRateLimited("No \ud800.", retry_after=float("nan")),
}


async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncGenerator[Any]:
    """Yield a word, then do it."""
    del options
    act = messages[-1]["content"]
    yield "Well, "
    if act in RAISED:
        raise RAISED[act]
    if act.startswith("cancel"):
        await cancel(act)
    elif act == "ignore it and talk":
        while True:
            await ignoring(0.01)
            yield "I never stop. "
    elif act == "ignore it":
        while True:
            await ignoring(3600)
    elif act == "stop badly":
        await stopping_badly()
    yield b"bytes" if act == "yield bytes" else act


async def cancel(what: str) -> None:
    """This task, or one of its own."""
    task = asyncio.current_task() if what == "cancel yourself" else asyncio.create_task(asyncio.sleep(60))
    assert task is not None
    task.cancel()
    await (asyncio.sleep(60) if what == "cancel yourself" else task)


async def ignoring(seconds: float) -> None:
    """Take a cancellation for the end of a pause."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)


async def stopping_badly() -> None:
    """Fail where it is cancelled."""
    try:
        await asyncio.sleep(3600)
    finally:
        raise LookupError("in closing")
