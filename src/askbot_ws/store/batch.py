"""What every store asks of the events that it is given, before it writes any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..core.log import Log
from ..frames import Event


class Kept(Protocol):
    """Whatever a store keeps of a session in memory."""

    log: Log


def heads(events: Sequence[tuple[Event, bytes]], sessions: Mapping[str, Kept]) -> dict[str, int]:
    """The head of each session once the events are added.

    Raises ValueError where one does not follow its log's head, or where its log is not in memory.
    """
    found: dict[str, int] = {}
    for event, _ in events:
        session = event.session
        head = found.get(session)
        if head is None:
            if session not in sessions:
                raise ValueError(f"the log of session {session} is neither created nor loaded")
            head = sessions[session].log.head
        if event.seq <= sessions[session].log.head:
            found[session] = head  # shown, but never stored: see `Store.append`
            continue
        if event.start != head:
            raise ValueError(f"the log of session {session} is at {head}, the event begins at {event.start}")
        found[session] = event.seq
    return found


def take(log: Log, event: Event) -> None:
    """Add an event that is stored now to its log, unless it stands there already."""
    if event.seq > log.head:
        log.append(event)
