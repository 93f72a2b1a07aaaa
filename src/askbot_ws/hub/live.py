"""Live: one session in this process, with those who read it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..core.log import Log, weight
from ..core.session import Session
from ..errors import AskbotError
from ..events import Event


class Reader(Protocol):
    """Whoever reads a session's log."""

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The log has grown by these events; `frames` has them encoded, in the same order."""

    def closed(self, error: AskbotError) -> None:
        """There is no more to read, and why: the session was forgotten."""


class Live:
    """A session that somebody reads or that has a turn, or had one lately."""

    __slots__ = ("abandoned", "lock", "log", "owed", "readers", "session", "task")

    def __init__(self, session: Session, log: Log) -> None:
        self.session = session
        self.log = log
        self.readers: tuple[Reader, ...] = ()  # never changed: one that is told may leave
        self.task: asyncio.Task[None] | None = None  # what runs the running turn
        self.lock = asyncio.Lock()  # commands that have to wait for something come one at a time
        self.owed: list[Event] = []  # ends that were shown, but could not be stored
        self.abandoned: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        """The session's."""
        return self.session.id

    @property
    def resting(self) -> bool:
        """Nobody reads it and nothing runs."""
        return not self.readers and self.task is None and self.session.idle and not self.lock.locked()

    def stop(self) -> None:
        """The provider need not go on. Said once only: whoever is leaving already is left to it."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        context = self.session.context
        return 2000 + 3 * (context.weight if context else 0) + sum(500 + weight(event) for event in self.log.events)

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Tell every reader of new events."""
        for reader in self.readers:
            reader.wake(events, frames)
