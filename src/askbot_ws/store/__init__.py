"""Stores: keep the logs of all sessions. `Store` is the protocol, with what its implementations share."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..core.log_tail import LogTail
from ..core.token_budget import day_of
from ..errors import LogMoved, StoreError
from ..events import Done, Event, TurnRecord
from .session_list import ANY_USER, SessionPage, SessionQuery, SessionSummary

__all__ = [
    "ANY_USER",
    "Entry",
    "Failures",
    "SessionPage",
    "SessionQuery",
    "SessionSummary",
    "Store",
    "StoreStatistics",
    "VacuumResult",
]

Entry: TypeAlias = tuple[Sequence[Event], Sequence[bytes]]
"""Events of one session, at least one, in order; and the same events encoded, each a JSON object in UTF-8."""
Failures: TypeAlias = dict[str, StoreError]
"""The error of each session to which nothing was appended, by the session's id; empty where all was appended."""

SPENT_SECONDS = 86_400.0  # after which a spent name that has expired is removed: clocks may be wrong
USAGE_DAYS = 31  # for which a user's usage is kept


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What an operator watches of a store; all of it is 0 or None where a store has nothing like it.

    Attributes:
        journal_bytes: Bytes in the journal.
        unflushed_bytes: Bytes of events that are in the journal and in memory, and not in the tables yet.
        due_sessions: Sessions that are to be flushed now.
        pending_deletions: Sessions that are deleted for everybody, and may still be in the tables.
        flush_age: Seconds since the last successful flush; None: there was none since the start.
    """

    journal_bytes: int = 0
    unflushed_bytes: int = 0
    due_sessions: int = 0
    pending_deletions: int = 0
    flush_age: float | None = None


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """What a vacuum did.

    Attributes:
        before: Bytes of all files of the store before it.
        after: The same after it.
    """

    before: int
    after: int


class Store(Protocol):
    """Keeps the logs of all sessions.

    The newest part of each loaded log is in memory, as the object that `create` and `load` return: one for each
    session, to which `append` adds events once they are durable. Positions (`after`, `before`) are values of `seq`,
    which grows by 1 for each code point of an answer and for each other event; a log's head is the `seq` of its last
    event, 0 while it is empty. Whatever a driver raises arrives as `StoreError`.

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

    def create(self, session: str, *, user: str | None = None) -> LogTail:
        """Create a new, empty log, in memory only: the store has nothing of it before its first event.

        The user is stored together with the first event: no session is ever stored without its user, whatever fails.

        Args:
            session: The session's id: 1 to 64 of `A-Z a-z 0-9 _ -`.
            user: Who makes the session, not empty; None: an anonymous client. It is `LogTail.user` from then on.

        Returns:
            The log.

        Raises:
            ValueError: The session exists in memory, or the user is empty or can't be encoded in UTF-8.
        """
        ...

    async def load(self, session: str) -> LogTail:
        """Load a session's log, and keep it in memory until it is released.

        Args:
            session: The session's id.

        Returns:
            The log; the same object as before where it is in memory already.

        Raises:
            SessionNotFound: The store has no such session, or it is deleted meanwhile.
            StoreError: It can't be read.
        """
        ...

    def release(self, session: str) -> None:
        """Allow the store to drop a log from memory: nobody reads or writes it now. `load` brings it back.

        A session without events is gone then.

        Args:
            session: The session's id; unknown ones are ignored.
        """

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        """Append events to sessions: to each all of its own, or none. A failure of one session concerns no other.

        Durable means: written to a file that survives the end of the process, and a power cut too where the store is
        set to sync (`ASKBOT_FSYNC`). A store in memory keeps nothing that long.

        A `done` that is in its log already is stored without being added: it was shown although it could not be stored.

        Args:
            batch: The events by the session's id. They follow the head of the log, which must be created or loaded.

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
            limit: About how many bytes of text to return, in UTF-8.

        Returns:
            The events in order and without gaps; successive slices of an answer are joined, and the first one is cut
            where `after` is inside it. Empty only at the head.

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

        Returns:
            The turns, of those that match the newest `limit`; empty where there are none.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def replay_start(self, session: str, *, turns: int) -> int:
        """Find the position from which to replay the newest turns. Needs no `load`.

        Args:
            session: The session's id.
            turns: How many of the newest turns to replay.

        Returns:
            The position, for `after` of `read`. It is before the question of the first of those turns, and of each turn
            whose answer reaches into what is replayed: readers can't use slices without their question.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        """Find the turn that a client's question began, so that one that is sent again is not asked twice.

        Needs no `load`.

        Args:
            session: The session's id.
            ask_id: The `id` of the client's `ask` frame.

        Returns:
            The id of the first turn whose question has this `id`; None where there is none.

        Raises:
            SessionNotFound: The store has no such session.
            StoreError: It can't be read.
        """
        ...

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        """List sessions that have an event, those with the newest `question` or `done` first.

        What was appended before the call is in it. Sessions to which something is appended while pages are read may
        move to pages that were read already; no session is on two pages otherwise.

        Args:
            query: Which sessions.
            before: The `more` of the page before; None: the first page.
            limit: How many sessions to return at most, 1 or more.

        Returns:
            The page.

        Raises:
            ValueError: `before` is not the `more` of any page.
            StoreError: It can't be read.
        """
        ...

    async def spend(self, name: str, *, expires: float) -> bool:
        """Record that something which may be used once was used: a one-time ticket.

        Of several calls with the same name, concurrent ones and those of later processes included, one returns True.

        Args:
            name: What was used.
            expires: Until when it is recorded, at least, in seconds since 1970.

        Returns:
            Whether it was not recorded yet. It is durable then, as after `append`.

        Raises:
            StoreError: It can't be written. Whether it is recorded is not known then.
        """
        ...

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        """Add to the count of a user's tokens on a day. It is durable on return, as after `append`.

        Args:
            user: The user.
            day: The day in UTC, as `2026-11-28`; counts are removed `USAGE_DAYS` later.
            tokens: What to add; it may be negative. 0: the count is only read.

        Returns:
            The count.

        Raises:
            StoreError: It can't be read or written. Nothing was added then.
        """
        ...

    async def usage(self, user: str) -> Mapping[str, int]:
        """Read the counts that `add_usage` keeps of a user.

        Args:
            user: The user.

        Returns:
            The user's tokens by day, the oldest day first; empty where there are none.

        Raises:
            StoreError: It can't be read.
        """
        ...

    async def forget_usage(self, user: str) -> None:
        """Delete the counts that `add_usage` keeps of a user, everywhere.

        Args:
            user: The user; without counts, nothing is done.

        Raises:
            StoreError: It can't be written. The counts are as they were then.
        """

    async def forget(self, *sessions: str) -> None:
        """Delete sessions and all they hold, everywhere.

        Once it returns, the sessions are deleted for good, also for the next process; what is left of them in files
        that are in use just now is removed as soon as that is possible.

        Args:
            *sessions: The sessions' ids; unknown ones are ignored.

        Raises:
            StoreError: It can't be written. The sessions are as they were then.
        """

    async def sweep(self, *, idle: float) -> int:
        """Delete the sessions to which nothing was appended for a time.

        Only time in which a process had the store open counts, by a monotonic clock: a wrong clock deletes nothing.
        Sessions whose log is in use (loaded and not released) stay. Spent names that have expired, and old counts of
        usage, are removed too; by the wall clock.

        Args:
            idle: For how many seconds nothing was appended to the sessions to delete.

        Returns:
            How many were deleted.

        Raises:
            StoreError: The store can't be read or written. Some of the sessions may be deleted then.
        """
        ...

    async def ping(self) -> None:
        """Check that the store can be used.

        Raises:
            StoreError: It can't be read or written.
        """

    async def vacuum(self) -> VacuumResult:
        """Make the store's files as small as what they hold; nothing of what was deleted is in them afterwards.

        Appends go on meanwhile; what reads or writes tables may wait until it is done, a second or so for each 100 MB.
        Closing the store breaks it off.

        Returns:
            The sizes.

        Raises:
            StoreError: A file can't be written, or another program reads it just now. Nothing is lost.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """Return what an operator watches of it; called whenever the metrics are read.

        Returns:
            The statistics.
        """
        ...

    async def close(self) -> None:
        """Write what is still to be written, and release all resources. Called once."""


# --- what implementations share --------------------------------------------------------------------------------------


class HasLog(Protocol):
    """A session in memory, of any implementation, by its log."""

    log: LogTail


def heads_after(
    batch: Mapping[str, Entry], sessions: Mapping[str, HasLog], failures: Failures, new: list[LogTail]
) -> dict[str, int]:
    """The head of each session once its events are appended; sessions where that is illegal are added to `failures`.

    The logs of users' sessions to which these are the first events are added to `new`.
    """
    heads: dict[str, int] = {}
    for session, (events, _) in batch.items():
        holder = sessions.get(session)
        if holder is None:
            failures[session] = _log_moved("the log is neither created nor loaded")
            continue
        stored_head = head = holder.log.head
        if not stored_head and holder.log.user is not None:
            new.append(holder.log)
        for event in events:
            seq = event.seq
            if event.start == head:
                head = seq
            elif seq > stored_head or not _is_in_log(holder.log, event):
                failures[session] = _log_moved(f"the log is at {head}, the event at {event.start}")
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


def check_user(user: str | None) -> None:
    """Raise ValueError for a user that can't be stored: an empty one would be nobody in some places only."""
    if user is not None and not user.encode():
        raise ValueError("the user is empty")


def first_day_of_usage(now: float) -> str:
    """The oldest day of which usage is kept, at this time in seconds since 1970."""
    return day_of(now - USAGE_DAYS * 86_400)


def _log_moved(reason: str) -> LogMoved:
    error = LogMoved()
    error.__cause__ = ValueError(reason)
    return error


def failures_of(sessions: Iterable[str], cause: OSError) -> Failures:
    """The same `StoreError`, with this cause, for each of these sessions."""
    error = StoreError()
    error.__cause__ = cause
    return dict.fromkeys(sessions, error)
