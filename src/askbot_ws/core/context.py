"""Context: which turns the model is shown, within its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..frames import TurnRecord
from .prompt import Message
from .turn import Turn, place_of


def exchange(question: str, answer: str) -> bytes:
    """A question and its answer as the model is shown them; more messages follow."""
    return b"%b,%b," % (Message("user", question).encoded, Message("assistant", answer).encoded)


@dataclass(slots=True)
class Estimate:
    """How many bytes a token has: a guess that is on the safe side, corrected by what the provider counts."""

    bytes_per_token: float = 4 / 1.4

    def learn(self, *, sent: int, counted: int) -> None:
        """A prompt of `sent` bytes was `counted` tokens. Small prompts are mostly template and teach nothing."""
        if sent > 1000 and counted > 0:
            seen = min(8.0, max(0.5, sent / counted / 1.1))
            self.bytes_per_token += (seen - self.bytes_per_token) / 4

    def bytes(self, tokens: int) -> int:
        """How many bytes fit into so many tokens."""
        return int(tokens * self.bytes_per_token)


@dataclass(slots=True)
class Context:
    """The newest turns that count: not replaced, not refused, with an answer. Oldest first."""

    encoded: bytes = b""  # all of them, one `exchange` after the other
    turns: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # a question's place, and its bytes
    whole: bool = True  # False where the store has older ones that could fit
    cut: int | None = None  # while it is read from the store: turns from this place on were replaced

    @property
    def weight(self) -> int:
        """In bytes."""
        return len(self.encoded)

    def add(self, turn: Turn, *, budget: int) -> None:
        """A turn has ended. One without an answer would only confuse the model."""
        if turn.beginning is not None or len(turn.answer) > budget:
            self._drop(len(self.turns))  # it does not fit, and what was before it would be out of place
            self.whole = False
        elif turn.answer:
            encoded = exchange(turn.question, turn.answer.decode())
            self.turns.append((turn.seq, len(encoded)))
            self.encoded += encoded
            self._drop(len(self.turns) - self._newest(budget))

    def _drop(self, count: int) -> None:
        """The oldest leave."""
        if count:
            self.encoded = self.encoded[self._size(self.turns[:count]) :]
            del self.turns[:count]
            self.whole = False

    def replace(self, place: int) -> None:
        """The turn whose question is at `place` leaves, and every turn after it."""
        while self.turns and self.turns[-1][0] >= place:
            _, size = self.turns.pop()
            self.encoded = self.encoded[:-size]

    def older(self, turns: Sequence[TurnRecord], *, budget: int) -> bool:
        """Take the turns before those known, from the store, oldest first; says whether more are wanted."""
        for turn in reversed(turns):
            place = place_of(turn.turn)
            replaced = self.cut is not None and place >= self.cut
            if turn.replaces is not None:
                cut = place_of(turn.replaces)
                self.cut = cut if self.cut is None else min(self.cut, cut)
            if replaced or not turn.answer or turn.reason in (None, "refused"):
                continue
            encoded = exchange(turn.text, turn.answer)
            if self.weight + len(encoded) > budget:
                self.whole = False
                return False
            self.turns.insert(0, (place, len(encoded)))
            self.encoded = encoded + self.encoded
        return True

    def newest(self, room: int) -> bytes:
        """Those that fit, mostly all of them, as they are sent."""
        if len(self.encoded) <= room:
            return self.encoded
        shown = self.turns[len(self.turns) - self._newest(room) :]
        return self.encoded[len(self.encoded) - self._size(shown) :]

    def _newest(self, room: int) -> int:
        """How many fit."""
        size = len(self.encoded)
        for index, (_, each) in enumerate(self.turns):
            if size <= room:
                return len(self.turns) - index
            size -= each
        return 0

    @staticmethod
    def _size(turns: Sequence[tuple[int, int]]) -> int:
        return sum(size for _, size in turns)
