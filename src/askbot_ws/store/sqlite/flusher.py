"""Flusher: moves turns that have ended from the journal and the memory into SQLite, many in one transaction.

A session may be flushed at any moment: SQLite then holds its events exactly up to some position, and the journal and
the `LogTail` have what follows. What fails is tried again, and loses nothing meanwhile; a session that can't be
written, for whatever reason, does not delay the others.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import structlog

from ...core.log_tail import wire_size
from ...errors import StoreError
from .database_thread import DatabaseThread
from .flush_batch import SessionFlush, is_store_wide, write_in_one_transaction, write_separately
from .journal import Journal
from .open_logs import OpenLog, OpenLogs
from .wal_scrubber import WalScrubber

FLUSHED_TAIL_BYTES = 4 * 1024  # of each session's flushed events that stay in memory
FLUSH_DELAY_SECONDS = 0.05  # turns that end within it go into one transaction
MAX_BATCH_SESSIONS = 100  # in one transaction
MAX_BATCH_BYTES = 1024 * 1024  # of text in one transaction: building it blocks the loop
MAX_RETRY_SECONDS = 30.0  # between attempts

log = structlog.get_logger(__name__)


class Flusher:
    """Writes what is due to SQLite, in a task that runs while there is something to write."""

    def __init__(
        self, open_logs: OpenLogs, journal: Journal, writer: DatabaseThread, uptime: Callable[[], float]
    ) -> None:
        """`uptime` returns how many seconds processes had the store open."""
        self._open_logs = open_logs
        self._journal = journal
        self._writer = writer
        self._uptime = uptime
        self.scrubber = WalScrubber(writer)
        self._due: dict[str, OpenLog] = {}
        self._pending_deletions: dict[str, int] = {}  # with the deletion's number: an id may be used and deleted again
        self._deletion_numbers = itertools.count()
        self._needs_scrub = False  # something was deleted from the tables since the last scrub
        self._needs_trim = False  # a segment could not be removed
        self._failing: dict[str, OpenLog] = {}  # sessions that wait for another attempt
        self._retry: asyncio.TimerHandle | None = None
        self._flush_lock = asyncio.Lock()  # one transaction at a time
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.flushed_at: float | None = None  # when all that was due had been flushed, by `uptime`

    @property
    def due_count(self) -> int:
        """How many sessions are to be flushed, those that failed included."""
        return len(self._due) + len(self._failing)

    @property
    def pending_deletions(self) -> Collection[str]:
        """The sessions that are deleted for everybody, and may still be in SQLite."""
        return self._pending_deletions

    def schedule(self, sessions: Iterable[str]) -> None:
        """Flush these sessions, as far as they are in memory, after `FLUSH_DELAY_SECONDS`."""
        self._due.update((session, self._open_logs[session]) for session in sessions if session in self._open_logs)
        if self._has_work and not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._flush_until_done())

    def mark_deleted(self, sessions: Iterable[str]) -> None:
        """Delete these sessions: from memory at once, from SQLite with the next transaction."""
        for session in sessions:
            self._pending_deletions[session] = next(self._deletion_numbers)
            open_log = self._open_logs.remove(session)
            if open_log is not None:
                open_log.deleted = True
            self._due.pop(session, None)
            self._journal.discard_session(session)
        self.schedule(self._journal.rotate())  # so that the segments with their text can go

    async def close(self) -> bool:
        """Flush everything; returns whether all of it is in SQLite now. What is not stays in the journal."""
        await self.stop()
        self._journal.rotate()
        self._due.update(self._open_logs)
        await self.try_flush()
        return not (
            self._has_work or any(open_log.flushed_head < open_log.log.head for open_log in self._open_logs.values())
        )

    async def stop(self) -> None:
        """Stop flushing; what is not flushed stays in the journal."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
        await self.scrubber.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # --- the task ----------------------------------------------------------------------------------------------------

    @property
    def _has_work(self) -> bool:
        return bool(self._due or self._pending_deletions or self._needs_trim)

    async def _flush_until_done(self) -> None:
        wait = FLUSH_DELAY_SECONDS
        while self._has_work:
            await asyncio.sleep(wait)
            wait = FLUSH_DELAY_SECONDS if await self.try_flush() else min(MAX_RETRY_SECONDS, max(wait, 0.5) * 2)

    async def try_flush(self) -> bool:
        """Flush all that is due; returns whether all was done. Errors are logged, and tried again by the task."""
        try:
            await self.flush()
        except StoreError as error:
            self._log_failure(error.__cause__)
            return False
        except Exception:
            log.exception("flush_failed", sessions=len(self._due))  # a fault of ours is no reason to stop
            return False
        return not (self._needs_trim or self._pending_deletions)

    async def flush(self) -> None:
        """Flush all that is due, and remove the journal segments that are no longer needed. Raises `StoreError`."""
        async with self._flush_lock:
            due, self._due = deque(self._due.items()), {}
            count = len(due)
            undeletable: set[str] = set()
            try:
                while due or self._pending_deletions.keys() - undeletable:
                    await self._write_batch(due, undeletable)
            finally:
                for session, open_log in due:  # whatever was raised
                    self._due.setdefault(session, open_log)
                self.schedule(())
            self.flushed_at = self._uptime()
            log.debug("sessions_flushed", sessions=count, journal_bytes=self._journal.size)
            self._trim_journal()
            if self._needs_scrub:  # under the lock: who waits for it may wait for the end of a deletion
                self._needs_scrub = False
                await self.scrubber.scrub()

    def _trim_journal(self) -> None:
        self._needs_trim = False
        if self._pending_deletions:
            return  # the journal still needs their records, in case the process ends now
        try:
            self._journal.trim()
        except OSError as error:
            self._needs_trim = True
            self._log_failure(error)

    # --- one transaction ---------------------------------------------------------------------------------------------

    async def _write_batch(self, due: deque[tuple[str, OpenLog]], undeletable: set[str]) -> None:
        batch = self._next_batch(due)
        deleted = {session: number for session, number in self._pending_deletions.items() if session not in undeletable}
        try:
            await self._write_and_mark(batch, deleted, undeletable, due)
        except BaseException:
            due.extend((flush.session, flush.open_log) for flush in batch)
            raise

    async def _write_and_mark(
        self,
        batch: Sequence[SessionFlush],
        deleted: Mapping[str, int],
        undeletable: set[str],
        due: deque[tuple[str, OpenLog]],
    ) -> None:
        flushed_heads = {flush.session: flush.events[-1].seq for flush in batch}
        failures = await self._write(batch, deleted, flushed_heads)
        for session, number in deleted.items():
            if session in failures:
                undeletable.add(session)
            else:
                self._needs_scrub = True
                if self._pending_deletions[session] == number:
                    del self._pending_deletions[session]
        for flush in batch:
            self._mark_flushed(flush.open_log, flushed_heads[flush.session])
            if flush.session in failures:
                self._mark_failed(flush.open_log, failures[flush.session])
            else:
                flush.open_log.failed = False
                if flush.more:
                    due.append((flush.session, flush.open_log))

    def _next_batch(self, due: deque[tuple[str, OpenLog]]) -> list[SessionFlush]:
        """Pop sessions from `due` for one transaction: of a long one as many events as there is room for."""
        batch: list[SessionFlush] = []
        room = MAX_BATCH_BYTES
        while due and room > 0 and len(batch) < MAX_BATCH_SESSIONS:
            session, open_log = due.popleft()
            if self._open_logs.get(session) is not open_log:
                continue  # it was deleted, or all of it is flushed
            try:
                events = open_log.log.read_merged(after=open_log.flushed_head, limit=room)
                room -= sum(wire_size(event) for event in events)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this session's
                self._mark_failed(open_log, error)
                continue
            if events:
                batch.append(SessionFlush(open_log, events, events[-1].seq < open_log.log.head))
            else:  # the tables have it already, which the journal may not know
                self._mark_flushed(open_log, open_log.flushed_head)
        return batch

    async def _write(
        self, batch: Sequence[SessionFlush], deleted: Collection[str], flushed_heads: dict[str, int]
    ) -> Mapping[str, Exception]:
        """Write a batch in one transaction, or, where that fails because of one session, separately.

        Returns the errors by session, and sets in `flushed_heads` up to where those sessions could be written. Raises
        `StoreError` where the error is store-wide.
        """
        uptime = self._uptime()
        healthy = [flush for flush in batch if not flush.open_log.failed]
        failed = [flush for flush in batch if flush.open_log.failed]
        try:
            if healthy or deleted:
                await self._writer.run(partial(write_in_one_transaction, batch=healthy, deleted=deleted, uptime=uptime))
        except Exception as error:
            if is_store_wide(error.__cause__ if isinstance(error, StoreError) else error):
                raise
            return await self._writer.run(
                partial(write_separately, batch=batch, deleted=deleted, uptime=uptime, flushed_heads=flushed_heads)
            )
        if failed:
            return await self._writer.run(
                partial(write_separately, batch=failed, deleted=(), uptime=uptime, flushed_heads=flushed_heads)
            )
        return {}

    def _mark_flushed(self, open_log: OpenLog, head: int) -> None:
        """Note that SQLite has a session up to `head`, and drop from memory what is no longer needed there."""
        session = open_log.log.session
        if self._open_logs.get(session) is not open_log:
            return  # deleted meanwhile
        open_log.flushed_head = head
        open_log.log.trim(keep=FLUSHED_TAIL_BYTES, until=head)
        self._journal.mark_flushed(session, head)
        if open_log.is_evictable:
            self._open_logs.remove(session)

    def _mark_failed(self, open_log: OpenLog, error: Exception) -> None:
        """Keep a session out of the others' transactions, and try it again after `MAX_RETRY_SECONDS`."""
        session = open_log.log.session
        if not open_log.failed:
            log.error("session_flush_failed", session=session, flushed=open_log.flushed_head, exc_info=error)
        open_log.failed = True
        self._failing[session] = open_log
        if self._retry is None and not self._stopped:
            self._retry = asyncio.get_running_loop().call_later(MAX_RETRY_SECONDS, self._retry_failing)

    def _retry_failing(self) -> None:
        self._retry = None
        failing, self._failing = self._failing, {}
        self.schedule(session for session, open_log in failing.items() if self._open_logs.get(session) is open_log)

    def _log_failure(self, cause: BaseException | None) -> None:
        log.warning("flush_delayed", cause=type(cause).__name__, reason=str(cause), sessions=len(self._due))
