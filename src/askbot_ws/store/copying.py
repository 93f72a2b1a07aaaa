"""Copying: checks all sessions of a store, and copies them to another one, whatever the two are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ..errors import ConfigError, SessionNotFound
from ..events import Done, Event, LaterEvent, encode_event
from . import ANY_USER, SessionQuery, SessionSummary, Store
from .audit import Audit, Report, describe_logs
from .session_list import all_pages

PAGE_BYTES = 1024 * 1024  # of events that are read at a time

_ALL = SessionQuery(ANY_USER)


@dataclass
class SettableClock:
    """The time at which the session that is being copied was made, for the store to which it is copied.

    Attributes:
        now: In seconds since 1970.
    """

    now: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def check_sessions(store: Store) -> Report:
    """Check the log of every session, which may go on meanwhile. Raises `StoreError`."""
    report, audits = Report(), list[Audit]()
    async for page in all_pages(store, _ALL):
        for summary in page:
            audit = Audit()
            try:
                report.faults += [
                    f"session {summary.session}: {fault}" for fault in await _faults(store, summary, audit)
                ]
            except SessionNotFound:
                continue  # it was deleted meanwhile
            audits.append(audit)
    report.facts += [f"sessions: {len(audits)}", describe_logs(audits)]
    return report


async def _faults(store: Store, summary: SessionSummary, audit: Audit) -> list[str]:
    """The faults of a session, up to the first hole; its events are added to `audit`."""
    faults: list[str] = []
    async for page in _pages(store, summary.session):
        for event in page:
            fault = audit.find_fault(event)
            if fault:
                return [*faults, f"there is a hole: {fault}"]
            if audit.add(event) and isinstance(event, Done):
                faults.append(f"the text of turn {event.turn} is not what its proof says")
    if audit.head < summary.seq:
        faults.append(f"its head is said to be at {summary.seq}, and its events end at {audit.head}")
    if audit.head == summary.seq:
        found, told = audit.summary, (summary.title or "", summary.question, summary.turns)
        if (found.title, found.question, found.turns) != told:
            faults.append("its title, first question or number of turns is not what its events say")
    return faults


async def copy_sessions(source: Store, target: Store, clock: SettableClock) -> int:
    """Copy all sessions, with their users and the tokens that those used, to a store that has none.

    Names that were spent are not copied: a ticket counts for half a minute.

    Args:
        source: The store to copy; what is appended to it meanwhile is copied or not.
        target: The store to copy to.
        clock: The target's wall clock.

    Returns:
        How many sessions were copied.

    Raises:
        ConfigError: The target has sessions, or a session has an event of a type that a later version has added.
        StoreError: One of the stores can't be used; what was copied so far stays.
    """
    if (await target.list_sessions(_ALL, limit=1)).sessions:
        raise ConfigError(
            "the store to copy to has sessions, maybe of a copy that was broken off; empty it, or name another one."
        )
    copied: dict[str, None] = {}
    users: dict[str, None] = {}
    async for page in all_pages(source, _ALL):
        for summary in page:
            if summary.session not in copied and await _copy(source, target, summary, clock):
                copied[summary.session] = None
                if summary.user is not None:
                    users[summary.user] = None
    for user in users:
        for day, tokens in (await source.usage(user)).items():
            await target.add_usage(user, day, tokens)
    return len(copied)


async def _copy(source: Store, target: Store, summary: SessionSummary, clock: SettableClock) -> bool:
    """Copy a session; returns whether it was there still."""
    session = summary.session
    clock.now = summary.created
    target.create(session, user=summary.user)
    try:
        async for events in _pages(source, session):
            if later := [event.type for event in events if isinstance(event, LaterEvent)]:
                raise ConfigError(
                    f"session {session} has events of a later version ({later[0]}): let that one copy it."
                )
            outcome = target.append({session: (events, [*map(encode_event, events)])})
            for error in (outcome if isinstance(outcome, dict) else await outcome).values():
                raise error
    except SessionNotFound:
        await target.forget(session)
        return False
    target.release(session)
    return True


async def _pages(store: Store, session: str) -> AsyncGenerator[list[Event]]:
    """Yield all events of a session, about `PAGE_BYTES` at a time."""
    after = 0
    while page := await store.read(session, after=after, limit=PAGE_BYTES):
        yield [*page]
        after = page[-1].seq
