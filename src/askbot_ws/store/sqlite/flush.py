"""Settler: moves what has ended from the journal and the memory into SQLite, many turns a transaction.

A session may be settled at any moment: SQLite then holds its events up to some place, exactly, and the journal and
the `Log` have what follows. What fails is tried again, and loses nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from ...core.log import Log
from ...errors import StoreError
from . import tables
from .journal import Journal
from .schema import checkpoint, transaction
from .worker import Worker

KEEP = 4 * 1024  # bytes of settled events that stay in memory, a session
PAUSE_S = 0.05  # turns that end within it go into one transaction
SOME = 100  # sessions in one transaction
RETRY_S = 30.0  # the longest wait before what failed is tried again

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A session in memory."""

    log: Log
    settled: int  # the head in SQLite
    released: bool = False


class Settler:
    """Owns the task that settles."""

    def __init__(self, held: dict[str, Held], journal: Journal, writer: Worker, clock: Callable[[], float]) -> None:
        self._held = held
        self._journal = journal
        self._writer = writer
        self._clock = clock
        self._due: dict[str, Held] = {}
        self._doomed: set[str] = set()
        self._writing = asyncio.Lock()  # one transaction at a time
        self._task: asyncio.Task[None] | None = None

    @property
    def doomed(self) -> Collection[str]:
        """The sessions that are to be deleted from SQLite, and may not be yet."""
        return self._doomed

    def soon(self, sessions: Iterable[str]) -> None:
        """Settle these sessions, as far as they are in memory, within a moment."""
        self._due.update((session, self._held[session]) for session in sessions if session in self._held)
        if (self._due or self._doomed) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._until_done())

    def doom(self, sessions: Iterable[str]) -> None:
        """Delete these sessions: from memory at once, from SQLite with the next transaction."""
        for session in sessions:
            self._doomed.add(session)
            self._held.pop(session, None)
            self._due.pop(session, None)
            self._journal.discard(session)
        self.soon(self._journal.rotate())  # so that the segments with their text can go

    async def close(self) -> None:
        """Settle everything. What can't be settled stays in the journal."""
        await self.stop()
        self._journal.rotate()
        self._due.update(self._held)
        try:
            await self.now()
            await self._writer.run(checkpoint)
        except StoreError as error:
            self._warn(error)

    async def stop(self) -> None:
        """Leave everything as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _until_done(self) -> None:
        wait = PAUSE_S
        while self._due or self._doomed:
            await asyncio.sleep(wait)
            try:
                await self.now()
                wait = PAUSE_S
            except StoreError as error:
                wait = min(RETRY_S, max(wait, 0.5) * 2)
                self._warn(error, retry_in_s=wait)

    async def now(self) -> None:
        """Settle all that is due, and remove what the journal then no longer needs. Raises `StoreError`."""
        async with self._writing:
            due, self._due = [*self._due.items()], {}
            try:
                while due or self._doomed:
                    await self._some(
                        [(session, held) for session, held in due[:SOME] if self._held.get(session) is held]
                    )
                    del due[:SOME]
            except BaseException:
                self.soon([session for session, held in due if self._held.get(session) is held])
                raise
            self._trim()

    async def _some(self, due: Sequence[tuple[str, Held]]) -> None:
        """One transaction. Never of very many sessions: the loop would wait for it."""
        doomed = frozenset(self._doomed)
        marks = [(held, held.log.head) for _, held in due]
        parts = [tables.Part(session, held.log.slices(after=held.settled)) for session, held in due]
        if parts or doomed:
            await self._writer.run(partial(_write, parts=parts, doomed=doomed, now=self._clock()))
        self._doomed -= doomed
        for held, head in marks:
            self._settled(held, head)

    def _settled(self, held: Held, head: int) -> None:
        session = held.log.session
        if self._held.get(session) is not held:
            return  # deleted meanwhile
        held.settled = head
        held.log.drop(keep=KEEP, until=head)
        self._journal.settle(session, head)
        if held.released and held.log.head == head:
            del self._held[session]

    def _trim(self) -> None:
        if self._doomed:
            return  # if we die now, the journal must still know
        try:
            self._journal.trim()
        except OSError as error:
            raise StoreError from error

    def _warn(self, error: StoreError, **facts: object) -> None:
        cause = error.__cause__
        log.warning("settle_failed", cause=type(cause).__name__, reason=str(cause), sessions=len(self._due), **facts)


def _write(connection: sqlite3.Connection, parts: Sequence[tables.Part], doomed: Collection[str], now: float) -> None:
    with transaction(connection):
        tables.delete(connection, doomed)
        for part in parts:
            tables.add(connection, part, now=now)
    if doomed:
        checkpoint(connection)  # or the text is still in the write-ahead log
