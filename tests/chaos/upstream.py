"""An upstream for many answers at once: it costs next to nothing, and its tokens say when they were made.

`blocks:N every:MS` is N pieces of 8 KiB, one each MS milliseconds; `clock:N every:MS` is N times of the steady clock,
in nanoseconds, which all processes of a machine share. `trim:1 every:0` gives memory that is free back to the system.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import AsyncGenerator
from typing import Any

BLOCK = 8 * 1024


def block(number: int) -> str:
    """One piece of a long answer."""
    return f"{number:07} " * (BLOCK // 8)


async def answer(messages: list[dict[str, str]], options: dict[str, Any]) -> AsyncGenerator[str]:
    """Answer the last question."""
    del options
    (kind, _, count), (_, _, pause) = (word.partition(":") for word in messages[-1]["content"].split()[:2])
    begun = time.monotonic()
    for number in range(int(count)):
        await asyncio.sleep(begun + number * int(pause) / 1000 - time.monotonic())
        match kind:
            case "blocks":
                yield block(number)
            case "clock":
                yield f"{time.monotonic_ns()} "
            case _:
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
