"""What every store asks of the events that it is given, before it writes any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..core.log import Log
from ..errors import LogMoved
from . import Entry, Failures


class Kept(Protocol):
    """Whatever a store keeps of a session in memory."""

    log: Log


def heads(batch: Mapping[str, Entry], sessions: Mapping[str, Kept], failures: Failures) -> dict[str, int]:
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
            elif seq > stored:  # else it was shown, but never stored: see `Store.append`
                failures[session] = _fault(f"the log of session {session} is at {head}, the event at {event.start}")
                break
        else:
            found[session] = head
    return found


def _fault(reason: str) -> LogMoved:
    error = LogMoved()
    error.__cause__ = ValueError(reason)
    return error
