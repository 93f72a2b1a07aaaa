"""Loop: an event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import Closed

T = TypeVar("T")


class Loop:
    """It runs from the beginning. Whoever forgets to stop it has it stopped when nobody refers to it any more."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="askbot", daemon=True)
        self._thread.start()
        self._stop = weakref.finalize(self, _stop, self._loop, self._thread)

    @property
    def ended(self) -> bool:
        """Whether it was stopped."""
        return not self._stop.alive

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine there, and wait for it; who is interrupted meanwhile cancels it. Raises `Closed`."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("this would wait for itself: on_state must not use the conversation")
        if self.ended:
            raise Closed
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def run(self, function: Callable[[], T]) -> T:
        """Call a function there."""

        async def once() -> T:
            return function()

        return self.call(once)

    def soon(self, function: Callable[[], object]) -> None:
        """Have a function called there, if it still runs. Doesn't wait, so it may be used in any thread."""
        if not self.ended:
            self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """End it, and what still runs there."""
        self._stop()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if threading.current_thread() is not thread:
        thread.join()
