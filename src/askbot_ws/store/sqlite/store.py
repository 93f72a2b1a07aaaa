"""SQLiteStore: a store in one file for one process, the default.

New events go into a journal and into memory (`append`); turns that have ended move on into SQLite (`Flusher`), from
which readers get what the memory no longer holds (`StoreQueries`).
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

from ...core.log_tail import LogTail, wire_size
from ...errors import SessionNotFound, StoreError
from ...events import Done, Event, TurnRecord
from .. import (
    Entry,
    Failures,
    SessionPage,
    SessionQuery,
    StoreStatistics,
    VacuumResult,
    check_user,
    failures_of,
    heads_after,
)
from ..shielded_tasks import ShieldedTasks
from . import accounts, state, tables
from .database_thread import DatabaseThread
from .files import StoreFiles
from .flusher import FLUSHED_TAIL_BYTES, Flusher
from .journal import MAX_SEGMENT_BYTES, Journal
from .lock import ProcessLock
from .open_logs import OpenLog, OpenLogs
from .queries import StoreQueries
from .schema import connect, transaction, vacuum
from .segments import DeletedRecord, UserSessionRecord
from .startup import mark_clean_shutdown, open_error, prepare_store

BUSY_TIMEOUT_SECONDS = 5.0  # for another program's lock on the database
MAX_UNFLUSHED_CHARS = 256 * 1024  # of an answer that still runs: then it is flushed, to leave the memory
SWEEP_BATCH_SESSIONS = 100  # that a sweep deletes at once
NO_SPACE_ERRNOS = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}  # a shorter write may succeed


class SQLiteStore:
    """A `Store` in a SQLite file, with a journal in a folder beside it.

    With `fsync`, what is acknowledged survives a power cut; without it, only the end of the process.
    """

    def __init__(
        self,
        path: Path,
        *,
        fsync: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot: str | None = None,
        segment_bytes: int = MAX_SEGMENT_BYTES,
        busy_timeout: float = BUSY_TIMEOUT_SECONDS,
    ) -> None:
        """Configure a store; nothing is read or written before `open`.

        Args:
            path: The database. The journal is the folder of that name with `.journal` at its end.
            fsync: Whether `append` waits until the events are synced to the disk.
            clock: A monotonic clock, in seconds.
            wall_clock: Seconds since 1970.
            boot: Identifies this boot of the machine; None: the system's boot id.
            segment_bytes: The journal begins a new file after so many bytes.
            busy_timeout: How many seconds SQLite waits for another program's lock.
        """
        self._files = StoreFiles(path)
        self._fsync = fsync
        self._clock = clock
        self._wall_clock = wall_clock
        self._boot = boot or state.boot_id()
        self._busy_timeout = busy_timeout
        self._lock = ProcessLock(self._files)
        self.journal = Journal(self._files.journal, segment_bytes=segment_bytes)
        self.writer = DatabaseThread("writer")
        self.reader = DatabaseThread("reader")
        self._open_logs = OpenLogs()
        self.flusher = Flusher(self._open_logs, self.journal, self.writer, self._uptime)
        self._queries = StoreQueries(self._open_logs, self.reader, self.flusher, self._uptime)
        self._history = ""
        self._uptime_at_start = 0.0  # seconds
        self._started_at = 0.0  # by the clock
        self._needs_scrub = False
        self._loading: dict[str, set[object]] = {}  # loads that are under way; a deletion removes them
        self._deleting: dict[str, asyncio.Future[None]] = {}  # done once it is known whether they are deleted
        self._used_during_sweep: set[str] | None = None  # sessions in memory since the sweep read the tables
        self._sweep_lock = asyncio.Lock()
        self._vacuum_lock = asyncio.Lock()
        self._journal_lock = asyncio.Lock()  # held while something waits for a sync of the journal
        self._sync_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="askbot-sync")
        self._tasks = ShieldedTasks()

    # --- the beginning and the end -----------------------------------------------------------------------------------

    async def open(self) -> Sequence[str]:
        """Lock the store, migrate it, replay the journal. Returns the sessions with unfinished turns.

        Raises `ConfigError` where any of that fails. Where the store or its journal is of a kind that this version does
        not know, nothing was changed.
        """
        try:
            self._lock.acquire()
            await self.writer.open(self._prepare)
            await self.reader.open(self._connect)
            unfinished = await self.reader.run(tables.unfinished_sessions)
            if self._needs_scrub:
                self.flusher.scrubber.schedule()
        except BaseException as error:
            await self.close_without_flush()
            if isinstance(error, sqlite3.Error | OSError | StoreError):
                raise open_error(self._files, error) from error
            raise
        return unfinished

    def _connect(self) -> sqlite3.Connection:
        return connect(self._files.database, full_sync=self._fsync, busy_timeout=self._busy_timeout)

    def _prepare(self) -> sqlite3.Connection:
        prepared = prepare_store(self._files, self._connect, boot=self._boot, fsync=self._fsync)
        self.journal.open(prepared.old_segments)
        self._history = prepared.state.history
        self._uptime_at_start, self._started_at = prepared.state.uptime, self._clock()
        self._needs_scrub = prepared.state.unscrubbed
        return prepared.connection

    def _uptime(self) -> float:
        """How many seconds processes had the store open; time that was not recorded before a crash does not count."""
        return self._uptime_at_start + max(0.0, self._clock() - self._started_at)

    async def close(self) -> None:
        """Flush everything, and close the files. What can't be flushed stays in the journal for the next start."""
        if self._vacuum_lock.locked():
            self.writer.interrupt()
        await self._tasks.wait_all()
        if self.writer.is_open and await self.flusher.close():
            with contextlib.suppress(StoreError):  # then the next start treats this as a crash
                await self.writer.run(partial(mark_clean_shutdown, uptime=self._uptime()))
        await self.close_without_flush()

    async def close_without_flush(self) -> None:
        """Close the files without flushing. What is in the journal is replayed by the next start."""
        await self._tasks.wait_all()
        await self.flusher.stop()
        self._open_logs.clear()
        self.journal.close()
        self._sync_executor.shutdown(wait=False)
        await self.reader.close()
        await self.writer.close()
        self._lock.release()

    async def ping(self) -> None:
        """Check that it can be used. Raises `StoreError` where the journal or the file can't be written or read."""
        if self._vacuum_lock.locked():  # which takes as long as it takes; questions are answered meanwhile
            await self.reader.run(lambda _: self.journal.check_writable())
        else:
            await self.writer.run(self._check_writable)
        await self.reader.run(lambda connection: connection.execute("SELECT 1").fetchone())

    def _check_writable(self, connection: sqlite3.Connection) -> None:
        self.journal.check_writable()
        with transaction(connection):
            pass

    def statistics(self) -> StoreStatistics:
        """Return what an operator watches of it."""
        unflushed = [
            event
            for open_log in self._open_logs.values()
            if open_log.flushed_head < open_log.log.head
            for event in open_log.log.events_after(max(open_log.flushed_head, open_log.log.start))
        ]
        flushed_at = self.flusher.flushed_at
        return StoreStatistics(
            journal_bytes=self.journal.size,
            unflushed_bytes=sum(map(wire_size, unflushed)),
            due_sessions=self.flusher.due_count,
            pending_deletions=len(self.flusher.pending_deletions),
            flush_age=None if flushed_at is None else self._uptime() - flushed_at,
        )

    # --- the logs in memory ------------------------------------------------------------------------------------------

    def create(self, session: str, *, user: str | None = None) -> LogTail:
        """Create a new, empty log. Raises ValueError where the session exists in memory, or the user is none."""
        check_user(user)
        if session in self._open_logs:
            raise ValueError("the session exists")
        self._note_use(session)
        log = LogTail(session, history=self._history, user=user)
        self._open_logs.add(OpenLog(log, flushed_head=0))
        return log

    async def load(self, session: str) -> LogTail:
        """Load a session's log, with its newest events. Raises `SessionNotFound`, also if it is deleted meanwhile."""
        self._note_use(session)
        await self._wait_for_deletion(session)
        if session not in self._open_logs:
            found = await self._load(session)
            if session not in self._open_logs:  # else another task has loaded it meanwhile
                self._open_logs.add(OpenLog(found, flushed_head=found.head))
        open_log = self._open_logs[session]
        open_log.released = False
        return open_log.log

    def _note_use(self, session: str) -> None:
        if self._used_during_sweep is not None:
            self._used_during_sweep.add(session)

    async def _load(self, session: str) -> LogTail:
        load = object()
        self._loading.setdefault(session, set()).add(load)
        found: LogTail | None = None
        try:
            if session not in self.flusher.pending_deletions:
                job = partial(tables.read_newest, session=session, max_bytes=FLUSHED_TAIL_BYTES, history=self._history)
                found = await self.reader.run(job)
            await self._wait_for_deletion(session)
            if found is None or load not in self._loading.get(session, ()):
                raise SessionNotFound
            return found
        finally:
            loads = self._loading.get(session, set())
            loads.discard(load)
            if not loads:
                self._loading.pop(session, None)

    async def _wait_for_deletion(self, session: str) -> None:
        """Wait until it is known whether a session is deleted, where that is being written."""
        while session in self._deleting:
            await asyncio.wait([self._deleting[session]])

    def release(self, session: str) -> None:
        """Drop the log from memory once all of it is flushed."""
        open_log = self._open_logs.get(session)
        if open_log is None:
            return
        open_log.released = True
        if open_log.is_evictable:
            self._open_logs.remove(session)
        else:
            self.flusher.schedule([session])

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Append events to sessions, with one write: to each all of its own, or none."""
        if self._fsync:
            return self._tasks.start(self._append_synced(batch))
        failures: Failures = {}
        new: list[LogTail] = []
        heads = heads_after(batch, self._open_logs, failures, new)
        if not heads:
            return failures
        if new:
            batch = self._with_users(batch, new)
        if self.journal.is_full:
            self.flusher.schedule(self.journal.rotate())
        payloads: list[bytes] = []
        for session in heads:
            payloads += batch[session][1]
        try:
            self.journal.append(payloads, heads)
        except OSError as error:
            return self._append_one_by_one(batch, heads, failures, error)
        self._add_to_logs(batch, heads)
        return failures

    def _with_users(self, batch: Mapping[str, Entry], new: Iterable[LogTail]) -> Mapping[str, Entry]:
        """The batch with the user of each new session in the record of its first event."""
        entries = {**batch}
        for log in new:
            events, frames = entries[log.session]
            log.summary.created = self._wall_clock()
            first = UserSessionRecord(log.user or "", log.summary.created, events[0])
            entries[log.session] = events, [first.encode(frames[0]), *frames[1:]]
        return entries

    def _append_one_by_one(
        self, batch: Mapping[str, Entry], heads: Mapping[str, int], failures: Failures, error: OSError
    ) -> Failures:
        """Append each session's events by themselves, where those of all together did not fit on the disk."""
        if len(heads) == 1 or error.errno not in NO_SPACE_ERRNOS:
            return failures | failures_of(heads, error)
        for session, head in heads.items():
            try:
                self.journal.append(batch[session][1], {session: head})
            except OSError as own:
                failures |= failures_of([session], own)
            else:
                self._add_to_logs(batch, [session])
        return failures

    def _add_to_logs(self, batch: Mapping[str, Entry], sessions: Iterable[str]) -> None:
        all_open = self._open_logs
        for session in sessions:
            open_log = all_open[session]
            log = open_log.log
            for event in batch[session][0]:
                log.append_if_new(event)
                if type(event) is Done or event.seq - open_log.flushed_head > MAX_UNFLUSHED_CHARS:
                    self.flusher.schedule((session,))

    async def _append_synced(self, batch: Mapping[str, Entry]) -> Failures:
        async with self._journal_lock:
            failures: Failures = {}
            new: list[LogTail] = []
            heads = heads_after(batch, self._open_logs, failures, new)
            if not heads:
                return failures
            if new:
                batch = self._with_users(batch, new)
            if self.journal.is_full:
                self.flusher.schedule(self.journal.rotate())
            error = await self._journal_synced(batch, heads)
            if error is None:
                return failures
            if len(heads) == 1 or error.errno not in NO_SPACE_ERRNOS:
                return failures | failures_of(heads, error)
            for session, head in heads.items():  # what does not fit together may fit one by one
                error = await self._journal_synced(batch, {session: head})
                if error is not None:
                    failures |= failures_of([session], error)
            return failures

    async def _journal_synced(self, batch: Mapping[str, Entry], heads: Mapping[str, int]) -> OSError | None:
        """Write and sync, then add to the logs; returns the error where that failed. The sessions stay in memory."""
        open_logs = [self._open_logs[session] for session in heads]
        for open_log in open_logs:
            open_log.appending = True
        try:
            await self._write_synced([payload for session in heads for payload in batch[session][1]], heads)
            self._add_to_logs(batch, heads)
        except OSError as error:
            self.flusher.schedule(heads)  # so that a retired segment can be removed
            return error
        finally:
            for open_log in open_logs:
                open_log.appending = False
                if open_log.released:
                    self.flusher.schedule([open_log.log.session])
        return None

    async def _write_synced(self, payloads: Iterable[bytes], heads: Mapping[str, int]) -> None:
        """Append to the journal and sync it. Raises OSError; what was written does not count then."""
        written = self.journal.append_unsynced(payloads)
        try:
            await asyncio.get_running_loop().run_in_executor(self._sync_executor, written.segment.sync)
        except OSError:
            self.journal.roll_back(written)
            raise
        self.journal.confirm_synced(written, heads)

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def forget(self, *sessions: str) -> None:
        """Delete sessions: they are gone once the journal has their deletion; the tables follow."""
        await self._tasks.start(self._delete(sessions, unused=False))

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that nobody uses and nothing was added to for `idle` seconds; returns how many."""
        async with self._sweep_lock:
            try:
                return await self._sweep(idle)
            finally:
                self._used_during_sweep = None

    async def _sweep(self, idle: float) -> int:
        uptime = self._uptime()
        await self.writer.run(partial(_record_uptime, uptime=uptime))
        await self.writer.run(partial(accounts.remove_old, now=self._wall_clock()))
        last, deleted = (-1.0, 0), 0
        while True:
            self._used_during_sweep = {*self._open_logs, *self._loading}
            found = await self.reader.run(
                partial(tables.idle_sessions, before=uptime - idle, after=last, limit=SWEEP_BATCH_SESSIONS)
            )
            if not found:
                return deleted
            last = found[-1][:2]
            deleted += await self._tasks.start(self._delete([session for _, _, session in found], unused=True))
            if self.flusher.pending_deletions:
                return deleted  # SQLite can't be written just now: the next sweep goes on

    async def _delete(self, sessions: Iterable[str], *, unused: bool) -> int:
        """Delete sessions (`unused`: only those not used during the sweep). Returns how many; raises `StoreError`."""
        async with self._journal_lock:
            chosen = [session for session in sessions if not (unused and self._in_use(session))]
            if chosen:
                await self._journal_deletions(chosen)
                for session in chosen:
                    self._loading.pop(session, None)
                self.flusher.mark_deleted(chosen)
        if chosen:
            await self.flusher.try_flush()
        return len(chosen)

    def _in_use(self, session: str) -> bool:
        return session in (self._used_during_sweep or ()) or session in self.flusher.pending_deletions

    async def _journal_deletions(self, sessions: Collection[str]) -> None:
        """Append the sessions' deletions to the journal. Raises `StoreError`; nothing has changed then."""
        try:
            if not self._fsync:
                self.journal.append_deletions(sessions)
                return
            decision: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._deleting = dict.fromkeys(sessions, decision)
            try:
                await self._write_synced([DeletedRecord(session).encode() for session in sessions], {})
            finally:
                self._deleting = {}
                decision.set_result(None)
        except OSError as error:
            raise StoreError from error

    # --- vacuum ------------------------------------------------------------------------------------------------------

    async def vacuum(self) -> VacuumResult:
        """Flush everything and empty the journal, then rewrite the file without its free pages."""
        return await self._tasks.start(self._vacuum())

    async def _vacuum(self) -> VacuumResult:
        async with self._vacuum_lock:
            before = self._files.size()
            self.flusher.schedule(self.journal.rotate())
            await self.flusher.flush()
            await self.writer.run(vacuum)
            return VacuumResult(before, self._files.size())

    # --- reading: see `StoreQueries` ---------------------------------------------------------------------------------

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Read events after a position, from memory where it has them."""
        return await self._queries.read(session, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """Read the newest turns before a position, oldest first."""
        return await self._queries.turns(session, before=before, limit=limit)

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The position after which the newest turns can be replayed."""
        return await self._queries.replay_start(session, turns=turns)

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """The first turn whose question was asked with this id, or None."""
        return await self._queries.find_turn(session, ask_id)

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        """List sessions, the newest first."""
        return await self._queries.list_sessions(query, before=before, limit=limit)

    # --- accounts ----------------------------------------------------------------------------------------------------

    async def spend(self, name: str, *, expires: float) -> bool:
        """Record a name until it expires; returns whether it was not recorded yet."""
        return await self._tasks.start(self.writer.run(partial(accounts.spend, name=name, expires=expires)))

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        """Add to the count of a user's tokens on a day; returns the count."""
        return await self._tasks.start(self.writer.run(partial(accounts.add_usage, user=user, day=day, tokens=tokens)))

    async def usage(self, user: str) -> Mapping[str, int]:
        """A user's tokens by day."""
        return await self.writer.run(partial(accounts.usage, user=user))

    async def forget_usage(self, user: str) -> None:
        """Delete the counts of a user, from the write-ahead log too."""
        await self._tasks.start(self.writer.run(partial(accounts.forget_usage, user=user)))
        await self.flusher.scrubber.scrub()


def _record_uptime(connection: sqlite3.Connection, *, uptime: float) -> None:
    with transaction(connection):
        state.set_uptime(connection, uptime)
