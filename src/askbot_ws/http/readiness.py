"""Readiness: whether a question would be answered now, checked at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from ..errors import AskbotError, Internal

RESULT_TTL_SECONDS = 1.0  # for which a result is kept
PING_TIMEOUT_SECONDS = 5.0  # after which a check has failed
DRAINING = "the server is about to restart"

log = structlog.get_logger(__name__)


class ReadinessCheck(Protocol):
    """A part that must work for a question to be answered: the store, the upstream."""

    async def ping(self) -> None:
        """Return where it works. Raises `AskbotError` where it does not."""


class Readiness:
    """Runs all checks; concurrent callers share one run, and its result is kept for a while."""

    def __init__(self, parts: Mapping[str, ReadinessCheck], *, draining: Callable[[], bool] = lambda: False) -> None:
        """`draining` returns whether the server is about to end."""
        self._checks = parts
        self._draining = draining
        self._check_task: asyncio.Task[dict[str, str | None]] | None = None
        self._expires_at = 0.0  # of the last result, in seconds of the loop's clock

    async def all_faults(self) -> Mapping[str, str | None]:
        """Return what is wrong with the server and with each part; the parts are not checked while it drains."""
        if self._draining():
            return {"server": DRAINING}
        return {"server": None, **await self.faults()}

    async def faults(self) -> Mapping[str, str | None]:
        """Return what is wrong with each part, as a message that is safe to show; None: it works."""
        task = self._check_task
        if task is None or (task.done() and asyncio.get_running_loop().time() >= self._expires_at):
            task = self._check_task = asyncio.create_task(self._check_all())
        return await asyncio.shield(task)

    async def _check_all(self) -> dict[str, str | None]:
        try:
            faults = await asyncio.gather(*map(_check, self._checks.values()))
            return dict(zip(self._checks, faults, strict=True))
        finally:
            self._expires_at = asyncio.get_running_loop().time() + RESULT_TTL_SECONDS

    def close(self) -> None:
        """Cancel a run of the checks."""
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
    except Exception:  # a fault of the server's own: logged, not shown
        log.exception("readiness_check_failed")
        return Internal.default
    return None
