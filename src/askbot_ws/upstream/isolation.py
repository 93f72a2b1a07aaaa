"""Isolation: runs a coroutine of users' code in a task of its own, so that it can't cancel or block the caller.

A user's code may cancel its task, or one inside it, call `sys.exit`, or catch a cancellation and go on. None of that
may end the turn's task without ending the turn, stop the server, or delay the session's next turn without limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from ..errors import AskbotError, UpstreamError, UpstreamUnavailable
from .provider_errors import ProviderError, ensure_printable, sanitize_error

CANCEL_TIMEOUT_SECONDS = 5.0  # for a cancelled task to end in; after half of it, it is cancelled again

T = TypeVar("T")
log = structlog.get_logger()

_abandoned: set[asyncio.Task[Any]] = set()  # the loop itself keeps no task that waits


async def run_in_own_task(call: Callable[[], Awaitable[T]]) -> T:
    """Await `call()` in a task of its own, and return what it returns.

    Cancelling the caller cancels that task, and waits for its end for at most `CANCEL_TIMEOUT_SECONDS`; then the task
    is abandoned: neither the caller nor the end of the loop waits for it.

    Raises:
        UpstreamError: As `call` raised it, sanitized for the log.
        UpstreamUnavailable: `call` raised another `AskbotError`, or what is no `Exception` (a cancellation that did not
            come from here, `SystemExit`, `GeneratorExit`).
        Exception: Any other one that `call` raised, unchanged.
    """
    task = asyncio.create_task(_contain_exit(call))
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if task.cancelled():
        raise UpstreamUnavailable from ProviderError("it was cancelled, and not by us")
    error = task.exception()
    if error is None:
        return task.result()
    try:
        if isinstance(error, UpstreamError):
            raise sanitize_error(error)
        if isinstance(error, Exception) and not isinstance(error, AskbotError):
            raise error
        raise UpstreamUnavailable from ensure_printable(error)
    finally:
        del error, task  # else the error would refer to itself, by its traceback and this frame


async def _contain_exit(call: Callable[[], Awaitable[T]]) -> T:
    """Raise `UpstreamUnavailable` for the exceptions that a task would raise out of the loop."""
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        raise UpstreamUnavailable from error


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task, twice if needed: some code treats the first cancellation as a passing error."""
    try:
        for _ in range(2):
            task.cancel()
            await asyncio.wait((task,), timeout=CANCEL_TIMEOUT_SECONDS / 2)
            if task.done():
                return
    finally:
        _discard_outcome(task) if task.done() else _abandon(task)


def _abandon(task: asyncio.Task[Any]) -> None:
    """Stop waiting for a task: also `asyncio.run` and uvloop, which wait for all tasks that they know at their end."""
    log.warning("upstream_task_abandoned", limit_s=CANCEL_TIMEOUT_SECONDS)
    asyncio._unregister_task(task)  # noqa: SLF001  documented for those who extend asyncio
    _abandoned.add(task)
    task.add_done_callback(_discard_outcome)


def _discard_outcome(task: asyncio.Task[Any]) -> None:
    """Retrieve a task's exception, as nobody waits for it: else the loop would log it."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
