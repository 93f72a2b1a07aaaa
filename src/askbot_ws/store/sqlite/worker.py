"""Worker: a thread with a connection of its own. Tasks: what is done to its end, whoever waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ...errors import StoreError

T = TypeVar("T")


class Worker:
    """Does one job after the other, off the loop. A job that nobody waits for any more is done all the same."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"askbot-{name}")
        self._connection: sqlite3.Connection | None = None

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Begin. Raises whatever `connect` raises."""
        self._connection = await asyncio.get_running_loop().run_in_executor(self._pool, connect)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job. Raises `StoreError` for what the driver or the disk raises, or what can't be encoded or decoded."""
        if self._connection is None:
            raise StoreError("The store is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job, self._connection)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError from error

    async def close(self) -> None:
        """End the connection, then the thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, connection.close)
        self._pool.shutdown(wait=False)


class Tasks:
    """Owns the tasks that are done to their end: whoever stops waiting does not stop the disk."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, job: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Do it; the future has its result, and may be cancelled."""
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; if nobody does, it is no news

    async def done(self) -> None:
        """Wait until all of them have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)
