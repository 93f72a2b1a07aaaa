"""Context: which turns the model is shown, within its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..events import TurnRecord
from .prompt import Message
from .turn import TurnMachine, seq_of


def exchange_messages(question: str, answer: str) -> bytes:
    """A question and its answer as the model is shown them; more messages follow."""
    return b"%b,%b," % (Message("user", question).encoded, Message("assistant", answer).encoded)


@dataclass(slots=True)
class TokenEstimate:
    """How many bytes a token has: a guess that is on the safe side, corrected by what the provider counts."""

    bytes_per_token: float = 4 / 1.4

    def update(self, *, prompt_bytes: int, prompt_tokens: int) -> None:
        """A prompt of `sent` bytes was `counted` tokens. Small prompts are mostly template and teach nothing."""
        if prompt_bytes > 1000 and prompt_tokens > 0:
            seen = min(8.0, max(0.5, prompt_bytes / prompt_tokens / 1.1))
            self.bytes_per_token += (seen - self.bytes_per_token) / 4

    def bytes_for(self, tokens: int) -> int:
        """How many bytes fit into so many tokens."""
        return int(tokens * self.bytes_per_token)


@dataclass(slots=True)
class ContextWindow:
    """The newest turns that count: not replaced, not refused, with an answer. Oldest first."""

    encoded: bytes = b""  # all of them, one `exchange` after the other
    turns: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # a question's place, and its bytes
    complete: bool = True  # False where the store has older ones that could fit
    replaced_from: int | None = None  # while it is read from the store: turns from this place on were replaced

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.encoded)

    def add(self, turn: TurnMachine, *, budget: int) -> None:
        """A turn has ended. One without an answer would only confuse the model."""
        if turn.stored_hash is not None or len(turn.answer) > budget:
            self.turns.clear()
            self.encoded, self.complete = b"", False  # it does not fit, and what was before it would be out of place
        elif turn.answer:
            encoded = exchange_messages(turn.question, turn.answer.decode())
            self.turns.append((turn.seq, len(encoded)))
            self.encoded += encoded
            count, size = self._excess(budget)
            if count:
                del self.turns[:count]
                self.encoded, self.complete = self.encoded[size:], False

    def remove_from(self, seq: int) -> None:
        """The turn whose question is at `place` leaves, and every turn after it."""
        size = 0
        while self.turns and self.turns[-1][0] >= seq:
            size += self.turns.pop()[1]
        self.encoded = self.encoded[: self.size - size]

    def add_older(self, turns: Sequence[TurnRecord], *, budget: int) -> bool:
        """Take the turns before those known, from the store, oldest first; says whether more are wanted."""
        found: list[tuple[int, bytes]] = []  # newest first
        room = budget - self.size
        for turn in reversed(turns):
            place = seq_of(turn.turn)
            replaced = self.replaced_from is not None and place >= self.replaced_from
            if turn.replaces is not None:
                cut = seq_of(turn.replaces)
                self.replaced_from = cut if self.replaced_from is None else min(self.replaced_from, cut)
            if replaced or not turn.answer or turn.reason in (None, "refused"):
                continue
            encoded = exchange_messages(turn.text, turn.answer)
            room -= len(encoded)
            if room < 0:
                self.complete = False
                break
            found.append((place, encoded))
        found.reverse()
        self.turns[:0] = [(place, len(encoded)) for place, encoded in found]
        self.encoded = b"".join([*(encoded for _, encoded in found), self.encoded])
        return room >= 0

    def newest(self, limit: int) -> bytes:
        """Those that fit, mostly all of them, as they are sent."""
        _, size = self._excess(limit)
        return self.encoded[size:]

    def _excess(self, limit: int) -> tuple[int, int]:
        """How many of the oldest do not fit, and their bytes."""
        count = size = 0
        while self.size - size > limit and count < len(self.turns):
            size += self.turns[count][1]
            count += 1
        return count, size
