"""Stores: where the logs are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from ..core.log_tail import LogTail
from ..errors import LogMoved, StoreError
from ..events import Done, Event, TurnRecord

Entry: TypeAlias = tuple[Sequence[Event], Sequence[bytes]]
"""Events of one session, in order, and each of them encoded. There is at least one."""
Failures: TypeAlias = dict[str, StoreError]
"""Why nothing was added to these sessions."""


class Store(Protocol):
    """Keeps the logs of all sessions.

    The newest part of each loaded log is in memory, as the `Log` that `create` and `load` hand out: one object a
    session, which `append` adds to once the events are durable. Whatever a driver raises arrives as `StoreError`.
    """

    async def open(self) -> Sequence[str]:
        """Begin; returns the sessions in which a turn has a `question` but no `done`: their server died.

        Raises `ConfigError`, with the fix, where the store can't be used.
        """
        ...

    def create(self, session: str) -> LogTail:
        """A new, empty log. It costs nothing and is nowhere until its first event."""
        ...

    async def load(self, session: str) -> LogTail:
        """The log of a session. Raises `SessionNotFound`."""
        ...

    def release(self, session: str) -> None:
        """Nobody reads or writes this log now: it may leave the memory. `load` brings it back."""

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Add events to sessions: to each all of its own, or none. What one can't have costs no other anything.

        Returns the failures when all others are durable and in their logs already, else an awaitable of the
        failures, which is done once they are. Neither raises. One call at a time: the next comes after this one is
        done. An end that is in its log already (it was shown although it could not be stored then) is only stored.
        Where events do not follow their log's head, or a log is neither created nor loaded, it is `LogMoved`.
        """
        ...

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place, as `core.log.merge` gives them; for what the log in memory no longer holds.

        Empty at the head only. Like `turns`, `replay_start` and `asked` it needs no `load`, and raises
        `SessionNotFound`.
        """
        ...

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest `limit` turns whose question has a `seq` less than `before`, oldest first."""
        ...

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The place after which the newest `turns` turns can be replayed.

        It is before the question of the first of them, and of each turn whose answer reaches into what is replayed:
        slices without their question say nothing.
        """
        ...

    async def asked(self, session: str, id: str) -> str | None:
        """The turn whose question was asked with this id, the first of them, or None."""
        ...

    async def forget(self, session: str) -> None:
        """Delete a session and all it holds, everywhere. Unknown sessions are no error.

        Once it returns, the session is gone for good, also for the next process; what is left of it in files that
        are in use just now is deleted as soon as that can be. Raises `StoreError`: then the session is as it was.
        """

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions to which nothing was added in the last `idle` seconds; says how many.

        Only time in which a process had the store open counts, by the steady clock: a wrong clock deletes nothing.
        Sessions whose log is in use (loaded and not released) stay.
        """
        ...

    async def ping(self) -> None:
        """Raises `StoreError` where the store can't be read and written."""

    async def close(self) -> None:
        """Write what is still to be written, and let go."""


# --- what every store does before it writes --------------------------------------------------------------------------


class HasLog(Protocol):
    """Whatever a store keeps of a session in memory."""

    log: LogTail


def heads(batch: Mapping[str, Entry], sessions: Mapping[str, HasLog], failures: Failures) -> dict[str, int]:
    """The head of each session once its events are added; those that can't be added are noted in `failures`."""
    found: dict[str, int] = {}
    for session, (events, _) in batch.items():
        kept = sessions.get(session)
        if kept is None:
            failures[session] = _fault(f"the log of session {session} is neither created nor loaded")
            continue
        stored = head = kept.log.head
        for event in events:
            seq = event.seq
            if event.start == head:
                head = seq
            elif seq > stored or not _shown(kept.log, event):
                failures[session] = _fault(f"the log of session {session} is at {head}, the event at {event.start}")
                break
        else:
            found[session] = head
    return found


def _shown(log: LogTail, event: Event) -> bool:
    """Whether this is an end that was shown although it could not be stored: then it is in its log already."""
    if type(event) is not Done:
        return False
    if event.start < log.start:
        return True  # in the store only, as far as we can see
    there = log.events_after(event.start)[0]
    return type(there) is Done and (there.seq, there.turn) == (event.seq, event.turn)


def _fault(reason: str) -> LogMoved:
    error = LogMoved()
    error.__cause__ = ValueError(reason)
    return error


def failed(sessions: Iterable[str], cause: OSError) -> Failures:
    """The same failure for each of these sessions."""
    error = StoreError()
    error.__cause__ = cause
    return dict.fromkeys(sessions, error)
