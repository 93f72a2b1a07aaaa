"""Context: which turns the model is shown, within its budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..frames import TurnRecord
from .prompt import Message
from .turn import Turn, place_of


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer, as the model is shown them."""

    seq: int  # the question's place
    question: Message
    answer: Message
    cost: int  # in bytes

    @classmethod
    def of(cls, seq: int, question: str, answer: str) -> Exchange:
        """An exchange, encoded and weighed."""
        asked, said = Message.of("user", question), Message.of("assistant", answer)
        return cls(seq, asked, said, cost(asked) + cost(said))


def cost(message: Message) -> int:
    """What a message weighs, in bytes: what JSON adds to it is about what the provider's template adds."""
    return len(message.encoded)


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

    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    whole: bool = True  # False where the store has older ones that could fit
    weight: int = 0
    cut: int | None = None  # while it is read from the store: turns from this place on were replaced

    def add(self, turn: Turn, *, budget: int) -> None:
        """A turn has ended. One without an answer would only confuse the model."""
        if turn.beginning is not None or len(turn.answer) > budget:
            self.exchanges.clear()
            self.weight, self.whole = 0, False  # it does not fit, and what was before it would be out of place
        elif turn.answer:
            exchange = Exchange.of(turn.seq, turn.question, turn.answer.decode())
            self.exchanges.append(exchange)
            self.weight += exchange.cost
            self._fit(budget)

    def _fit(self, budget: int) -> None:
        while self.weight > budget and self.exchanges:
            self.weight -= self.exchanges.pop(0).cost
            self.whole = False

    def replace(self, place: int) -> None:
        """The turn whose question is at `place` leaves, and every turn after it."""
        while self.exchanges and self.exchanges[-1].seq >= place:
            self.weight -= self.exchanges.pop().cost

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
            exchange = Exchange.of(place, turn.text, turn.answer)
            if self.weight + exchange.cost > budget:
                self.whole = False
                return False
            self.exchanges.insert(0, exchange)
            self.weight += exchange.cost
        return True

    def messages(self, *, system: Message | None, question: Message, budget: int) -> list[Message]:
        """The prompt: the persona, the newest turns that fit, the question."""
        room = budget - cost(question) - (cost(system) if system else 0)
        shown = [system] if system else []
        for exchange in self._newest(room):
            shown += (exchange.question, exchange.answer)
        shown.append(question)
        return shown

    def _newest(self, room: int) -> Iterable[Exchange]:
        """Those that fit, oldest first; mostly all do."""
        if self.weight <= room:
            return self.exchanges
        first = len(self.exchanges)
        while first and room >= self.exchanges[first - 1].cost:
            first -= 1
            room -= self.exchanges[first].cost
        return self.exchanges[first:]
