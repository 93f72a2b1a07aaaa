"""Session: what may be appended to one log, and in which order.

One turn is answered at a time, the others wait. Every method returns the events to log, in order; illegal input
raises, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import Busy, QueueFull, TurnNotFound
from ..events import Done, Event, Failure, Options, Question, Reason, Token, Usage, WhenBusy, token
from .context import Context
from .log import PIECE
from .text import well_formed
from .turn import State, Turn, place_of

REMEMBERED = 256  # ids of questions kept in memory; older ones are found in the store
KNOWN_BYTES = 350  # what such an id takes
NAME = 200  # code points that a model's name may have
MESSAGE = 1000  # and an error's message


class Known(NamedTuple):
    """A question that was asked with an id."""

    seq: int
    text: int  # its hash: the text would cost its length again


@dataclass(frozen=True, slots=True)
class Asking:
    """A question as it arrives."""

    text: str
    now: float  # seconds of the steady clock
    created: float  # seconds since 1970
    id: str | None = None
    options: Options = Options()


@dataclass(slots=True)
class Session:
    """The head of the log, the running turn, those that wait, and what the model is shown of those that ended."""

    id: str
    head: int = 0
    max_waiting: int = 8
    window: int = 32 * 1024  # bytes of ended turns that are kept for the model
    context: Context | None = None  # None: to be read from the store before the next turn
    running: Turn | None = None
    waiting: list[Turn] = field(default_factory=list[Turn])  # few: a deque would have room for sixty
    ended: dict[int, Turn] = field(default_factory=dict[int, Turn])  # by the place of their `done`, until it is stored
    asked: dict[str, Known] = field(default_factory=dict[str, Known])  # the newest questions that had an id
    all_asked: bool = False  # those are all that there are

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return self.running is None and not self.waiting

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return 3 * (self.context.weight if self.context else 0) + KNOWN_BYTES * len(self.asked)

    def ask(self, asking: Asking, *, when_busy: WhenBusy, model: str) -> list[Event]:
        """Append a question. Raises `Busy`, `QueueFull`."""
        if when_busy == "reject" and not self.idle:
            raise Busy
        if not self.idle and len(self.waiting) >= self.max_waiting:
            raise QueueFull
        events: list[Event] = []
        if when_busy == "replace" and self.running is not None:
            events += self.cancel(self.running, "cancelled", now=asking.now, model=model)
        return [*events, self._question(asking)]

    def replace(self, turn: str, asking: Asking, *, model: str) -> list[Event]:
        """Append a question in the place of `turn`: whatever runs or waits from there on is cancelled."""
        place = place_of(turn)
        events: list[Event] = []
        for other in [*self.waiting, self.running]:
            if other is not None and other.seq >= place:
                events += self.cancel(other, "cancelled", now=asking.now, model=model)
        if self.context is not None:
            self.context.replace(place)
            if not self.context.whole:
                self.context = None  # older turns may fit again
        return [*events, self._question(asking, replaces=turn)]

    def _question(self, asking: Asking, *, replaces: str | None = None) -> Question:
        self.head += 1
        turn = Turn(self.head, asking.text, asked=asking.now, options=asking.options, replaces=replaces)
        self.waiting.append(turn)
        if asking.id is not None:
            self.remember(asking.id, turn.seq, asking.text)
        return Question(
            session=self.id,
            seq=self.head,
            turn=turn.id,
            id=asking.id,
            text=asking.text,
            created=asking.created,
            replaces=replaces,
            options=None if asking.options == Options() else asking.options,
        )

    def remember(self, id: str, seq: int, text: str) -> None:
        """An id that was asked: it is not asked again."""
        self.asked[id] = Known(seq, hash(text))
        if len(self.asked) > REMEMBERED:
            del self.asked[next(iter(self.asked))]
            self.all_asked = False

    def start(self, *, now: float) -> Turn | None:
        """The next turn may begin, if none runs and one waits."""
        if self.running is not None or not self.waiting:
            return None
        self.running = self.waiting.pop(0)
        self.running.start(now=now)
        return self.running

    def text(self, turn: Turn, piece: str, now: float) -> list[Event]:
        """Take a piece of an answer."""
        text = turn.text(piece, now)
        if len(text) > PIECE:
            return [self._token(turn, text[start : start + PIECE]) for start in range(0, len(text), PIECE)]
        return [self._token(turn, text)] if text else []

    def _token(self, turn: Turn, text: str) -> Token:
        self.head += len(text)
        return token(self.id, turn.id, self.head, text)

    def cancel(self, turn: Turn, reason: Reason, *, now: float, model: str) -> list[Event]:
        """End a turn before its time; `model` is the one that answers where the question named none."""
        return self.end(turn, reason, now=now, model=turn.options.model or model)

    def end(
        self,
        turn: Turn,
        reason: Reason,
        *,
        now: float,
        model: str,
        usage: Usage | None = None,
        error: Failure | None = None,
    ) -> list[Event]:
        """End a turn, running or waiting; nothing where it has ended. `model` is the one that answered."""
        if turn.state is State.ENDED:
            return []
        rest = turn.flush(now=now)
        events: list[Event] = [self._token(turn, rest)] if rest else []
        turn.end()
        if turn is self.running:
            self.running = None
            if self.context is not None and reason != "refused":
                self.context.add(turn, budget=self.window)
        else:
            self.waiting.remove(turn)
        done = self._done(turn, reason, now=now, model=model, usage=usage, error=error)
        self.ended[done.seq] = turn
        return [*events, done]

    def _done(
        self, turn: Turn, reason: Reason, *, now: float, model: str, usage: Usage | None, error: Failure | None
    ) -> Done:
        self.head += 1
        return Done(
            session=self.id,
            seq=self.head,
            turn=turn.id,
            reason=reason,
            model=well_formed(model, limit=NAME),
            usage=usage,
            timing=turn.timing(now=now),
            check=turn.check(),
            error=error and replace(error, message=well_formed(error.message, limit=MESSAGE)),
        )

    def close(self) -> None:
        """Let nothing more come of this: whatever its turns are told from now on, nothing is to be logged."""
        for turn in [*self.waiting, self.running]:
            if turn is not None:
                turn.end()
        self.waiting, self.running = [], None

    def has(self, turn: str) -> bool:
        """Whether this turn runs or waits."""
        return any(other.id == turn for other in [*self.waiting, self.running] if other is not None)

    def find(self, turn: str | None) -> Turn:
        """The turn that a cancel is about. Raises `TurnNotFound` where it neither runs nor waits."""
        if turn is None:
            if self.running is None:
                raise TurnNotFound("No turn is running.")
            return self.running
        for other in [self.running, *self.waiting]:
            if other is not None and other.id == turn:
                return other
        raise TurnNotFound("This turn is neither running nor waiting.")

    def stored(self, seq: int) -> None:
        """All events up to this place are stored: none of them will be lost."""
        running = self.running
        if running is not None and len(running.answer) > self.window and seq == self.head:
            running.settle()
        if self.ended:
            self.ended = {place: turn for place, turn in self.ended.items() if place > seq}

    def rewind(self, lost: Sequence[Event], *, now: float, model: str, error: Failure) -> list[Done]:
        """What is not stored yet could not be: undo it. Returns the ends to show in the place of the lost ones.

        A question that was lost was never asked, text that was lost was never there, and a turn that had not begun
        waits again. But a turn that was answered and has ended, or that has lost text and so must end, gets its
        `done`, even if it can't be stored now: in the place where a server that finds it open would put it.
        """
        self.head = lost[0].start
        self.context = None  # it may show what was lost, or miss what a lost question replaced
        gone = {event.turn for event in lost if isinstance(event, Question)}
        self._unask(lost, gone)
        unsaid = self._unsay(lost, gone)
        ends = [event for event in lost if isinstance(event, Done) and event.turn not in gone]
        unstored = [self._moved(done, unsaid.get(done.turn), error) for done in ends if not self._waits_again(done)]
        turn = self.running
        if turn is not None and turn.id in unsaid:
            turn.end()
            self.running = None
            unstored.append(
                self._done(turn, "error", now=now, model=turn.options.model or model, usage=None, error=error)
            )
        self.ended.clear()
        return unstored

    def _unask(self, lost: Sequence[Event], gone: set[str]) -> None:
        for event in lost:
            if isinstance(event, Question) and event.id is not None:
                self.asked.pop(event.id, None)
        self.waiting = [turn for turn in self.waiting if turn.id not in gone]
        if self.running is not None and self.running.id in gone:
            self.running.end()
            self.running = None

    def _unsay(self, lost: Sequence[Event], gone: Collection[str]) -> dict[str, Turn]:
        """Take back the text that was lost; returns the turns that lost any."""
        turns = {turn.id: turn for turn in [self.running, *self.ended.values()] if turn is not None}
        unsaid: dict[str, Turn] = {}
        for event in lost:
            if isinstance(event, Token) and event.turn not in gone:
                unsaid[event.turn] = turns[event.turn]
                unsaid[event.turn].rewind(lost=len(event.text))
        return unsaid

    def _waits_again(self, done: Done) -> bool:
        """Whether this was the end of a turn that had not begun: then the turn waits, as if nothing had been."""
        turn = self.ended.get(done.seq)
        if turn is None or turn.started is not None:  # None: it is a dead server's turn
            return False
        turn.wait_again()
        self.waiting = sorted([*self.waiting, turn], key=lambda one: one.seq)
        return True

    def _moved(self, done: Done, unsaid: Turn | None, error: Failure) -> Done:
        """An end in the place where it now belongs; with what became of the answer, where some of that was lost."""
        self.head += 1
        if unsaid is None:
            return replace(done, seq=self.head)
        return replace(done, seq=self.head, reason="error", error=error, check=unsaid.check())
