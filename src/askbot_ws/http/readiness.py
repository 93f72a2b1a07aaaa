"""Readiness: whether a question would be answered now, found out at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from ..errors import AskbotError, Internal

RESULT_TTL_SECONDS = 1.0  # seconds that an answer is kept, whichever it is
PING_TIMEOUT_SECONDS = 5.0  # seconds that a part has to answer

log = structlog.get_logger(__name__)


class ReadinessCheck(Protocol):
    """What has to work for a question to be answered."""

    async def ping(self) -> None:
        """Raises `AskbotError` where it does not."""


class Readiness:
    """Asks the parts whether they work, however many want to know: one look at a time, and its answer is kept."""

    def __init__(self, parts: Mapping[str, ReadinessCheck]) -> None:
        self._checks = parts
        self._check_task: asyncio.Task[str | None] | None = None
        self._expires_at = 0.0  # the loop's time up to which the last look counts

    async def fault(self) -> str | None:
        """Why no question would be answered, in words that are safe to show, or None."""
        if self._check_task is None or (
            self._check_task.done() and asyncio.get_running_loop().time() >= self._expires_at
        ):
            self._check_task = asyncio.create_task(self._check_all())
        return await asyncio.shield(self._check_task)

    async def _check_all(self) -> str | None:
        try:
            faults = await asyncio.gather(*map(_check, self._checks.values()))
            return next((f"{name}: {fault}" for name, fault in zip(self._checks, faults, strict=True) if fault), None)
        finally:
            self._expires_at = asyncio.get_running_loop().time() + RESULT_TTL_SECONDS

    def close(self) -> None:
        """Look no more."""
        if self._check_task is not None:
            self._check_task.cancel()


async def _check(part: ReadinessCheck) -> str | None:
    try:
        async with asyncio.timeout(PING_TIMEOUT_SECONDS):
            await part.ping()
    except TimeoutError:
        return f"no answer within {PING_TIMEOUT_SECONDS:.0f} seconds."
    except AskbotError as error:
        return error.message
    except Exception:  # a fault of ours is told as one, and not to everybody who asks
        log.exception("readiness_failed")
        return Internal.default
    return None
