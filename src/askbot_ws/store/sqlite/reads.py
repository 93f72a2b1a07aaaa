"""Reads: what is asked about a session, of the memory and of the tables.

SQLite has a session's events exactly up to `flushed`, the memory has those after it (and some before). What is taken of
the memory is taken first: a flush may come between the two, so the tables are asked up to that place only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ...core.log_tail import merge
from ...core.turn_records import turn_records
from ...errors import SessionNotFound
from ...events import MAX_SEQ, Event, Question, TurnRecord
from . import tables
from .flusher import Flusher
from .pieces import OpenLog
from .worker import Worker

T = TypeVar("T")


class Reads:
    """The part of `Store` that changes nothing."""

    def __init__(self, open_logs: Mapping[str, OpenLog], reader: Worker, flusher: Flusher) -> None:
        self._open = open_logs
        self._reader = reader
        self._flusher = flusher

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place, from memory where they are there."""
        opened = self._open.get(session)
        if opened is not None and after >= opened.log.start:
            return opened.log.read(after=after, limit=limit)
        found = await self._query(session, opened, partial(tables.after, place=after, limit=limit))
        return merge(found, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns before a place, oldest first."""
        before = MAX_SEQ + 1 if before is None else before
        opened = self._open.get(session)
        flushed, events = (opened.flushed, opened.log.read_slices(after=opened.flushed)) if opened else (MAX_SEQ, [])
        missing = limit - sum(type(event) is Question and event.seq < before for event in events)
        if missing > 0:
            job = partial(tables.turns, before=before, until=flushed, limit=missing)
            events = await self._query(session, opened, job) + events
        older = [turn for turn in turn_records(events) if turn.from_ + 1 < before]
        return older[-limit:] if limit > 0 else []

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The place after which the newest turns can be replayed."""
        opened = self._open.get(session)
        flushed, events = (opened.flushed, opened.log.events_after(opened.flushed)) if opened else (MAX_SEQ, [])
        job = partial(tables.replay_start, until=flushed, unflushed=events, turns=turns)
        return await self._query(session, opened, job)

    async def asked(self, session: str, id: str) -> str | None:
        """The turn that was asked with this id."""
        opened = self._open.get(session)
        for event in opened.log.events_after(opened.flushed) if opened else ():
            if type(event) is Question and event.id == id:
                return event.turn
        return await self._query(session, opened, partial(tables.asked, id=id))

    async def _query(self, session: str, opened: OpenLog | None, job: Callable[[sqlite3.Connection, str, int], T]) -> T:
        """Ask the tables about a session, of which `opened` is in memory; what those have of it is asked as nothing.

        Raises `SessionNotFound` where neither they nor the memory have it, or where it is deleted meanwhile.
        """
        deleted = session in self._flusher.deleted  # then the tables may have another one of this name

        def ask(connection: sqlite3.Connection) -> tuple[T] | None:
            found = None if deleted else tables.find(connection, session)
            if found is None and opened is None:
                return None
            return (job(connection, session, found[0] if found else tables.NOWHERE),)

        answer = await self._reader.run(ask)
        gone = opened.deleted if opened else session in self._flusher.deleted
        if answer is None or gone:
            raise SessionNotFound
        return answer[0]
