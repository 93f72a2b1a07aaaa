"""Session: the state machine of one log, which decides what is appended and in which order.

One turn is answered at a time, the others wait. Methods return the events to log, in order; illegal input raises and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import Busy, QueueFull, TurnNotFound
from ..events import (
    Done,
    Event,
    Failure,
    Options,
    Question,
    Reason,
    TextSlice,
    Thinking,
    Title,
    Token,
    TurnRecord,
    Usage,
    WhenBusy,
    make_token,
)
from .context import ContextWindow
from .log_tail import MAX_TOKEN_CHARS
from .text import to_well_formed
from .turn import Charge, TurnMachine, TurnState, seq_of
from .turn_records import copy_turn_events

MAX_KNOWN_QUESTIONS = 256  # with an id, in memory; older ones are found in the store
KNOWN_QUESTION_BYTES = 350  # of memory for each, about
MAX_MODEL_NAME_CHARS = 200  # in `done.model`, in code points
MAX_ERROR_MESSAGE_CHARS = 1000  # in `done.error.message`, in code points


class KnownQuestion(NamedTuple):
    """A logged question that has an id."""

    seq: int
    text_hash: int  # in place of the text, which would be in memory twice


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question that is not in the log yet."""

    text: str
    asked_at: float  # seconds of the monotonic clock
    created_at: float  # seconds since 1970
    id: str | None = None
    options: Options = Options()  # that the client gave
    used_options: Options | None = None  # with which the model is asked; None: those
    charge: Charge | None = None
    credential: str | None = None  # of who asks (`Principal.credential`)


@dataclass(slots=True)
class SessionMachine:
    """The head of a log, its running and waiting turns, and what the model is shown of those that ended."""

    id: str
    head: int = 0
    max_waiting: int = 8
    context_bytes: int = 32 * 1024  # bytes of ended turns that are kept for the model
    context: ContextWindow | None = None  # None: to be read from the store before the next turn
    running: TurnMachine | None = None
    waiting: list[TurnMachine] = field(default_factory=list[TurnMachine])  # few: a deque has room for 64
    # Turns that have ended, by the `seq` of their `done`, until that is stored.
    unstored_ended: dict[int, TurnMachine] = field(default_factory=dict[int, TurnMachine])
    # By id: the newest questions that have one.
    known_questions: dict[str, KnownQuestion] = field(default_factory=dict[str, KnownQuestion])
    knows_all_questions: bool = False  # False: the store may have others
    length_failures: int = 0  # newest questions in a row that failed, maybe because of the history's length

    @property
    def idle(self) -> bool:
        """Whether no turn runs or waits."""
        return self.running is None and not self.waiting

    def has_open_turn_from(self, seq: int) -> bool:
        """Return whether a turn runs or waits whose question has this `seq` or a later one."""
        return any(turn is not None and turn.seq >= seq for turn in [*self.waiting, self.running])

    @property
    def memory_bytes(self) -> int:
        """Estimated bytes of memory, without the log and the running turns."""
        return 3 * (self.context.size if self.context else 0) + KNOWN_QUESTION_BYTES * len(self.known_questions)

    def check_may_ask(self, when_busy: WhenBusy) -> None:
        """Raise what `ask` would raise."""
        if when_busy == "reject" and not self.idle:
            raise Busy
        if not self.idle and len(self.waiting) >= self.max_waiting:
            raise QueueFull

    def ask(self, question: NewQuestion, *, when_busy: WhenBusy, model: str) -> list[Event]:
        """Append a question. Raises `Busy` where `when_busy` is `reject` and a turn runs or waits, or `QueueFull`."""
        self.check_may_ask(when_busy)
        events: list[Event] = []
        if when_busy == "replace" and self.running is not None:
            events += self.cancel(self.running, "cancelled", now=question.asked_at, model=model)
        return [*events, self._append_question(question)]

    def replace(self, turn: str, question: NewQuestion, *, model: str) -> list[Event]:
        """Append a question in place of `turn`; cancels that turn and later ones, if they run or wait."""
        seq = seq_of(turn)
        events: list[Event] = []
        for other in [*self.waiting, self.running]:
            if other is not None and other.seq >= seq:
                events += self.cancel(other, "cancelled", now=question.asked_at, model=model)
        if self.context is not None:
            self.context.remove_from(seq)
            if not self.context.complete:
                self.context = None  # older turns may fit again
        return [*events, self._append_question(question, replaces=turn)]

    def _append_question(self, question: NewQuestion, *, replaces: str | None = None) -> Question:
        self.head += 1
        turn = TurnMachine(
            self.head,
            question.text,
            asked_at=question.asked_at,
            options=question.options if question.used_options is None else question.used_options,
            replaces=replaces,
            charge=question.charge,
            credential=question.credential,
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
        """Remember a logged question by its id, so that it is not appended again."""
        self.known_questions[id] = KnownQuestion(seq, hash(text))
        if len(self.known_questions) > MAX_KNOWN_QUESTIONS:
            del self.known_questions[next(iter(self.known_questions))]
            self.knows_all_questions = False

    def set_title(self, text: str) -> list[Event]:
        """Append a title. Raises `TurnNotFound` where there is no question yet: every log begins with one."""
        if not self.head:
            raise TurnNotFound("A conversation gets a name once it has a question.")
        self.head += 1
        return [Title(session=self.id, seq=self.head, text=text)]

    def copy_turns(self, turns: Sequence[TurnRecord], *, title: str | None) -> list[Event]:
        """Append turns of another session, all of which have ended, as turns of this one; and its title, if any."""
        events: list[Event] = []
        for record in turns:
            events += copy_turn_events(record, session=self.id, head=self.head)
            self.head = events[-1].seq
        if title:
            events += self.set_title(title)
        self.context = None  # to be read from the store, like that of any session which is opened again
        return events

    def restore_waiting(self, turn: TurnMachine) -> None:
        """Let a logged turn that another owner left wait for its start, whatever `max_waiting` is."""
        self.waiting.append(turn)

    def start_next(self, *, now: float) -> TurnMachine | None:
        """Start the first waiting turn and return it; None where a turn runs or none waits."""
        if self.running is not None or not self.waiting:
            return None
        self.running = self.waiting.pop(0)
        self.running.start(now=now)
        return self.running

    def add_text(self, turn: TurnMachine, piece: str, now: float) -> list[Event]:
        """Append a piece of an answer, in slices of at most `MAX_TOKEN_CHARS`; nothing once the turn has ended."""
        if turn.pending_thinking_surrogate and piece:
            return [*self._flush_surrogates(turn, now), *self.add_text(turn, piece, now)]
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

    def add_thinking(self, turn: TurnMachine, piece: str, now: float) -> list[Event]:
        """Append a piece of the reasoning that leads to an answer, as `add_text` does."""
        events = self._flush_surrogates(turn, now) if turn.pending_surrogate and piece else []
        text = turn.add_thinking(piece)
        for start in range(0, len(text), MAX_TOKEN_CHARS):
            events.append(self._append_thinking(turn, text[start : start + MAX_TOKEN_CHARS]))
        return events

    def _append_thinking(self, turn: TurnMachine, text: str) -> Thinking:
        self.head += len(text)
        return Thinking(session=self.id, turn=turn.id, seq=self.head, text=text)

    def _flush_surrogates(self, turn: TurnMachine, now: float) -> list[Event]:
        """Append U+FFFD, to the answer or the reasoning, where half of a surrogate pair waits for the other half."""
        if text := turn.flush_surrogate(now=now):
            return [self._append_token(turn, text)]
        if text := turn.flush_thinking_surrogate():
            return [self._append_thinking(turn, text)]
        return []

    def cancel(self, turn: TurnMachine, reason: Reason, *, now: float, model: str) -> list[Event]:
        """End a turn from outside; `model` is the upstream's, for a question that names none."""
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
        events = self._flush_surrogates(turn, now)
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
            model=to_well_formed(model, limit=MAX_MODEL_NAME_CHARS),
            usage=usage,
            timing=turn.timing(now=now),
            check=turn.check(),
            error=error and replace(error, message=to_well_formed(error.message, limit=MAX_ERROR_MESSAGE_CHARS)),
        )

    def close(self) -> None:
        """End all turns without logging anything; later input logs nothing either."""
        for turn in [*self.waiting, self.running]:
            if turn is not None:
                turn.end()
        self.waiting, self.running = [], None

    def turns_without_stored_end(self) -> set[str]:
        """Return the ids of the turns that run, wait, or have ended with a `done` that is not stored yet."""
        turns = [*self.waiting, self.running, *self.unstored_ended.values()]
        return {turn.id for turn in turns if turn is not None}

    def find_open_turn(self, turn: str | None) -> TurnMachine:
        """Return the running or waiting turn with this id; None: the running one. Raises `TurnNotFound`."""
        if turn is None:
            if self.running is None:
                raise TurnNotFound("No turn is running.")
            return self.running
        for other in [self.running, *self.waiting]:
            if other is not None and other.id == turn:
                return other
        raise TurnNotFound("This turn is neither running nor waiting.")

    def mark_stored(self, seq: int) -> None:
        """Note that all events up to `seq` are stored: `roll_back` is not called for them."""
        running = self.running
        if running is not None and len(running.answer) > self.context_bytes and seq == self.head:
            running.release_stored_text()
        if self.unstored_ended:
            self.unstored_ended = {end: turn for end, turn in self.unstored_ended.items() if end > seq}

    def roll_back(self, lost: Sequence[Event], *, now: float, model: str, error: Failure) -> list[Done]:
        """Undo the newest events, which could not be stored; returns the ends to show in their place.

        Lost questions and lost text are removed, and a turn that had not started waits again. A turn that was started
        and has ended, or that has lost text and so must end, gets a `done` although it can't be stored now: at the
        `seq` at which a server that finds the turn open would append it (docs/decisions/0004). Such a server ends turns
        in the order of their questions, so older turns that wait again, or were started again, end before.
        """
        self.head = lost[0].start
        self.context = None  # it may show what was lost, or miss what a lost question replaced
        lost_turns = {event.turn for event in lost if isinstance(event, Question)}
        self._roll_back_questions(lost, lost_turns)
        shortened = self._roll_back_text(lost, lost_turns)
        ends = [event for event in lost if isinstance(event, Done) and event.turn not in lost_turns]
        ended: dict[int, Done | TurnMachine] = {
            seq_of(done.turn): done for done in ends if not self._requeue_unstarted(done)
        }
        if self.running is not None and self.running.id in shortened:
            ended[self.running.seq] = self.running
        newest = max(ended, default=0)
        ended |= {turn.seq: turn for turn in [*self.waiting, self.running] if turn is not None and turn.seq < newest}
        self.unstored_ended.clear()
        return [
            self._append_end_again(one, shortened.get(one.turn), error)
            if isinstance(one, Done)
            else self._append_unstored_end(one, now=now, model=one.options.model or model, error=error)
            for _, one in sorted(ended.items())
        ]

    def _append_unstored_end(self, turn: TurnMachine, *, now: float, model: str, error: Failure) -> Done:
        turn.end()
        if turn is self.running:
            self.running = None
        else:
            self.waiting.remove(turn)
        return self._append_done(turn, "error", now=now, model=model, usage=None, error=error)

    def _roll_back_questions(self, lost: Sequence[Event], lost_turns: set[str]) -> None:
        for event in lost:
            if isinstance(event, Question) and event.id is not None:
                self.known_questions.pop(event.id, None)
        self.waiting = [turn for turn in self.waiting if turn.id not in lost_turns]
        if self.running is not None and self.running.id in lost_turns:
            self.running.end()
            self.running = None

    def _roll_back_text(self, lost: Sequence[Event], lost_turns: Collection[str]) -> dict[str, TurnMachine]:
        """Remove the lost text and reasoning from its turns; returns these turns by id."""
        turns = {turn.id: turn for turn in [self.running, *self.unstored_ended.values()] if turn is not None}
        shortened: dict[str, TurnMachine] = {}
        for event in lost:
            if isinstance(event, TextSlice) and event.turn not in lost_turns:
                turn = shortened[event.turn] = turns[event.turn]
                if isinstance(event, Token):
                    turn.roll_back(chars=len(event.text))
                else:
                    turn.roll_back(chars=0, thinking_chars=len(event.text))
        return shortened

    def _requeue_unstarted(self, done: Done) -> bool:
        """Let the turn of a lost `done` wait again if it had not started; returns whether it does."""
        turn = self.unstored_ended.get(done.seq)
        if turn is None or turn.started_at is not None:  # None: the turn of a server that died
            return False
        turn.undo_end()
        self.waiting = sorted([*self.waiting, turn], key=lambda one: one.seq)
        return True

    def _append_end_again(self, done: Done, shortened: TurnMachine | None, error: Failure) -> Done:
        """Append a lost `done` at the present head; `shortened` is its turn where that has lost text."""
        self.head += 1
        if shortened is None:
            return replace(done, seq=self.head)
        return replace(done, seq=self.head, reason="error", error=error, check=shortened.check())
