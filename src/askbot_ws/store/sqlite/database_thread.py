"""DatabaseThread: runs jobs on a SQLite connection in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...errors import StoreError

T = TypeVar("T")


class DatabaseThread:
    """A thread with a connection of its own, which runs one job after the other. Cancelling a caller stops no job."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"askbot-{name}")
        self._connection: sqlite3.Connection | None = None

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open the connection, in the thread. Raises whatever `connect` raises."""
        self._connection = await asyncio.get_running_loop().run_in_executor(self._executor, connect)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in the thread and return its result.

        Raises `StoreError` where it is closed, and for every `sqlite3.Error`, OSError or ValueError of the job.
        """
        if self._connection is None:
            raise StoreError("The store is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, job, self._connection)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError from error

    def interrupt(self) -> None:
        """Break off the job that runs: it raises, and its transaction is rolled back."""
        if self._connection is not None:
            self._connection.interrupt()

    async def close(self) -> None:
        """Close the connection, then end the thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, connection.close)
        self._executor.shutdown(wait=False)
