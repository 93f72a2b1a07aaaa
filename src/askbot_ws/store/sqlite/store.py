"""SQLiteStore: one file and one process, the default.

New events go into a journal and into memory (`append`); turns that have ended move on into SQLite (`Settler`); a
reader gets what the memory no longer holds from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...core.cursor import newest
from ...core.log import Log, merge
from ...core.records import records
from ...errors import ConfigError, SessionNotFound, StoreError
from ...events import MAX_SEQ, Done, Event, Question, TurnRecord
from .. import Entry, Failures
from ..batch import heads
from . import tables
from .flush import KEEP, Held, Settler
from .journal import SEGMENT, Journal, Segment
from .lock import ProcessLock
from .replay import replay
from .schema import connect, migrate, transaction
from .worker import Worker

BUSY_S = 5.0  # how long SQLite waits for another program's lock
LONG = 256 * 1024  # code points after which an answer that still runs is settled: it need not be in memory twice
CHUNK = 100  # sessions that a sweep deletes at once

T = TypeVar("T")


class SQLiteStore:
    """A `Store` in a file, with a journal in a folder beside it."""

    def __init__(
        self,
        path: Path,
        *,
        fsync: bool = False,
        clock: Callable[[], float] = time.time,
        segment_bytes: int = SEGMENT,
        busy_s: float = BUSY_S,
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._clock = clock
        self._connect = partial(connect, path, full_sync=fsync, busy_s=busy_s)
        self._lock = ProcessLock(path)
        self.journal = Journal(path.with_name(path.name + ".journal"), segment_bytes=segment_bytes)
        self.writer = Worker("writer")
        self.reader = Worker("reader")
        self._held: dict[str, Held] = {}
        self.settler = Settler(self._held, self.journal, self.writer, clock)
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="askbot-sync")
        self._syncing: asyncio.Task[Failures] | None = None
        self._deletions = 0

    # --- the beginning and the end -----------------------------------------------------------------------------------

    async def open(self) -> Sequence[str]:
        """Lock the store, bring it up to date, replay the journal. Raises `ConfigError` where that can't be."""
        try:
            self._lock.acquire()
            await self.writer.open(self._prepare)
            await self.reader.open(self._connect)
            return await self.reader.run(tables.unfinished)
        except (sqlite3.Error, OSError, StoreError, ConfigError) as error:
            await self.abandon()
            if isinstance(error, ConfigError):
                raise
            raise _refusal(self._path, error) from error

    def _prepare(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)  # SQLite would let everybody read it
        connection = self._connect()
        try:
            migrate(connection, self._path)
            replay(connection, self.journal.open(), now=self._clock())
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Settle everything, and let go. What can't be settled stays in the journal for the next start."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        if self.writer.is_open:
            await self.settler.close()
        await self.abandon()

    async def abandon(self) -> None:
        """Let go at once, as a crash would. What is in the journal is for the next start."""
        await self.settler.stop()
        self._held.clear()
        self.journal.close()
        self._syncer.shutdown(wait=False)
        await self.reader.close()
        await self.writer.close()
        self._lock.release()

    async def ping(self) -> None:
        """Raises `StoreError` where the journal's folder or the file can't be written, or not be read."""
        await self.writer.run(self._probe)
        await self.reader.run(lambda connection: connection.execute("SELECT 1").fetchone())

    def _probe(self, connection: sqlite3.Connection) -> None:
        self.journal.probe()
        with transaction(connection):
            pass

    # --- the logs in memory ------------------------------------------------------------------------------------------

    def create(self, session: str) -> Log:
        """A new, empty log."""
        if session in self._held:
            raise ValueError(f"session {session} exists")
        self._held[session] = Held(Log(session), settled=0)
        return self._held[session].log

    async def load(self, session: str) -> Log:
        """The log of a session, with its newest events. Raises `SessionNotFound`."""
        while session not in self._held:
            deletions = self._deletions
            found = None
            if session not in self.settler.doomed:
                found = await self.reader.run(partial(tables.newest, session=session, budget=KEEP))
            if deletions != self._deletions:
                continue  # it may have been this one
            if found is None:
                raise SessionNotFound
            self._held.setdefault(session, Held(found, settled=found.head))
        self._held[session].released = False
        return self._held[session].log

    def release(self, session: str) -> None:
        """Let the log leave the memory, once all of it is settled."""
        held = self._held.get(session)
        if held is None:
            return
        held.released = True
        if held.settled == held.log.head:
            del self._held[session]
        else:
            self.settler.soon([session])

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Add events to sessions, with one write: to each all of its own, or none."""
        failures: Failures = {}
        found = heads(batch, self._held, failures)
        if not found:
            return failures
        if self.journal.full:
            self.settler.soon(self.journal.rotate())
        end = self.journal.end if self._fsync else 0
        payloads: list[bytes] = []
        for session in found:
            payloads += batch[session][1]
        try:
            self.journal.append(payloads, found)
        except OSError as error:
            return failures | _failed(found, error)
        if self._fsync and self.journal.active is not None:
            self._syncing = asyncio.create_task(self._sync(batch, found, failures, self.journal.active, end))
            return asyncio.shield(self._syncing)  # whoever stops waiting does not stop the disk
        self._take(batch, found)
        return failures

    async def _sync(
        self, batch: Mapping[str, Entry], found: Mapping[str, int], failures: Failures, segment: Segment, end: int
    ) -> Failures:
        try:
            await asyncio.get_running_loop().run_in_executor(self._syncer, segment.sync)
        except OSError as error:
            with contextlib.suppress(OSError):
                self.journal.retract(end, {session: self._held[session].log.head for session in found})
            self.settler.soon(found)
            return failures | _failed(found, error)
        self._take(batch, found)
        return failures

    def _take(self, batch: Mapping[str, Entry], sessions: Iterable[str]) -> None:
        all_held = self._held
        for session in sessions:
            held = all_held[session]
            log = held.log
            for event in batch[session][0]:
                log.add(event)
                if type(event) is Done or event.seq - held.settled > LONG:
                    self.settler.soon((session,))

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def forget(self, session: str) -> None:
        """Delete a session: from memory, the journal and the tables. Where that fails it is tried again, too."""
        await self._delete([session])

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The place after which the newest turns can be replayed."""
        return newest(await self.turns(session, limit=turns + 10), count=turns)

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that nobody uses and nothing was added to; says how many."""
        before = self._clock() - idle
        count = 0
        while True:
            job = partial(tables.untouched, before=before, limit=len(self._held) + CHUNK)
            old = [session for session in await self.reader.run(job) if session not in self._held]
            if not old:
                return count
            await self._delete(old[:CHUNK])
            count += len(old[:CHUNK])

    async def _delete(self, sessions: Collection[str]) -> None:
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        try:
            self.journal.forget(sessions)
        except OSError as error:
            raise StoreError from error
        self._deletions += 1
        self.settler.doom(sessions)
        await self.settler.now()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place, from memory where they are there."""
        held = self._held.get(session)
        if held is not None and after >= held.log.start:
            return held.log.read(after=after, limit=limit)
        found = await self._query(session, partial(tables.after, place=after, limit=limit), nothing=list[Event]())
        return merge(found, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns before a place, oldest first."""
        before = MAX_SEQ + 1 if before is None else before
        settled, events = self._unsettled(session)
        missing = limit - sum(type(event) is Question and event.seq < before for event in events)
        if missing > 0:
            job = partial(tables.turns, before=before, until=settled, limit=missing)
            events = await self._query(session, job, nothing=list[Event]()) + events
        older = [turn for turn in records(events) if turn.from_ + 1 < before]
        return older[-limit:] if limit > 0 else []

    async def asked(self, session: str, id: str) -> str | None:
        """The turn that was asked with this id."""
        for event in self._unsettled(session)[1]:
            if type(event) is Question and event.id == id:
                return event.turn
        return await self._query(session, partial(tables.asked, id=id), nothing=None)

    def _unsettled(self, session: str) -> tuple[int, list[Event]]:
        """The place up to which SQLite has a session for sure, and what follows."""
        held = self._held.get(session)
        return (held.settled, held.log.slices(after=held.settled)) if held else (MAX_SEQ, [])

    async def _query(self, session: str, job: Callable[[sqlite3.Connection, str, int], T], *, nothing: T) -> T:
        """Ask the tables about a session. Raises `SessionNotFound` where neither they nor the memory have it."""

        def ask(connection: sqlite3.Connection) -> tuple[T] | None:
            found = tables.find(connection, session)
            return found and (job(connection, session, found[0]),)

        answer = None if session in self.settler.doomed else await self.reader.run(ask)
        if answer is not None:
            return answer[0]
        if session in self._held:
            return nothing  # all of it is in memory
        raise SessionNotFound


def _failed(sessions: Iterable[str], cause: OSError) -> Failures:
    """The same failure for each of these sessions."""
    error = StoreError()
    error.__cause__ = cause
    return dict.fromkeys(sessions, error)


def _refusal(path: Path, error: Exception) -> ConfigError:
    """What keeps a store from opening, and what to do about it."""
    cause = error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest of the number are details
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        fix = (
            "it is not a database, or a damaged one; `askbot store check` says what is wrong and `askbot store repair` "
            "keeps what can be kept, or restore a copy, or set ASKBOT_STORE to another file"
        )
    elif code == sqlite3.SQLITE_FULL:
        fix = "the disk is full; make room"
    elif code == sqlite3.SQLITE_BUSY:
        fix = "another program has it locked; stop that one"
    else:
        fix = "see that its folder exists and that we may write there, or set ASKBOT_STORE to another file"
    return ConfigError(f"the store {path} cannot be opened ({cause}): {fix}.")
