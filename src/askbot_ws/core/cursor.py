"""Cursor: the position of a reader in one log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..events import TurnRecord

REPLAYED_TURNS = 50  # turns that are replayed to a reader which gives no position


@dataclass(slots=True)
class Cursor:
    """The `seq` up to which a reader has been sent the log."""

    seq: int

    def lag(self, head: int) -> int:
        """Return by how much the log is ahead of the cursor."""
        return head - self.seq

    def advance(self, start: int, seq: int) -> bool:
        """Move past the events in (start, seq] and return True; False where they are not what comes next."""
        if self.seq != start:
            return False
        self.seq = seq
        return True


def can_resume(after: int | None, *, head: int) -> bool:
    """Return whether a reader can resume after this `seq`; one beyond the head belongs to another history."""
    return after is not None and after <= head


def replay_start(turns: Sequence[TurnRecord], *, count: int) -> int:
    """Return the `seq` after which the newest `count` of these turns are replayed.

    An older turn whose answer overlaps them is replayed too: a slice needs its question.
    """
    if not turns:
        return 0
    first = max(0, len(turns) - count)
    for index in range(first - 1, -1, -1):
        if turns[index].seq > turns[first].from_:
            first = index
    return turns[first].from_
