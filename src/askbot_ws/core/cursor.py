"""Cursor: a reader's place in one log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..events import TurnRecord

REPLAYED_TURNS = 50  # turns that a reader gets who doesn't say where it is


@dataclass(slots=True)
class Cursor:
    """How far a reader has been sent."""

    seq: int

    def lag(self, head: int) -> int:
        """Head minus cursor."""
        return head - self.seq

    def advance(self, start: int, seq: int) -> bool:
        """Whether the events in (start, seq] are just what comes next; then the cursor moves past them."""
        if self.seq != start:
            return False
        self.seq = seq
        return True


def can_resume(after: int | None, *, head: int) -> bool:
    """Whether a reader can go on from where it says it is. One from beyond the head has another log in mind."""
    return after is not None and after <= head


def replay_start(turns: Sequence[TurnRecord], *, count: int) -> int:
    """The place from which the newest `count` of these turns can be replayed.

    A turn whose answer reaches into the first of them is replayed too: slices without their question say nothing.
    """
    if not turns:
        return 0
    first = max(0, len(turns) - count)
    for index in range(first - 1, -1, -1):
        if turns[index].seq > turns[first].from_:
            first = index
    return turns[first].from_
