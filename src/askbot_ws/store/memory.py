"""MemoryStore: keeps everything until the process ends, and nothing longer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.cursor import replay_start
from ..core.log_tail import LogTail
from ..core.turn_records import turn_records
from ..errors import SessionNotFound
from ..events import Event, Question, TurnRecord
from . import Entry, Failures, heads


@dataclass(slots=True)
class Kept:
    """A session: its whole log."""

    log: LogTail
    touched: float  # seconds of the steady clock
    in_use: bool = True
    asked: dict[str, str] = field(default_factory=dict[str, str])  # the turn of each `ask` that had an id


class MemoryStore:
    """A `Store` for tests, and for people who want nothing kept."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Kept] = {}
        self._history = secrets.token_urlsafe(8)

    async def open(self) -> Sequence[str]:
        """Begin: there is nothing yet."""
        return []

    def create(self, session: str) -> LogTail:
        """A new, empty log."""
        if session in self._sessions:
            raise ValueError(f"session {session} exists")
        log = LogTail(session, history=self._history)
        self._sessions[session] = Kept(log, self._clock())
        return log

    async def load(self, session: str) -> LogTail:
        """The log of a session, which never left."""
        kept = self._kept(session)
        kept.in_use = True
        return kept.log

    def release(self, session: str) -> None:
        """Note that a sweep may take this session; one without events is gone at once."""
        kept = self._sessions.get(session)
        if kept:
            kept.in_use = False
            if kept.log.head == 0:
                del self._sessions[session]

    def append(self, batch: Mapping[str, Entry]) -> Failures:
        """Add events to sessions, to each all of its own or none."""
        failures: Failures = {}
        now = self._clock()
        for session in heads(batch, self._sessions, failures):
            kept = self._sessions[session]
            kept.touched = now
            for event in batch[session][0]:
                kept.log.append_if_new(event)
                if type(event) is Question and event.id is not None:
                    kept.asked.setdefault(event.id, event.turn)
        return failures

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place."""
        return self._kept(session).log.read(after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest turns before a place, oldest first."""
        turns = turn_records(self._kept(session).log.events)
        older = [turn for turn in turns if before is None or turn.from_ + 1 < before]
        return older[-limit:] if limit > 0 else []

    async def asked(self, session: str, id: str) -> str | None:
        """The turn that was asked with this id."""
        return self._kept(session).asked.get(id)

    async def forget(self, session: str) -> None:
        """Delete a session."""
        self._sessions.pop(session, None)

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The place after which the newest turns can be replayed."""
        return replay_start(turn_records(self._kept(session).log.events), count=turns)

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions that nobody uses and nothing was added to."""
        before = self._clock() - idle
        old = [name for name, kept in self._sessions.items() if not kept.in_use and kept.touched < before]
        for session in old:
            del self._sessions[session]
        return len(old)

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Let go of everything."""
        self._sessions.clear()

    def _kept(self, session: str) -> Kept:
        try:
            return self._sessions[session]
        except KeyError:
            raise SessionNotFound from None
