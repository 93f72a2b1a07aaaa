"""StoreQueries: reads sessions from memory and from the tables.

SQLite has a session's events exactly up to `flushed_head`, the memory has those after it (and some before). The memory
is read first: a flush may come between the two, so the tables are read up to that position only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ...core.log_tail import merge
from ...core.turn_records import turn_records
from ...errors import SessionNotFound
from ...events import MAX_SEQ, Event, Question, TurnRecord
from .. import SessionPage, SessionQuery
from ..session_list import decode_place, make_page, make_summary
from . import tables
from .database_thread import DatabaseThread
from .flusher import Flusher
from .open_logs import OpenLog, OpenLogs

T = TypeVar("T")


class StoreQueries:
    """The methods of `Store` that change nothing."""

    def __init__(
        self, open_logs: OpenLogs, reader: DatabaseThread, flusher: Flusher, uptime: Callable[[], float]
    ) -> None:
        """`uptime` returns how many seconds processes had the store open."""
        self._uptime = uptime
        self._open_logs = open_logs
        self._reader = reader
        self._flusher = flusher

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """As `Store.read`; from memory where that has the events."""
        open_log = self._open_logs.get(session)
        if open_log is not None and after >= open_log.log.start:
            return open_log.log.read(after=after, limit=limit)
        found = await self._query(session, open_log, partial(tables.read_after, after=after, limit=limit))
        return merge(found, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """As `Store.turns`."""
        before = MAX_SEQ + 1 if before is None else before
        open_log = self._open_logs.get(session)
        flushed, events = MAX_SEQ, list[Event]()
        if open_log is not None:
            flushed = open_log.flushed_head
            events = open_log.log.read_merged(after=flushed)
        missing = limit - sum(type(event) is Question and event.seq < before for event in events)
        if missing > 0:
            job = partial(tables.read_turns, before=before, until=flushed, limit=missing)
            events = await self._query(session, open_log, job) + events
        older = [turn for turn in turn_records(events) if turn.from_ + 1 < before]
        return older[-limit:] if limit > 0 else []

    async def replay_start(self, session: str, *, turns: int) -> int:
        """As `Store.replay_start`."""
        open_log = self._open_logs.get(session)
        flushed, events = MAX_SEQ, list[Event]()
        if open_log is not None:
            flushed = open_log.flushed_head
            events = open_log.log.events_after(flushed)
        job = partial(tables.find_replay_start, until=flushed, unflushed=events, turns=turns)
        return await self._query(session, open_log, job)

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """As `Store.find_turn`."""
        open_log = self._open_logs.get(session)
        for event in open_log.log.events_after(open_log.flushed_head) if open_log else ():
            if type(event) is Question and event.id == ask_id:
                return event.turn
        return await self._query(session, open_log, partial(tables.find_turn, ask_id=ask_id))

    async def list_sessions(self, query: SessionQuery, *, before: str | None, limit: int) -> SessionPage:
        """As `Store.list_sessions`: what is not flushed is in memory, the rest in the tables."""
        place, idle = decode_place(before), query.idle_longer_than
        unflushed = [one for one in self._open_logs.of_user(query.user) if one.flushed_head < one.log.head]
        in_memory = [(one, make_summary(one.log)) for one in unflushed]
        job = partial(
            tables.list_sessions,
            user=query.user,
            before=place,
            touched_before=None if idle is None else self._uptime() - idle,
            hidden={one.log.session for one in unflushed} | {*self._flusher.pending_deletions},
            limit=limit + 1,
        )
        found = await self._reader.run(job)
        if idle is None:  # to what is not flushed something was added just now
            found += [summary for one, summary in in_memory if not one.deleted]
        deleted = self._flusher.pending_deletions
        return make_page((one for one in found if one.session not in deleted), before=place, limit=limit)

    async def _query(
        self, session: str, open_log: OpenLog | None, job: Callable[[sqlite3.Connection, str, int], T]
    ) -> T:
        """Run `job` in the reading thread with a session's id and key; `open_log` is the session in memory, if it is.

        The key is `NO_SESSION_KEY` where only the memory has the session. Raises `SessionNotFound` where neither has
        it, or where it is deleted meanwhile.
        """
        deleted = session in self._flusher.pending_deletions  # then the tables may have an older session of this id

        def ask(connection: sqlite3.Connection) -> tuple[T] | None:
            found = None if deleted else tables.find_session(connection, session)
            if found is None and open_log is None:
                return None
            return (job(connection, session, found[0] if found else tables.NO_SESSION_KEY),)

        answer = await self._reader.run(ask)
        gone = open_log.deleted if open_log else session in self._flusher.pending_deletions
        if answer is None or gone:
            raise SessionNotFound
        return answer[0]
