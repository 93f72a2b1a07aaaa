"""Stores: keep the logs of all sessions. `Store` is the protocol, with what its implementations share."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from ..core.log_tail import LogTail
from ..errors import LogMoved, StoreError
from ..events import Done, Event, TurnRecord

__all__ = ["Entry", "Failures", "Store"]

Entry: TypeAlias = tuple[Sequence[Event], Sequence[bytes]]
"""Events of one session, at least one, in order; and the same events encoded, as `events.encode_event` does it."""
Failures: TypeAlias = dict[str, StoreError]
"""By session, why nothing was appended to it."""


class Store(Protocol):
    """Keeps the logs of all sessions.

    The newest part of each loaded log is in memory, as the `Log` that `create` and `load` return: one object for each
    session, to which `append` adds events once they are durable. Positions (`after`, `before`, heads) are the `seq` of
    events, in code points. Whatever a driver raises arrives as `StoreError`.

    One process uses a store at a time, from one event loop. Methods may run concurrently but for `append`, of which one
    runs at a time: the next is called once the one before is done.
    """

    async def open(self) -> Sequence[str]:
        """Open the store. Called once, before anything else.

        Returns:
            The sessions in which a turn has a `question` but no `done`: their server died.

        Raises:
            ConfigError: The store can't be used; the message says what to do about it.
        """
        ...

    def create(self, session: str) -> LogTail:
        """Create a new, empty log, in memory only: the store has nothing of it before its first event.

        Raises:
            ValueError: The session exists in memory.
        """
        ...

    async def load(self, session: str) -> LogTail:
        """Load a session's log, and keep it in memory until it is released. Returns the log in memory if it is there.

        Raises:
            SessionNotFound: The store has no such session, or it is deleted meanwhile.
            StoreError: It can't be read.
        """
        ...

    def release(self, session: str) -> None:
        """Allow the store to drop a log from memory: nobody reads or writes it now. `load` brings it back.

        A session without events is gone then. Unknown sessions are ignored.
        """

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Append events to sessions: to each all of its own, or none. A failure of one session concerns no other.

        Durable means: written to a file that survives the end of the process, and a power cut too where the store is
        set to sync (`ASKBOT_FSYNC`). A store in memory keeps nothing that long.

        A `done` that is in its log already is stored without being added: it was shown although it could not be stored.

        Args:
            batch: The events by session. They follow the head of the log, which must be created or loaded.

        Returns:
            The failures, if all other events are durable and in their logs on return; otherwise an awaitable of the
            failures, which is done once they are. Neither raises. A failure is `LogMoved` where the events do not
            follow the log's head or the log is neither created nor loaded, otherwise a `StoreError` with its cause.
        """
        ...

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Read events, also those that the log in memory no longer holds. Needs no `load`.

        Args:
            session: The session's id.
            after: The position after which to read.
            limit: About how many bytes of text to return.

        Returns:
            The events, merged as by `core.log.merge`, in order and without gaps. Empty only at the head.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """Read the newest turns, oldest first. Needs no `load`.

        Args:
            session: The session's id.
            before: Only turns whose question has a `seq` less than this; None: all.
            limit: How many turns to return at most.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def replay_start(self, session: str, *, turns: int) -> int:
        """The position after which the newest `turns` turns can be replayed. Needs no `load`.

        It is before the question of the first of them, and of each turn whose answer reaches into what is replayed:
        readers can't use slices without their question.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """The first turn whose question was asked with this id, or None. Needs no `load`.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def forget(self, session: str) -> None:
        """Delete a session and all it holds, everywhere. Unknown sessions are ignored.

        Once it returns, the session is deleted for good, also for the next process; what is left of it in files that
        are in use just now is removed as soon as that is possible.

        Raises:
            StoreError: It can't be written. The session is as it was then.
        """

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions to which nothing was appended in the last `idle` seconds; returns how many.

        Only time in which a process had the store open counts, by a monotonic clock: a wrong clock deletes nothing.
        Sessions whose log is in use (loaded and not released) stay.

        Raises:
            StoreError: The store can't be read or written. Some of the sessions may be deleted then.
        """
        ...

    async def ping(self) -> None:
        """Check that the store can be used.

        Raises:
            StoreError: It can't be read or written.
        """

    async def close(self) -> None:
        """Write what is still to be written, and release all resources. Called once."""


# --- what implementations share --------------------------------------------------------------------------------------


class HasLog(Protocol):
    """A session in memory, of any implementation, by its log."""

    log: LogTail


def heads_after(batch: Mapping[str, Entry], sessions: Mapping[str, HasLog], failures: Failures) -> dict[str, int]:
    """The head of each session once its events are appended; sessions where that is illegal are added to `failures`."""
    heads: dict[str, int] = {}
    for session, (events, _) in batch.items():
        holder = sessions.get(session)
        if holder is None:
            failures[session] = _log_moved(f"the log of session {session} is neither created nor loaded")
            continue
        stored_head = head = holder.log.head
        for event in events:
            seq = event.seq
            if event.start == head:
                head = seq
            elif seq > stored_head or not _is_in_log(holder.log, event):
                failures[session] = _log_moved(f"the log of session {session} is at {head}, the event at {event.start}")
                break
        else:
            heads[session] = head
    return heads


def _is_in_log(log: LogTail, event: Event) -> bool:
    """Whether this is a `done` that is in its log already, as it was shown although it could not be stored."""
    if type(event) is not Done:
        return False
    if event.start < log.start:
        return True  # only the store can have it
    there = log.events_after(event.start)[0]
    return type(there) is Done and (there.seq, there.turn) == (event.seq, event.turn)


def _log_moved(reason: str) -> LogMoved:
    error = LogMoved()
    error.__cause__ = ValueError(reason)
    return error


def failures_of(sessions: Iterable[str], cause: OSError) -> Failures:
    """The same `StoreError`, with this cause, for each of these sessions."""
    error = StoreError()
    error.__cause__ = cause
    return dict.fromkeys(sessions, error)
