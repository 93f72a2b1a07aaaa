"""Isolation: somebody else's coroutine in a task of its own, so that what it does to its task is not done to ours.

A user's code may cancel its task, or one inside it, call `sys.exit`, or catch a cancellation and go on. None of that
may end the turn's task without ending the turn, stop the server, or hold up the session's next turn for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from ..errors import AskbotError, UpstreamError, UpstreamUnavailable
from .faults import ProviderError, printable, sound

END_LIMIT = 5.0  # seconds that it has to end in, once it is cancelled; half of them until it is cancelled again

T = TypeVar("T")
log = structlog.get_logger()

_abandoned: set[asyncio.Task[Any]] = set()  # the loop itself keeps no task that waits


async def isolated(call: Callable[[], Awaitable[T]]) -> T:
    """Await `call()` in a task of its own, and return what it returns.

    Cancelling the caller cancels it, and waits 5 s at most until it has ended; then it is left behind, so that
    neither the caller nor the end of the loop waits for it. An `UpstreamError` of its own is raised as the log can
    keep it; any other `AskbotError`, and whatever is no `Exception` (a cancellation that did not come from here,
    `SystemExit`, `GeneratorExit`), as `UpstreamUnavailable`; other exceptions as they are.
    """
    task = asyncio.create_task(_contained(call))
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await _end(task)
        raise
    if task.cancelled():
        raise UpstreamUnavailable from ProviderError("it was cancelled, and not by us")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, UpstreamError):
        raise sound(error)
    if isinstance(error, Exception) and not isinstance(error, AskbotError):
        raise error
    raise UpstreamUnavailable from printable(error)


async def _contained(call: Callable[[], Awaitable[T]]) -> T:
    """Keep what a task would pass on to the loop, and so to everybody, as the failure of this call."""
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        raise UpstreamUnavailable from ProviderError(repr(error))


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel it, within the limit; some code takes the first cancellation for a passing fault."""
    try:
        for _ in range(2):
            task.cancel()
            await asyncio.wait((task,), timeout=END_LIMIT / 2)
            if task.done():
                return
    finally:
        _see(task) if task.done() else _abandon(task)


def _abandon(task: asyncio.Task[Any]) -> None:
    """Leave it to itself: `asyncio.run` and uvloop, which wait for all tasks at their end, don't know it any more."""
    log.warning("upstream_task_abandoned", limit_s=END_LIMIT)
    asyncio._unregister_task(task)  # noqa: SLF001  documented for those who extend asyncio
    _abandoned.add(task)
    task.add_done_callback(_see)


def _see(task: asyncio.Task[Any]) -> None:
    """Nobody waits for how it ends: that is no fault of the loop's."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
