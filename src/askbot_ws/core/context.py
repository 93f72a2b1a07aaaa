"""Context window: the ended turns that are sent to the model with the next question, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from ..events import TurnRecord
from .prompt import Message
from .text import is_blank
from .turn import TurnMachine, seq_of


def encode_exchange(question: str, answer: str) -> bytes:
    """Encode a question and its answer as two messages, each followed by a comma."""
    return b"%b,%b," % (Message("user", question).encoded, Message("assistant", answer).encoded)


@dataclass(slots=True)
class TokenEstimate:
    """Estimated bytes per token: low at first, so that prompts fit, then corrected by the provider's counts."""

    bytes_per_token: float = 4 / 1.4

    def update(self, *, prompt_bytes: int, prompt_tokens: int) -> None:
        """Correct the estimate by one prompt. Those of up to 1000 bytes are mostly template and are ignored."""
        if prompt_bytes > 1000 and prompt_tokens > 0:
            measured = min(8.0, max(0.5, prompt_bytes / prompt_tokens / 1.1))
            self.bytes_per_token += (measured - self.bytes_per_token) / 4

    def bytes_for(self, tokens: int) -> int:
        """Return how many bytes fit into this many tokens."""
        return int(tokens * self.bytes_per_token)

    def tokens_in(self, size: int) -> int:
        """Return about how many tokens this many bytes are."""
        return ceil(size / self.bytes_per_token)


@dataclass(slots=True)
class ContextWindow:
    """The newest turns that are neither replaced nor refused and have an answer; oldest first.

    An answer of blanks, as a cancelled one may be, is none: some providers refuse such a message.
    """

    encoded: bytes = b""  # all turns, by `encode_exchange`
    turns: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # of each: `seq`, bytes
    complete: bool = True  # False where the store has older turns, which could fit
    replaced_from: int | None = None  # while it is read from the store: turns from this `seq` on were replaced

    @property
    def size(self) -> int:
        """Bytes of all turns."""
        return len(self.encoded)

    def add(self, turn: TurnMachine, *, budget: int) -> None:
        """Add an ended turn unless it has no answer; remove the oldest until all fit `budget` bytes."""
        answer = turn.answer.decode()
        if turn.stored_hash is None and is_blank(answer):
            return
        if turn.stored_hash is not None or len(turn.answer) > budget:
            self.turns.clear()
            self.encoded, self.complete = b"", False  # it does not fit; older turns without it would mislead the model
        else:
            encoded = encode_exchange(turn.question, answer)
            self.turns.append((turn.seq, len(encoded)))
            self.encoded += encoded
            count, size = self._excess(budget)
            if count:
                del self.turns[:count]
                self.encoded, self.complete = self.encoded[size:], False

    def remove_from(self, seq: int) -> None:
        """Remove the turn whose question has this `seq`, and every turn after it."""
        size = 0
        while self.turns and self.turns[-1][0] >= seq:
            size += self.turns.pop()[1]
        self.encoded = self.encoded[: self.size - size]

    def add_older(self, turns: Sequence[TurnRecord], *, budget: int) -> bool:
        """Add a page of older turns from the store, oldest first; returns whether more would fit `budget` bytes."""
        found: list[tuple[int, bytes]] = []  # newest first
        room = budget - self.size
        for turn in reversed(turns):
            seq = seq_of(turn.turn)
            replaced = self.replaced_from is not None and seq >= self.replaced_from
            if turn.replaces is not None:
                first = seq_of(turn.replaces)
                self.replaced_from = first if self.replaced_from is None else min(self.replaced_from, first)
            if replaced or is_blank(turn.answer) or turn.reason in (None, "refused"):
                continue
            encoded = encode_exchange(turn.text, turn.answer)
            room -= len(encoded)
            if room < 0:
                self.complete = False
                break
            found.append((seq, encoded))
        found.reverse()
        self.turns[:0] = [(seq, len(encoded)) for seq, encoded in found]
        self.encoded = b"".join([*(encoded for _, encoded in found), self.encoded])
        return room >= 0

    def newest(self, limit: int) -> bytes:
        """Return the newest turns that fit `limit` bytes, encoded."""
        _, size = self._excess(limit)
        return self.encoded[size:]

    def _excess(self, limit: int) -> tuple[int, int]:
        """Return how many of the oldest turns do not fit `limit` bytes, and their size."""
        count = size = 0
        while self.size - size > limit and count < len(self.turns):
            size += self.turns[count][1]
            count += 1
        return count, size
