"""MemoryStore: keeps logs in memory, until the process ends."""

from __future__ import annotations

import math
import secrets
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.cursor import replay_start
from ..core.log_tail import LogTail
from ..core.turn_records import turn_records
from ..errors import SessionNotFound
from ..events import Done, Event, Question, TurnRecord
from . import (
    ANY_USER,
    SPENT_SECONDS,
    Entry,
    Failures,
    SessionPage,
    SessionQuery,
    StoreStatistics,
    VacuumResult,
    check_user,
    first_day_of_usage,
    heads_after,
)
from .session_list import decode_place, make_page, make_summary


@dataclass(slots=True)
class StoredSession:
    """A session with its whole log."""

    log: LogTail
    last_append: float  # seconds, by the monotonic clock
    in_use: bool = True
    turn_by_ask_id: dict[str, str] = field(default_factory=dict[str, str])  # the turn of each `ask` that had an id


class MemoryStore:
    """A `Store` for tests, and for servers that keep nothing."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._spent: dict[str, float] = {}  # name -> when it expires, in seconds since 1970
        self._usage: dict[tuple[str, str], int] = {}  # (user, day) -> tokens
        self._sessions: dict[str, StoredSession] = {}
        self._history = secrets.token_urlsafe(8)

    async def open(self) -> Sequence[str]:
        """Returns no sessions: there are none yet."""
        return []

    def create(self, session: str, *, user: str | None = None) -> LogTail:
        """Create a new, empty log. Raises ValueError where the session exists, or the user is none."""
        check_user(user)
        if session in self._sessions:
            raise ValueError("the session exists")
        log = LogTail(session, history=self._history, user=user)
        self._sessions[session] = StoredSession(log, self._clock())
        return log

    async def load(self, session: str) -> LogTail:
        """The session's log. Raises `SessionNotFound`."""
        stored = self._stored(session)
        stored.in_use = True
        return stored.log

    def release(self, session: str) -> None:
        """Allow a sweep to delete the session; one without events is deleted at once."""
        stored = self._sessions.get(session)
        if stored:
            stored.in_use = False
            if stored.log.head == 0:
                del self._sessions[session]

    def append(self, batch: Mapping[str, Entry]) -> Failures:
        """Append events to sessions, to each all of its own or none."""
        failures: Failures = {}
        now = self._clock()
        new: list[LogTail] = []
        heads = heads_after(batch, self._sessions, failures, new)
        for log in new:
            log.summary.created = self._wall_clock()
        for session in heads:
            stored = self._sessions[session]
            stored.last_append = now
            for event in batch[session][0]:
                stored.log.append_if_new(event)
                if type(event) is Question and event.id is not None:
                    stored.turn_by_ask_id.setdefault(event.id, event.turn)
        return failures

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Read events after a position."""
        return self._stored(session).log.read(after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """Read the newest turns before a position, oldest first."""
        events = self._stored(session).log.events
        end = len(events) if before is None else bisect_left(events, before, key=lambda event: event.seq)
        start = end
        while start > 0 and limit > 0:
            start -= 1
            limit -= type(events[start]) is Question
        return turn_records(_events_of_turns(events, start, end))

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """The first turn whose question was asked with this id, or None."""
        return self._stored(session).turn_by_ask_id.get(ask_id)

    async def forget(self, *sessions: str) -> None:
        """Delete sessions."""
        for session in sessions:
            self._sessions.pop(session, None)

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The position after which the newest turns can be replayed."""
        return replay_start(turn_records(self._stored(session).log.events), count=turns)

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        """List sessions, the newest first."""
        idle = query.idle_longer_than
        latest = math.inf if idle is None else self._clock() - idle
        found = (
            make_summary(stored.log)
            for stored in self._sessions.values()
            if stored.log.head
            and (query.user is ANY_USER or query.user == stored.log.user)
            and stored.last_append < latest
        )
        return make_page(found, before=decode_place(before), limit=limit)

    async def spend(self, name: str, *, expires: float) -> bool:
        """Record a name until it expires; returns whether it was not recorded yet."""
        if name in self._spent:
            return False
        self._spent[name] = expires
        return True

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        """Add to the count of a user's tokens on a day; returns the count."""
        count = self._usage.get((user, day), 0) + tokens
        if tokens:
            self._usage[user, day] = count
        return count

    async def usage(self, user: str) -> Mapping[str, int]:
        """A user's tokens by day."""
        return dict(sorted((day, tokens) for (name, day), tokens in self._usage.items() if name == user))

    async def forget_usage(self, user: str) -> None:
        """Delete the counts of a user."""
        self._usage = {key: tokens for key, tokens in self._usage.items() if key[0] != user}

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that nobody uses and nothing was added to for `idle` seconds; returns how many."""
        before = self._clock() - idle
        idle_sessions = [name for name, kept in self._sessions.items() if not kept.in_use and kept.last_append < before]
        for session in idle_sessions:
            del self._sessions[session]
        now = self._wall_clock()
        first_day = first_day_of_usage(now)
        self._spent = {name: expires for name, expires in self._spent.items() if expires >= now - SPENT_SECONDS}
        self._usage = {key: tokens for key, tokens in self._usage.items() if key[1] >= first_day}
        return len(idle_sessions)

    async def ping(self) -> None:
        """Always succeeds."""

    async def vacuum(self) -> VacuumResult:
        """Do nothing: there are no files."""
        return VacuumResult(0, 0)

    def statistics(self) -> StoreStatistics:
        """It has none."""
        return StoreStatistics()

    async def close(self) -> None:
        """Delete everything."""
        self._sessions.clear()

    def _stored(self, session: str) -> StoredSession:
        try:
            return self._sessions[session]
        except KeyError:
            raise SessionNotFound from None


def _events_of_turns(events: Sequence[Event], start: int, end: int) -> Iterator[Event]:
    """Yield the events of the turns whose questions are among `events[start:end]`, others among them.

    It stops where these turns have ended, so that a page of a long log takes no longer than one of a short log.
    """
    unended: set[str] = set()
    for index in range(start, len(events)):
        if index >= end and not unended:
            return
        event = events[index]
        if type(event) is Question:
            if index >= end:
                continue
            unended.add(event.turn)
        elif type(event) is Done:
            unended.discard(event.turn)
        yield event
