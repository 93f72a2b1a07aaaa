"""Readiness: whether a question would be answered now, found out at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from ..errors import AskbotError, Internal

KEPT = 1.0  # seconds that an answer is kept, whichever it is
LIMIT = 5.0  # seconds that a part has to answer

log = structlog.get_logger(__name__)


class Part(Protocol):
    """What has to work for a question to be answered."""

    async def ping(self) -> None:
        """Raises `AskbotError` where it does not."""


class Readiness:
    """Asks the parts whether they work, however many want to know: one look at a time, and its answer is kept."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self._look: asyncio.Task[str | None] | None = None
        self._until = 0.0  # the loop's time up to which the last look counts

    async def fault(self) -> str | None:
        """Why no question would be answered, in words that are safe to show, or None."""
        if self._look is None or (self._look.done() and asyncio.get_running_loop().time() >= self._until):
            self._look = asyncio.create_task(self._find())
        return await asyncio.shield(self._look)

    async def _find(self) -> str | None:
        try:
            faults = await asyncio.gather(*map(_fault_of, self._parts.values()))
            return next((f"{name}: {fault}" for name, fault in zip(self._parts, faults, strict=True) if fault), None)
        finally:
            self._until = asyncio.get_running_loop().time() + KEPT

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()


async def _fault_of(part: Part) -> str | None:
    try:
        async with asyncio.timeout(LIMIT):
            await part.ping()
    except TimeoutError:
        return f"no answer within {LIMIT:.0f} seconds."
    except AskbotError as error:
        return error.message
    except Exception:  # a fault of ours is told as one, and not to everybody who asks
        log.exception("readiness_failed")
        return Internal.default
    return None
