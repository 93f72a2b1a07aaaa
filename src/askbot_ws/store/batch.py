"""What every store asks of the events that it is given, before it writes any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..core.log import Log
from ..events import Event


class Kept(Protocol):
    """Whatever a store keeps of a session in memory."""

    log: Log


def heads(events: Sequence[Event], sessions: Mapping[str, Kept]) -> dict[str, int]:
    """The head of each session once the events are added.

    Raises ValueError where one does not follow its log's head, or where its log is not in memory.
    """
    found: dict[str, int] = {}
    for event in events:
        session, seq = event.session, event.seq
        kept = sessions.get(session)
        if kept is None:
            raise ValueError(f"the log of session {session} is neither created nor loaded")
        head = found.get(session) or kept.log.head
        if event.start == head:
            found[session] = seq
        elif seq <= kept.log.head:
            found[session] = head  # shown, but never stored: see `Store.append`
        else:
            raise ValueError(f"the log of session {session} is at {head}, the event begins at {event.start}")
    return found
