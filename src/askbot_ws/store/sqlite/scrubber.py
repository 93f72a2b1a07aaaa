"""Scrubber: takes what is deleted out of SQLite's write-ahead log, too.

That needs a moment in which no other connection reads from that log. A backup, or somebody's long transaction, may
keep it from coming for hours; nothing else waits for it. That it is still to be done is kept in the store itself.
"""

from __future__ import annotations

import asyncio
import sqlite3

import structlog

from ...errors import StoreError
from . import state
from .schema import checkpoint, transaction
from .worker import Worker

RETRY_S = 30.0  # the longest wait before it is tried again
WAIT_MS = 250  # for readers that are about to end; our own are

log = structlog.get_logger(__name__)


class Scrubber:
    """Owns the task that tries again."""

    def __init__(self, writer: Worker) -> None:
        self._writer = writer
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def now(self) -> bool:
        """Try it. Where it can't be done yet it is tried again, later and later."""
        done = await self._try()
        if not done:
            self.soon()
        return done

    def soon(self) -> None:
        """Try it in a moment, and again until it is done."""
        if not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._until_done())

    async def _until_done(self) -> None:
        wait = 0.25
        while True:
            await asyncio.sleep(min(wait, RETRY_S))
            if await self._try():
                return
            wait = min(RETRY_S, wait * 2)

    async def _try(self) -> bool:
        try:
            await self._writer.run(_scrub)
        except StoreError as error:
            log.warning("erasure_delayed", reason=str(error.__cause__))
            return False
        return True

    async def stop(self) -> None:
        """Try no more. The next start does it."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def _scrub(connection: sqlite3.Connection) -> None:
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {min(patience, WAIT_MS)}")
    try:
        checkpoint(connection)
        with transaction(connection):
            state.set_unscrubbed(connection, unscrubbed=False)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
