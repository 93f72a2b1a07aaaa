"""SQLiteStore: one file and one process, the default.

New events go into a journal and into memory (`append`); turns that have ended move on into SQLite (`Flusher`); a
reader gets what the memory no longer holds from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...core.log_tail import LogTail
from ...errors import SessionNotFound, StoreError
from ...events import Done, Event, TurnRecord
from .. import Entry, Failures, failed, heads
from . import state, tables
from .files import StoreFiles
from .flusher import KEEP, Flusher
from .journal import SEGMENT, Journal
from .lock import ProcessLock
from .opening import end, prepare, refusal
from .pieces import OpenLog
from .reads import Reads
from .schema import connect, transaction
from .segments import Deleted
from .worker import Tasks, Worker

BUSY_S = 5.0  # how long SQLite waits for another program's lock
LONG = 256 * 1024  # code points after which an answer that still runs is flushed: it need not be in memory twice
CHUNK = 100  # sessions that a sweep deletes at once
NO_ROOM = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}  # what is shorter may fit

T = TypeVar("T")


class SQLiteStore:
    """A `Store` in a file, with a journal in a folder beside it."""

    def __init__(
        self,
        path: Path,
        *,
        fsync: bool = False,
        clock: Callable[[], float] = time.monotonic,
        boot: str | None = None,
        segment_bytes: int = SEGMENT,
        busy_s: float = BUSY_S,
    ) -> None:
        """`clock` is a steady one, in seconds; `boot` names this boot of the machine, in the place of its own name."""
        self._files = StoreFiles(path)
        self._fsync = fsync
        self._clock = clock
        self._boot = boot or state.boot_id()
        self._busy_s = busy_s
        self._lock = ProcessLock(self._files)
        self.journal = Journal(self._files.journal, segment_bytes=segment_bytes)
        self.writer = Worker("writer")
        self.reader = Worker("reader")
        self._open: dict[str, OpenLog] = {}
        self.flusher = Flusher(self._open, self.journal, self.writer, self._age)
        self._reads = Reads(self._open, self.reader, self.flusher)
        self._history = ""
        self._age_at_start = 0.0  # seconds
        self._started = 0.0  # by the clock
        self._unscrubbed = False
        self._loading: dict[str, set[object]] = {}  # loads that are under way; a deletion takes them away
        self._deleting: dict[str, asyncio.Future[None]] = {}  # done once it is known whether they are deleted
        self._used: set[str] | None = None  # during a sweep: sessions that were in memory since it looked at the tables
        self._sweeping = asyncio.Lock()
        self._journaling = asyncio.Lock()  # held while something waits for a sync of the journal
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="askbot-sync")
        self._tasks = Tasks()

    # --- the beginning and the end -----------------------------------------------------------------------------------

    async def open(self) -> Sequence[str]:
        """Lock the store, bring it up to date, replay the journal. Raises `ConfigError` where that can't be.

        Where the store or its journal is of a kind that this version does not know, nothing is touched.
        """
        try:
            self._lock.acquire()
            await self.writer.open(self._start)
            await self.reader.open(self._connect)
            unfinished = await self.reader.run(tables.unfinished)
            if self._unscrubbed:
                self.flusher.scrubber.soon()
        except BaseException as error:
            await self.abandon()
            if isinstance(error, sqlite3.Error | OSError | StoreError):
                raise refusal(self._files, error) from error
            raise
        return unfinished

    def _connect(self) -> sqlite3.Connection:
        return connect(self._files.database, full_sync=self._fsync, busy_s=self._busy_s)

    def _start(self) -> sqlite3.Connection:
        opened = prepare(self._files, self._connect, boot=self._boot, fsync=self._fsync)
        self.journal.open(opened.left)
        self._history = opened.state.history
        self._age_at_start, self._started = opened.state.age, self._clock()
        self._unscrubbed = opened.state.unscrubbed
        return opened.connection

    def _age(self) -> float:
        """How long processes had the store open, in seconds; what was not noted before a crash does not count."""
        return self._age_at_start + max(0.0, self._clock() - self._started)

    async def close(self) -> None:
        """Flush everything, and let go. What can't be flushed stays in the journal for the next start."""
        await self._tasks.done()
        if self.writer.is_open and await self.flusher.close():
            with contextlib.suppress(StoreError):  # then the next start takes this for a crash
                await self.writer.run(partial(end, age=self._age()))
        await self.abandon()

    async def abandon(self) -> None:
        """Let go at once, as a crash would. What is in the journal is for the next start."""
        await self._tasks.done()
        await self.flusher.stop()
        self._open.clear()
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

    def create(self, session: str) -> LogTail:
        """A new, empty log."""
        if session in self._open:
            raise ValueError(f"session {session} exists")
        self._use(session)
        opened = self._open[session] = OpenLog(LogTail(session, history=self._history), flushed=0)
        return opened.log

    async def load(self, session: str) -> LogTail:
        """The log of a session, with its newest events. Raises `SessionNotFound`, also if it is deleted meanwhile."""
        self._use(session)
        await self._decided(session)
        if session not in self._open:
            found = await self._load(session)
            self._open.setdefault(session, OpenLog(found, flushed=found.head))
        opened = self._open[session]
        opened.released = False
        return opened.log

    def _use(self, session: str) -> None:
        if self._used is not None:
            self._used.add(session)

    async def _load(self, session: str) -> LogTail:
        load = object()
        self._loading.setdefault(session, set()).add(load)
        found: LogTail | None = None
        try:
            if session not in self.flusher.deleted:
                job = partial(tables.newest, session=session, budget=KEEP, history=self._history)
                found = await self.reader.run(job)
            await self._decided(session)
            if found is None or load not in self._loading.get(session, ()):
                raise SessionNotFound
            return found
        finally:
            loads = self._loading.get(session, set())
            loads.discard(load)
            if not loads:
                self._loading.pop(session, None)

    async def _decided(self, session: str) -> None:
        """Wait until it is known whether a session is deleted, where that is being written."""
        while session in self._deleting:
            await asyncio.wait([self._deleting[session]])

    def release(self, session: str) -> None:
        """Let the log leave the memory, once all of it is flushed."""
        opened = self._open.get(session)
        if opened is None:
            return
        opened.released = True
        if opened.idle:
            del self._open[session]
        else:
            self.flusher.soon([session])

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Add events to sessions, with one write: to each all of its own, or none."""
        if self._fsync:
            return self._tasks.begin(self._append_synced(batch))
        failures: Failures = {}
        found = heads(batch, self._open, failures)
        if not found:
            return failures
        if self.journal.full:
            self.flusher.soon(self.journal.rotate())
        payloads: list[bytes] = []
        for session in found:
            payloads += batch[session][1]
        try:
            self.journal.append(payloads, found)
        except OSError as error:
            return self._append_each(batch, found, failures, error)
        self._add(batch, found)
        return failures

    def _append_each(
        self, batch: Mapping[str, Entry], found: Mapping[str, int], failures: Failures, error: OSError
    ) -> Failures:
        """What does not fit together may fit one by one."""
        if len(found) == 1 or error.errno not in NO_ROOM:
            return failures | failed(found, error)
        for session, head in found.items():
            try:
                self.journal.append(batch[session][1], {session: head})
            except OSError as own:
                failures |= failed([session], own)
            else:
                self._add(batch, [session])
        return failures

    def _add(self, batch: Mapping[str, Entry], sessions: Iterable[str]) -> None:
        all_open = self._open
        for session in sessions:
            opened = all_open[session]
            log = opened.log
            for event in batch[session][0]:
                log.append_if_new(event)
                if type(event) is Done or event.seq - opened.flushed > LONG:
                    self.flusher.soon((session,))

    async def _append_synced(self, batch: Mapping[str, Entry]) -> Failures:
        async with self._journaling:
            failures: Failures = {}
            found = heads(batch, self._open, failures)
            if not found:
                return failures
            if self.journal.full:
                self.flusher.soon(self.journal.rotate())
            error = await self._journal_synced(batch, found)
            if error is None:
                return failures
            if len(found) == 1 or error.errno not in NO_ROOM:
                return failures | failed(found, error)
            for session, head in found.items():  # what does not fit together may fit one by one
                error = await self._journal_synced(batch, {session: head})
                if error is not None:
                    failures |= failed([session], error)
            return failures

    async def _journal_synced(self, batch: Mapping[str, Entry], found: Mapping[str, int]) -> OSError | None:
        """Write, sync, and only then add; returns why not. The sessions stay in memory as long as that takes."""
        opened = [self._open[session] for session in found]
        for one in opened:
            one.appending = True
        try:
            await self._write_synced([payload for session in found for payload in batch[session][1]], found)
            self._add(batch, found)
        except OSError as error:
            self.flusher.soon(found)  # so that a segment that is in doubt can go
            return error
        finally:
            for one in opened:
                one.appending = False
                if one.released:
                    self.flusher.soon([one.log.session])
        return None

    async def _write_synced(self, payloads: Iterable[bytes], found: Mapping[str, int]) -> None:
        """Raises OSError; what was written does not count then."""
        written = self.journal.append_unsynced(payloads)
        try:
            await asyncio.get_running_loop().run_in_executor(self._syncer, written.segment.sync)
        except OSError:
            self.journal.refuse(written)
            raise
        self.journal.accept(written, found)

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def forget(self, session: str) -> None:
        """Delete a session: it is gone once the journal says so; what is left in the tables follows."""
        await self._tasks.begin(self._delete([session], unused=False))

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that nobody uses and nothing was added to; says how many."""
        async with self._sweeping:
            try:
                return await self._sweep(idle)
            finally:
                self._used = None

    async def _sweep(self, idle: float) -> int:
        age = self._age()
        await self.writer.run(partial(_note_age, age=age))
        known, swept = (-1.0, 0), 0
        while True:
            self._used = {*self._open, *self._loading}
            found = await self.reader.run(partial(tables.idle, before=age - idle, after=known, limit=CHUNK))
            if not found:
                return swept
            known = found[-1][:2]
            swept += await self._tasks.begin(self._delete([session for _, _, session in found], unused=True))
            if self.flusher.deleted:
                return swept  # SQLite takes nothing just now: the next sweep goes on

    async def _delete(self, sessions: Iterable[str], *, unused: bool) -> int:
        """Delete them, or only those that are `unused` since a sweep looked; returns how many. Raises `StoreError`."""
        async with self._journaling:
            chosen = [session for session in sessions if not (unused and self._in_use(session))]
            if chosen:
                await self._journal_deleted(chosen)
                for session in chosen:
                    self._loading.pop(session, None)
                self.flusher.mark_deleted(chosen)
        if chosen:
            await self.flusher.attempt()
        return len(chosen)

    def _in_use(self, session: str) -> bool:
        return session in (self._used or ()) or session in self.flusher.deleted

    async def _journal_deleted(self, sessions: Collection[str]) -> None:
        """Write it to the journal, and they are gone. Raises `StoreError`; nothing has changed then."""
        try:
            if not self._fsync:
                self.journal.delete(sessions)
                return
            decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._deleting = dict.fromkeys(sessions, decided)
            try:
                await self._write_synced([Deleted(session).payload() for session in sessions], {})
            finally:
                self._deleting = {}
                decided.set_result(None)
        except OSError as error:
            raise StoreError from error

    # --- reading: see `Reads` ----------------------------------------------------------------------------------------

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place, from memory where they are there."""
        return await self._reads.read(session, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns before a place, oldest first."""
        return await self._reads.turns(session, before=before, limit=limit)

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The place after which the newest turns can be replayed."""
        return await self._reads.replay_start(session, turns=turns)

    async def asked(self, session: str, id: str) -> str | None:
        """The turn that was asked with this id."""
        return await self._reads.asked(session, id)


def _note_age(connection: sqlite3.Connection, *, age: float) -> None:
    with transaction(connection):
        state.set_age(connection, age)
