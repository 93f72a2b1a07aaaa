"""Flusher: moves what has ended from the journal and the memory into SQLite, many turns a transaction.

A session may be flushed at any moment: SQLite then holds its events up to some place, exactly, and the journal and
the `Log` have what follows. What fails is tried again, and loses nothing meanwhile; what can't be written of one
session, for whatever reason, keeps no other's waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import count

import structlog

from ...core.log_tail import wire_size
from ...errors import StoreError
from .journal import Journal
from .pieces import OpenLog, Piece, apart, store_wide, together
from .scrubber import Scrubber
from .worker import Worker

KEEP = 4 * 1024  # bytes of flushed events that stay in memory, a session
PAUSE_S = 0.05  # turns that end within it go into one transaction
SESSIONS = 100  # in one transaction
BYTES = 1024 * 1024  # of text in one transaction: while it is put together, the loop stands still
RETRY_S = 30.0  # the longest wait before what failed is tried again

log = structlog.get_logger(__name__)


class Flusher:
    """Owns the task that flushes."""

    def __init__(
        self, open_logs: dict[str, OpenLog], journal: Journal, writer: Worker, age: Callable[[], float]
    ) -> None:
        """`age` says how long the store has been open in all, in seconds."""
        self._open = open_logs
        self._journal = journal
        self._writer = writer
        self._age = age
        self.scrubber = Scrubber(writer)
        self._due: dict[str, OpenLog] = {}
        self._deleted: dict[str, int] = {}  # by which deletion: a name may be used, and deleted, again
        self._deletions = count()
        self._unscrubbed = False  # something was deleted from the tables since the last scrub
        self._untrimmed = False  # a segment could not be removed
        self._failing: dict[str, OpenLog] = {}  # those that wait for another attempt
        self._retry: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()  # one transaction at a time
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def deleted(self) -> Collection[str]:
        """The sessions that are to be deleted from SQLite, and may not be yet."""
        return self._deleted

    def soon(self, sessions: Iterable[str]) -> None:
        """Flush these sessions, as far as they are in memory, within a moment."""
        self._due.update((session, self._open[session]) for session in sessions if session in self._open)
        if self._pending and not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._until_done())

    def mark_deleted(self, sessions: Iterable[str]) -> None:
        """Delete these sessions: from memory at once, from SQLite with the next transaction."""
        for session in sessions:
            self._deleted[session] = next(self._deletions)
            opened = self._open.pop(session, None)
            if opened is not None:
                opened.deleted = True
            self._due.pop(session, None)
            self._journal.discard(session)
        self.soon(self._journal.rotate())  # so that the segments with their text can go

    async def close(self) -> bool:
        """Flush everything; says whether all of it is in SQLite now. What is not stays in the journal."""
        await self.stop()
        self._journal.rotate()
        self._due.update(self._open)
        await self.attempt()
        return not (self._pending or any(opened.flushed < opened.log.head for opened in self._open.values()))

    async def stop(self) -> None:
        """Leave everything as it is."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
        await self.scrubber.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # --- the task ----------------------------------------------------------------------------------------------------

    @property
    def _pending(self) -> bool:
        return bool(self._due or self._deleted or self._untrimmed)

    async def _until_done(self) -> None:
        wait = PAUSE_S
        while self._pending:
            await asyncio.sleep(wait)
            wait = PAUSE_S if await self.attempt() else min(RETRY_S, max(wait, 0.5) * 2)

    async def attempt(self) -> bool:
        """As `now`, but what can't be done is tried again later, and no error. Says whether all was done."""
        try:
            await self.now()
        except StoreError as error:
            self._warn(error.__cause__)
            return False
        except Exception:
            log.exception("flush_failed", sessions=len(self._due))  # a fault of ours is no reason to stop
            return False
        return not (self._untrimmed or self._deleted)

    async def now(self) -> None:
        """Flush all that is due, and remove what the journal then no longer needs. Raises `StoreError`."""
        async with self._writing:
            due, self._due = deque(self._due.items()), {}
            undeletable: set[str] = set()
            try:
                while due or self._deleted.keys() - undeletable:
                    await self._write_some(due, undeletable)
            finally:
                for session, opened in due:  # whatever was raised
                    self._due.setdefault(session, opened)
                self.soon(())
            self._trim()
            if self._unscrubbed:  # whoever waits for their turn waits for this, too: their session may be in it
                self._unscrubbed = False
                await self.scrubber.now()

    def _trim(self) -> None:
        self._untrimmed = False
        if self._deleted:
            return  # if we die now, the journal must still know
        try:
            self._journal.trim()
        except OSError as error:
            self._untrimmed = True
            self._warn(error)

    # --- one transaction ---------------------------------------------------------------------------------------------

    async def _write_some(self, due: deque[tuple[str, OpenLog]], undeletable: set[str]) -> None:
        pieces = self._take(due)
        deleted = {session: number for session, number in self._deleted.items() if session not in undeletable}
        try:
            await self._write_and_mark(pieces, deleted, undeletable, due)
        except BaseException:
            due.extend((piece.session, piece.opened) for piece in pieces)
            raise

    async def _write_and_mark(
        self,
        pieces: Sequence[Piece],
        deleted: Mapping[str, int],
        undeletable: set[str],
        due: deque[tuple[str, OpenLog]],
    ) -> None:
        places = {piece.session: piece.events[-1].seq for piece in pieces}
        failures = await self._write(pieces, deleted, places)
        for session, number in deleted.items():
            if session in failures:
                undeletable.add(session)
            else:
                self._unscrubbed = True
                if self._deleted[session] == number:
                    del self._deleted[session]
        for piece in pieces:
            self._mark(piece.opened, places[piece.session])
            if piece.session in failures:
                self._fail(piece.opened, failures[piece.session])
            else:
                piece.opened.failed = False
                if piece.more:
                    due.append((piece.session, piece.opened))

    def _take(self, due: deque[tuple[str, OpenLog]]) -> list[Piece]:
        """What goes into the next transaction: of many sessions, of a long one as much as there is room for."""
        pieces: list[Piece] = []
        room = BYTES
        while due and room > 0 and len(pieces) < SESSIONS:
            session, opened = due.popleft()
            if self._open.get(session) is not opened:
                continue  # it was deleted, or all of it is flushed
            try:
                events = opened.log.read_slices(after=opened.flushed, limit=room)
                room -= sum(wire_size(event) for event in events)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this session's
                self._fail(opened, error)
                continue
            if events:
                pieces.append(Piece(opened, events, events[-1].seq < opened.log.head))
            else:  # the tables have it; the journal, too, shall know
                self._mark(opened, opened.flushed)
        return pieces

    async def _write(
        self, pieces: Sequence[Piece], deleted: Collection[str], places: dict[str, int]
    ) -> Mapping[str, Exception]:
        """Write them together, or, where that fails because of one of them, each by itself.

        Returns what failed; in `places` is then up to where those sessions could be written. Raises `StoreError`.
        """
        age = self._age()
        healthy = [piece for piece in pieces if not piece.opened.failed]
        doubtful = [piece for piece in pieces if piece.opened.failed]
        try:
            if healthy or deleted:
                await self._writer.run(partial(together, pieces=healthy, deleted=deleted, age=age))
        except Exception as error:
            if store_wide(error.__cause__ if isinstance(error, StoreError) else error):
                raise
            return await self._writer.run(partial(apart, pieces=pieces, deleted=deleted, age=age, places=places))
        if doubtful:
            return await self._writer.run(partial(apart, pieces=doubtful, deleted=(), age=age, places=places))
        return {}

    def _mark(self, opened: OpenLog, place: int) -> None:
        """Note that SQLite has a session up to this place."""
        session = opened.log.session
        if self._open.get(session) is not opened:
            return  # deleted meanwhile
        opened.flushed = place
        opened.log.evict(keep=KEEP, until=place)
        self._journal.flushed(session, place)
        if opened.idle:
            del self._open[session]

    def _fail(self, opened: OpenLog, error: Exception) -> None:
        """Let no other session wait for this one, and try it again, alone, after a while."""
        session = opened.log.session
        if not opened.failed:
            log.error("session_flush_failed", session=session, flushed=opened.flushed, exc_info=error)
        opened.failed = True
        self._failing[session] = opened
        if self._retry is None and not self._stopped:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._retry_failing)

    def _retry_failing(self) -> None:
        self._retry = None
        failing, self._failing = self._failing, {}
        self.soon(session for session, opened in failing.items() if self._open.get(session) is opened)

    def _warn(self, cause: BaseException | None) -> None:
        log.warning("flush_delayed", cause=type(cause).__name__, reason=str(cause), sessions=len(self._due))
