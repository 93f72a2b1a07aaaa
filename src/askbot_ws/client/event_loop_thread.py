"""EventLoopThread: an event loop in a thread of its own, for callers without asyncio.

Each call ends: with its result, or, where the loop ends first for whatever reason, with `Closed`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import Closed

T = TypeVar("T")

JOIN_SECONDS = 5.0  # for which `stop` waits for the thread, which a function of the caller's may hold up


class EventLoopThread:
    """An event loop that runs in a thread of its own, until `stop`, or until nobody refers to it any more."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._calls = _Calls()
        self._thread = threading.Thread(target=_run_loop, args=(self._calls,), name="askbot", daemon=True)
        self._thread.start()
        self._stop = weakref.finalize(self, _stop_loop, self._calls, self._thread, self._process)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called, or the loop has ended by itself."""
        return self._calls.refused or not self._stop.alive

    @property
    def belongs_elsewhere(self) -> bool:
        """Whether this process is a fork of the one whose thread runs the loop."""
        return os.getpid() != self._process

    def check_thread(self) -> None:
        """Raise RuntimeError where a call would wait for ever: in the loop's own thread, and in a forked process."""
        if self.belongs_elsewhere:
            raise RuntimeError(
                "this conversation belongs to the process that opened it: open one of your own after the fork"
            )
        if threading.current_thread() is self._thread:
            raise RuntimeError("this would wait for itself: on_state, delay and token must not use the conversation")

    def run_coroutine(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop, and return its result; an interrupt meanwhile cancels it.

        Raises `Closed` where the loop is stopped, also meanwhile, and what `check_thread` raises.
        """
        self.check_thread()
        future = self._calls.submit(function)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Closed from None  # only the end of the loop cancels it
        except BaseException:
            future.cancel()
            raise
        finally:
            self._calls.discard(future)

    def run_function(self, function: Callable[[], T]) -> T:
        """Call a function in the loop, and return its result. Raises what `run_coroutine` raises."""

        async def call() -> T:
            return function()

        return self.run_coroutine(call)

    def stop(self) -> None:
        """Cancel all tasks of the loop, close it and wait for the thread."""
        self._stop()


class _Calls:
    """The calls that a loop has not answered. The thread has this, and not what its callers hold."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.refused = False
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.RLock()  # a finalizer may run in its middle, in the same thread

    def submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Have a coroutine run in the loop. Raises `Closed` once calls are refused."""
        with self._lock:
            if self.refused:
                raise Closed
            future = asyncio.run_coroutine_threadsafe(function(), self.loop)
            self._futures.add(future)
        return future

    def discard(self, future: concurrent.futures.Future[Any]) -> None:
        """Forget a call, whose caller does not wait any more."""
        with self._lock:
            self._futures.discard(future)

    def refuse(self) -> None:
        """Take no more calls: those that were taken have been scheduled in the loop."""
        with self._lock:
            self.refused = True

    def fail(self) -> None:
        """End the calls that are left, as the loop is closed."""
        with self._lock:
            for future in self._futures:
                if not future.done():
                    future.set_exception(Closed())


def _run_loop(calls: _Calls) -> None:
    asyncio.set_event_loop(calls.loop)
    try:
        calls.loop.run_forever()
    finally:  # after `stop`, and also where a callback has raised SystemExit
        calls.refuse()
        try:
            calls.loop.run_until_complete(_cancel_all_tasks())
        finally:
            calls.loop.close()
            calls.fail()


async def _cancel_all_tasks() -> None:
    await asyncio.sleep(0)  # calls that were scheduled become tasks
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stop_loop(calls: _Calls, thread: threading.Thread, process: int) -> None:
    if os.getpid() != process or calls.refused:
        return
    calls.loop.call_soon_threadsafe(calls.loop.stop)
    if threading.current_thread() is not thread:
        thread.join(JOIN_SECONDS)
