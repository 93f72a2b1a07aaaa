"""WalScrubber: removes deleted text from SQLite's write-ahead log, by emptying it.

That needs a moment in which no other connection reads from the log. A backup, or another program's long transaction,
may delay it for hours; nothing else waits for it. That it is still to be done is kept in the store itself.
"""

from __future__ import annotations

import asyncio
import sqlite3

import structlog

from ...errors import StoreError
from . import state
from .database_thread import DatabaseThread
from .schema import checkpoint, transaction

MAX_RETRY_SECONDS = 30.0  # between attempts
MAX_READER_WAIT_MS = 250  # for readers to end, as our own soon do

log = structlog.get_logger(__name__)


class WalScrubber:
    """Empties the write-ahead log, in a task that tries until it is done."""

    def __init__(self, writer: DatabaseThread) -> None:
        self._writer = writer
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def scrub(self) -> bool:
        """Empty the log; returns whether that was possible. Where it was not, it is scheduled."""
        done = await self._try_scrub()
        if not done:
            self.schedule()
        return done

    def schedule(self) -> None:
        """Empty the log soon, with growing delays between the attempts."""
        if not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._scrub_until_done())

    async def _scrub_until_done(self) -> None:
        wait = 0.25
        while True:
            await asyncio.sleep(min(wait, MAX_RETRY_SECONDS))
            if await self._try_scrub():
                return
            wait = min(MAX_RETRY_SECONDS, wait * 2)

    async def _try_scrub(self) -> bool:
        try:
            await self._writer.run(_scrub)
        except StoreError as error:
            log.warning("erasure_delayed", reason=str(error.__cause__))
            return False
        return True

    async def stop(self) -> None:
        """Stop trying. The next start goes on with it."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def _scrub(connection: sqlite3.Connection) -> None:
    (busy_timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {min(busy_timeout, MAX_READER_WAIT_MS)}")
    try:
        checkpoint(connection)
        with transaction(connection):
            state.set_unscrubbed(connection, unscrubbed=False)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout}")
