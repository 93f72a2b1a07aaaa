"""Session: what may be appended to one log, and in which order.

One turn is answered at a time, the others wait. Every method returns the events to log, in order; illegal input
raises, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import Busy, QueueFull, TurnNotFound
from ..events import Done, Event, Failure, Options, Question, Reason, Token, Usage, WhenBusy, make_token
from .context import ContextWindow
from .log_tail import MAX_TOKEN_CHARS
from .text import well_formed
from .turn import TurnMachine, TurnState, seq_of

MAX_KNOWN_QUESTIONS = 256  # ids of questions kept in memory; older ones are found in the store
KNOWN_QUESTION_BYTES = 350  # what such an id takes
MAX_MODEL_NAME_CHARS = 200  # code points that a model's name may have
MAX_ERROR_MESSAGE_CHARS = 1000  # and an error's message


class KnownQuestion(NamedTuple):
    """A question that was asked with an id."""

    seq: int
    text_hash: int  # its hash: the text would cost its length again


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question as it arrives."""

    text: str
    asked_at: float  # seconds of the steady clock
    created_at: float  # seconds since 1970
    id: str | None = None
    options: Options = Options()


@dataclass(slots=True)
class SessionMachine:
    """The head of the log, the running turn, those that wait, and what the model is shown of those that ended."""

    id: str
    head: int = 0
    max_waiting: int = 8
    context_bytes: int = 32 * 1024  # bytes of ended turns that are kept for the model
    context: ContextWindow | None = None  # None: to be read from the store before the next turn
    running: TurnMachine | None = None
    waiting: list[TurnMachine] = field(default_factory=list[TurnMachine])  # few: a deque would have room for sixty
    unstored_ended: dict[int, TurnMachine] = field(
        default_factory=dict[int, TurnMachine]
    )  # by the place of their `done`, until it is stored
    known_questions: dict[str, KnownQuestion] = field(
        default_factory=dict[str, KnownQuestion]
    )  # the newest questions that had an id
    knows_all_questions: bool = False  # those are all that there are

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return self.running is None and not self.waiting

    @property
    def memory_bytes(self) -> int:
        """About how many bytes of memory it takes."""
        return 3 * (self.context.size if self.context else 0) + KNOWN_QUESTION_BYTES * len(self.known_questions)

    def ask(self, question: NewQuestion, *, when_busy: WhenBusy, model: str) -> list[Event]:
        """Append a question. Raises `Busy`, `QueueFull`."""
        if when_busy == "reject" and not self.idle:
            raise Busy
        if not self.idle and len(self.waiting) >= self.max_waiting:
            raise QueueFull
        events: list[Event] = []
        if when_busy == "replace" and self.running is not None:
            events += self.cancel(self.running, "cancelled", now=question.asked_at, model=model)
        return [*events, self._append_question(question)]

    def replace(self, turn: str, question: NewQuestion, *, model: str) -> list[Event]:
        """Append a question in the place of `turn`: whatever runs or waits from there on is cancelled."""
        place = seq_of(turn)
        events: list[Event] = []
        for other in [*self.waiting, self.running]:
            if other is not None and other.seq >= place:
                events += self.cancel(other, "cancelled", now=question.asked_at, model=model)
        if self.context is not None:
            self.context.remove_from(place)
            if not self.context.complete:
                self.context = None  # older turns may fit again
        return [*events, self._append_question(question, replaces=turn)]

    def _append_question(self, question: NewQuestion, *, replaces: str | None = None) -> Question:
        self.head += 1
        turn = TurnMachine(
            self.head, question.text, asked_at=question.asked_at, options=question.options, replaces=replaces
        )
        self.waiting.append(turn)
        if question.id is not None:
            self.add_known_question(question.id, turn.seq, question.text)
        return Question(
            session=self.id,
            seq=self.head,
            turn=turn.id,
            id=question.id,
            text=question.text,
            created=question.created_at,
            replaces=replaces,
            options=None if question.options == Options() else question.options,
        )

    def add_known_question(self, id: str, seq: int, text: str) -> None:
        """An id that was asked: it is not asked again."""
        self.known_questions[id] = KnownQuestion(seq, hash(text))
        if len(self.known_questions) > MAX_KNOWN_QUESTIONS:
            del self.known_questions[next(iter(self.known_questions))]
            self.knows_all_questions = False

    def start_next(self, *, now: float) -> TurnMachine | None:
        """The next turn may begin, if none runs and one waits."""
        if self.running is not None or not self.waiting:
            return None
        self.running = self.waiting.pop(0)
        self.running.start(now=now)
        return self.running

    def add_text(self, turn: TurnMachine, piece: str, now: float) -> list[Event]:
        """Take a piece of an answer."""
        text = turn.add_text(piece, now)
        if len(text) > MAX_TOKEN_CHARS:
            return [
                self._append_token(turn, text[start : start + MAX_TOKEN_CHARS])
                for start in range(0, len(text), MAX_TOKEN_CHARS)
            ]
        return [self._append_token(turn, text)] if text else []

    def _append_token(self, turn: TurnMachine, text: str) -> Token:
        self.head += len(text)
        return make_token(self.id, turn.id, self.head, text)

    def cancel(self, turn: TurnMachine, reason: Reason, *, now: float, model: str) -> list[Event]:
        """End a turn before its time; `model` is the one that answers where the question named none."""
        return self.end(turn, reason, now=now, model=turn.options.model or model)

    def end(
        self,
        turn: TurnMachine,
        reason: Reason,
        *,
        now: float,
        model: str,
        usage: Usage | None = None,
        error: Failure | None = None,
    ) -> list[Event]:
        """End a turn, running or waiting; nothing where it has ended. `model` is the one that answered."""
        if turn.state is TurnState.ENDED:
            return []
        rest = turn.flush_surrogate(now=now)
        events: list[Event] = [self._append_token(turn, rest)] if rest else []
        turn.end()
        if turn is self.running:
            self.running = None
            if self.context is not None and reason != "refused":
                self.context.add(turn, budget=self.context_bytes)
        else:
            self.waiting.remove(turn)
        done = self._append_done(turn, reason, now=now, model=model, usage=usage, error=error)
        self.unstored_ended[done.seq] = turn
        return [*events, done]

    def _append_done(
        self, turn: TurnMachine, reason: Reason, *, now: float, model: str, usage: Usage | None, error: Failure | None
    ) -> Done:
        self.head += 1
        return Done(
            session=self.id,
            seq=self.head,
            turn=turn.id,
            reason=reason,
            model=well_formed(model, limit=MAX_MODEL_NAME_CHARS),
            usage=usage,
            timing=turn.timing(now=now),
            check=turn.check(),
            error=error and replace(error, message=well_formed(error.message, limit=MAX_ERROR_MESSAGE_CHARS)),
        )

    def close(self) -> None:
        """Let nothing more come of this: whatever its turns are told from now on, nothing is to be logged."""
        for turn in [*self.waiting, self.running]:
            if turn is not None:
                turn.end()
        self.waiting, self.running = [], None

    def is_open(self, turn: str) -> bool:
        """Whether this turn runs or waits."""
        return any(other.id == turn for other in [*self.waiting, self.running] if other is not None)

    def open_turn(self, turn: str | None) -> TurnMachine:
        """The turn that a cancel is about. Raises `TurnNotFound` where it neither runs nor waits."""
        if turn is None:
            if self.running is None:
                raise TurnNotFound("No turn is running.")
            return self.running
        for other in [self.running, *self.waiting]:
            if other is not None and other.id == turn:
                return other
        raise TurnNotFound("This turn is neither running nor waiting.")

    def mark_stored(self, seq: int) -> None:
        """All events up to this place are stored: none of them will be lost."""
        running = self.running
        if running is not None and len(running.answer) > self.context_bytes and seq == self.head:
            running.release_stored_text()
        if self.unstored_ended:
            self.unstored_ended = {place: turn for place, turn in self.unstored_ended.items() if place > seq}

    def roll_back(self, lost: Sequence[Event], *, now: float, model: str, error: Failure) -> list[Done]:
        """What is not stored yet could not be: undo it. Returns the ends to show in the place of the lost ones.

        A question that was lost was never asked, text that was lost was never there, and a turn that had not begun
        waits again. But a turn that was answered and has ended, or that has lost text and so must end, gets its
        `done`, even if it can't be stored now: in the place where a server that finds it open would put it.
        """
        self.head = lost[0].start
        self.context = None  # it may show what was lost, or miss what a lost question replaced
        gone = {event.turn for event in lost if isinstance(event, Question)}
        self._roll_back_questions(lost, gone)
        unsaid = self._roll_back_text(lost, gone)
        ends = [event for event in lost if isinstance(event, Done) and event.turn not in gone]
        unstored = [
            self._append_end_again(done, unsaid.get(done.turn), error)
            for done in ends
            if not self._requeue_unstarted(done)
        ]
        turn = self.running
        if turn is not None and turn.id in unsaid:
            turn.end()
            self.running = None
            unstored.append(
                self._append_done(turn, "error", now=now, model=turn.options.model or model, usage=None, error=error)
            )
        self.unstored_ended.clear()
        return unstored

    def _roll_back_questions(self, lost: Sequence[Event], lost_turns: set[str]) -> None:
        for event in lost:
            if isinstance(event, Question) and event.id is not None:
                self.known_questions.pop(event.id, None)
        self.waiting = [turn for turn in self.waiting if turn.id not in lost_turns]
        if self.running is not None and self.running.id in lost_turns:
            self.running.end()
            self.running = None

    def _roll_back_text(self, lost: Sequence[Event], lost_turns: Collection[str]) -> dict[str, TurnMachine]:
        """Take back the text that was lost; returns the turns that lost any."""
        turns = {turn.id: turn for turn in [self.running, *self.unstored_ended.values()] if turn is not None}
        unsaid: dict[str, TurnMachine] = {}
        for event in lost:
            if isinstance(event, Token) and event.turn not in lost_turns:
                unsaid[event.turn] = turns[event.turn]
                unsaid[event.turn].roll_back(chars=len(event.text))
        return unsaid

    def _requeue_unstarted(self, done: Done) -> bool:
        """Whether this was the end of a turn that had not begun: then the turn waits, as if nothing had been."""
        turn = self.unstored_ended.get(done.seq)
        if turn is None or turn.started_at is not None:  # None: it is a dead server's turn
            return False
        turn.requeue()
        self.waiting = sorted([*self.waiting, turn], key=lambda one: one.seq)
        return True

    def _append_end_again(self, done: Done, shortened: TurnMachine | None, error: Failure) -> Done:
        """An end in the place where it now belongs; with what became of the answer, where some of that was lost."""
        self.head += 1
        if shortened is None:
            return replace(done, seq=self.head)
        return replace(done, seq=self.head, reason="error", error=error, check=shortened.check())
