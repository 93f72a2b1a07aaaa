"""View: the turns of one session, computed from the server's frames. No I/O; the clock is read to measure thinking.

Every event carries its position in the log, so each frame shows whether it is old, next or after a gap: each code
point of text is added exactly once, over any number of connections.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal, TypeAlias

from typing_extensions import deprecated

from ..dialects.askbot.frames import History, Limits, Ready, ServerFrame, UnknownEvent
from ..events import (
    Check,
    Done,
    Failure,
    Options,
    Question,
    Step,
    Thinking,
    Timing,
    Title,
    Token,
    TurnRecord,
    Usage,
)
from .errors import NOT_ENTERED, Closed

TURN_OVERHEAD_CODE_POINTS = 500  # what a turn counts for against `keep`, beside its question and its answer
MAX_UNJOINED_PIECES = 64  # a string object costs 50 bytes and more, so many small ones cost many times their text
UNKNOWN_TIMING = Timing(queued=0.0, first_token=None, total=0.0)

Status: TypeAlias = Literal["waiting", "thinking", "answering", "ended"]
"""What a turn does: `thinking` and `answering` say what the last text that came was a part of."""


class Gap(Exception):
    """Events before this one are missing: connect again, with `after` = the view's `seq`."""


class TextBuffer:
    """Text that is appended to in small pieces, in time and memory proportional to its length."""

    __slots__ = ("_parts", "_unjoined", "size")

    def __init__(self, text: str = "") -> None:
        self.size: int = len(text)  # code points
        self._parts = [text] if text else []
        self._unjoined = 0

    def append(self, piece: str) -> None:
        """Add text at the end."""
        self.size += len(piece)
        self._parts.append(piece)
        self._unjoined += 1
        if self._unjoined == MAX_UNJOINED_PIECES:
            self._parts[-MAX_UNJOINED_PIECES:] = ["".join(self._parts[-MAX_UNJOINED_PIECES:])]
            self._unjoined = 0

    def __str__(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
            self._unjoined = 0
        return self._parts[0] if self._parts else ""

    def read_after(self, position: int) -> str:
        """Return the text after so many code points, in time proportional to what it returns."""
        missing = self.size - position
        newest: list[str] = []
        for part in reversed(self._parts):
            if missing <= 0:
                break
            newest.append(part)
            missing -= len(part)
        return "".join(reversed(newest))[max(0, -missing) :]

    def pop_all(self) -> str:
        """Return the whole text, and leave the buffer empty."""
        text = str(self)
        self._parts.clear()
        self.size = self._unjoined = 0
        return text


@dataclass(frozen=True, slots=True)
class End:
    """How a turn ended.

    Attributes:
        reason: One of `askbot_ws.events.Reason` (`stop`, `length`, `cancelled`, `refused`, `interrupted`, `error`), or
            a word that a later version of the server uses.
        model: The model that was asked.
        usage: The provider's count, `input_tokens` and `output_tokens`; None where it gave none.
        timing: `queued`, `first_token` and `total`, in seconds since the question arrived; `first_token` is None where
            no text came. Where the server has lost the turn, only `total` is known, as it was measured here.
        check: The proof of the answer: its length in code points (`chars`) and the SHA-256 of its UTF-8 bytes
            (`sha256`, in hexadecimal). None where the server has lost the turn.
        error: Where `reason` is `error`: `code`, `message`, `retryable` and `retry_after` (seconds, or None).
    """

    reason: str
    model: str
    usage: Usage | None
    timing: Timing
    check: Check | None
    error: Failure | None

    @classmethod
    def from_record(cls, record: Done | TurnRecord) -> End | None:
        """Return the end in an event, or from a turn of a history page.

        Args:
            record: A turn's `done` event, or a turn as `Chat.history` returns it.

        Returns:
            How the turn ended; None where it still runs.
        """
        if record.reason is None:
            return None
        model, timing = record.model or "", record.timing or UNKNOWN_TIMING  # a turn that has ended has both
        return cls(record.reason, model, record.usage, timing, record.check, record.error)

    def proves(self, answer: str) -> bool:
        """Compare an answer's text with its proof.

        Args:
            answer: The whole text.

        Returns:
            Whether it has the length and the SHA-256 of `check`; True where there is no `check`.
        """
        if self.check is None:
            return True
        return (self.check.chars, self.check.sha256) == (len(answer), hashlib.sha256(answer.encode()).hexdigest())


@dataclass(slots=True)
class Turn:
    """One question, and its answer as far as it was received.

    Attributes:
        turn: The turn's id, unique in its session: what `retry`, `edit` and `cancel` take.
        id: The id of the frame that asked the question; None where it had none.
        question: The question.
        replaces: The id of the turn that this one retries or edits; None where it is a further question.
        created: When the question was logged, in seconds since 1970.
        options: The `model`, `temperature` and `max_tokens` that were asked for; None where none were.
        from_: The log's position before the question.
        seq: The log's position up to which `answer` and `end` are known. It may be after the view's `seq`: a history
            page has more than the events read so far.
        answer_buffer: The answer's text; read it as `answer`.
        thinking_buffer: The reasoning that the model shows; read it as `thinking`.
        phase: What the last text that came was a part of; `waiting` before any.
        begins_with_thinking: Whether its first text was thinking, and not the answer's.
        thinking_before_answer: How many code points of `thinking` came before the answer; None until that begins.
        thinking_since: When it began to think, in seconds since 1970; None where that was not seen.
        thinking_time: How long it thought before it answered, in seconds: by the clock here, and once the turn has
            ended by the server's. None while it thinks, and where that is not known.
        end: How the turn ended; None while it runs.
        whole: False where thinking and answer are longer than the view keeps, so that their last part is not here.
    """

    turn: str
    id: str | None
    question: str
    replaces: str | None
    created: float
    options: Options | None
    from_: int
    seq: int
    answer_buffer: TextBuffer = field(default_factory=TextBuffer)
    thinking_buffer: TextBuffer = field(default_factory=TextBuffer)
    phase: Literal["waiting", "thinking", "answering"] = "waiting"
    begins_with_thinking: bool = False
    thinking_before_answer: int | None = None
    thinking_since: float | None = None
    thinking_time: float | None = None
    end: End | None = None
    whole: bool = True

    @classmethod
    def from_record(cls, record: Question | TurnRecord) -> Turn:
        """Make a turn from a question, or from a turn of a history page.

        Args:
            record: A `question` event, or a turn as `Chat.history` returns it.

        Returns:
            The turn: without an answer for a question, otherwise with what the page has of it.
        """
        fields = (record.turn, record.id, record.text, record.replaces, record.created, record.options)
        if isinstance(record, Question):
            return cls(*fields, from_=record.start, seq=record.seq)
        steps = record.steps or ()
        turn = cls(
            *fields,
            from_=record.from_,
            seq=record.seq,
            answer_buffer=TextBuffer(record.answer),
            thinking_buffer=TextBuffer("".join(step.text for step in steps if step.type == "thinking")),
            phase=_last_phase(record),
            begins_with_thinking=bool(steps) and steps[0].type == "thinking",
            thinking_before_answer=_thinking_before_answer(steps) if record.answer else None,
        )
        turn.set_end(End.from_record(record))
        return turn

    @property
    @deprecated("`Turn.text` is called `question`, as in JavaScript", category=None)  # told by type checkers only
    def text(self) -> str:
        """The name that `question` had before."""
        return self.question

    @property
    def status(self) -> Status:
        """`waiting` for the model, `thinking`, `answering`, or `ended`."""
        return "ended" if self.end else self.phase

    @property
    def reason(self) -> str | None:
        """How the turn ended, as in `End`; None while it runs."""
        return self.end.reason if self.end else None

    @property
    def model(self) -> str | None:
        """The model that was asked; None while the turn runs."""
        return self.end.model if self.end else None

    @property
    def usage(self) -> Usage | None:
        """The provider's count of tokens; None while the turn runs, and where it gave none."""
        return self.end.usage if self.end else None

    @property
    def timing(self) -> Timing | None:
        """How long the turn took, in seconds, as in `End`; None while it runs."""
        return self.end.timing if self.end else None

    @property
    def check(self) -> Check | None:
        """The proof of the answer, as in `End`; None while the turn runs."""
        return self.end.check if self.end else None

    @property
    def error(self) -> Failure | None:
        """Where `reason` is `error`: what went wrong."""
        return self.end.error if self.end else None

    @property
    def answer(self) -> str:
        """The answer's text so far; only its beginning where `whole` is False."""
        return str(self.answer_buffer)

    @property
    def thinking(self) -> str:
        """The reasoning that the model shows, so far; empty where it shows none. It is no part of the answer."""
        return str(self.thinking_buffer)

    def read_thinking(self, position: int) -> str:
        """Read the thinking that came before the answer, without its beginning.

        Args:
            position: How many code points of it to leave out.

        Returns:
            The rest of what is here so far; empty where that is nothing.
        """
        text = self.thinking_buffer.read_after(position)
        end = self.thinking_before_answer  # what the model thought later is in the same buffer
        return text if end is None else text[: max(0, end - position)]

    @property
    def proven(self) -> bool:
        """Whether `answer` matches the proof in `end`. True while there is nothing to compare: no end, or not whole."""
        return self.end is None or not self.whole or self.end.proves(self.answer)

    @property
    def size(self) -> int:
        """What the turn counts for against the view's `keep`, in code points."""
        return TURN_OVERHEAD_CODE_POINTS + len(self.question) + self.thinking_buffer.size + self.answer_buffer.size

    def snapshot(self) -> Turn:
        """Copy the turn as it is now.

        Returns:
            A turn that doesn't change when more is received, and may be read in any thread.
        """
        return replace(self, answer_buffer=TextBuffer(self.answer), thinking_buffer=TextBuffer(self.thinking))

    def set_end(self, end: End | None) -> None:
        """Set how the turn ended, and how long it thought.

        Args:
            end: None where it still runs.
        """
        self.end = end
        if self.begins_with_thinking and end and (timing := end.timing):
            answered = timing.total if timing.first_token is None else timing.first_token
            self.thinking_time = answered - timing.queued

    def measure_thinking(self, event: Thinking | Token, *, live: bool) -> None:
        """Measure the thinking before the answer, from its first slice to the answer's first.

        Args:
            event: A slice that is not appended yet.
            live: Whether it has just come from the model; False where it is read again.
        """
        if self.thinking_before_answer is not None:
            return
        if isinstance(event, Thinking):
            if not self.begins_with_thinking:
                self.begins_with_thinking, self.thinking_since = True, time.time() if live else None
            return
        self.thinking_before_answer = self.thinking_buffer.size
        if live and self.thinking_since is not None:
            self.thinking_time = max(0.0, time.time() - self.thinking_since)


def _last_phase(record: TurnRecord) -> Literal["waiting", "thinking", "answering"]:
    if record.steps and record.steps[-1].type == "thinking":
        return "thinking"
    return "answering" if record.answer else "waiting"


def _thinking_before_answer(steps: Sequence[Step]) -> int:
    """Return how many code points of thinking come before the first step that is the answer's text."""
    before = takewhile(lambda step: step.type != "text", steps)
    return sum(len(step.text) for step in before if step.type == "thinking")


@dataclass(slots=True)
class View:
    """The turns of one session, as far as its log was read.

    A position (`seq`) counts the log: one for each event, and for text one for each code point. Give `seq` and `log`
    of one view to `connect(…, after=, log=)`, and the next one goes on from there.

    Attributes:
        session: The session's id; None before the first connection of a new session.
        seq: The log's position up to which it was read; None before anything was.
        log: The history in which `seq` is a position; None where it is not known.
        keep: How many code points to hold: beyond it the oldest turns are dropped, but none that runs. None: no limit.
        last_ready: The server's last `ready` frame; None before the first connection. Read it as `ready`.
        title: What the conversation is called; None where it has no title, and before the first connection.
        earlier: Whether the log has turns before the oldest one here; `Chat.history` fetches them.
        all_turns: The turns by their ids, in the log's order, replaced ones too. `turns` leaves those out.
        size: What all turns count for, in code points.
    """

    session: str | None = None
    seq: int | None = None
    log: str | None = None
    keep: int | None = None
    last_ready: Ready | None = None
    title: str | None = None
    earlier: bool = False
    all_turns: dict[str, Turn] = field(default_factory=dict[str, Turn])
    size: int = 0

    @property
    def ready(self) -> Ready:
        """The server's last `ready` frame: among others the position `from_` that events follow from.

        Raises:
            Closed: Nothing was read yet, as the conversation was not entered.
        """
        if self.last_ready is None:
            raise Closed(NOT_ENTERED)
        return self.last_ready

    @property
    def model(self) -> str:
        """The model that answers where a question names none. Raises as `ready` does."""
        return self.ready.model

    @property
    def models(self) -> tuple[str, ...]:
        """The models that a question may name, that one first; empty where an older server does not say. As `ready`."""
        return self.ready.models

    @property
    def limits(self) -> Limits:
        """What the server accepts: `frame_bytes`, `question_chars`, `waiting_turns`. Raises as `ready` does."""
        return self.ready.limits

    @property
    def user(self) -> str | None:
        """The user whose credential the connection has; None for an anonymous one, and before the first."""
        return self.last_ready.user if self.last_ready else None

    @property
    def head(self) -> int:
        """The log's last position when the connection began. Raises as `ready` does."""
        return self.ready.seq

    @property
    @deprecated("`View.has_earlier` is called `earlier`, as in JavaScript", category=None)
    def has_earlier(self) -> bool:
        """The name that `earlier` had before."""
        return self.earlier

    @property
    def turns(self) -> list[Turn]:
        """The turns to show, oldest first: without those that a retry or an edit replaced, and what came after them."""
        shown: list[Turn] = []
        for turn in self.all_turns.values():
            if turn.replaces is not None:
                replaced = self.all_turns.get(turn.replaces)  # None: older than all turns here, which are all replaced
                first = replaced.from_ if replaced else -1
                while shown and shown[-1].from_ >= first:  # each turn once at most
                    shown.pop()
            shown.append(turn)
        return shown

    def snapshot(self) -> View:
        """Copy the view as it is now.

        Returns:
            A view that doesn't change when more is received, and may be read in any thread.
        """
        return replace(self, all_turns={name: turn.snapshot() for name, turn in self.all_turns.items()})

    def continues(self, ready: Ready) -> bool:
        """Compare the history that the server has with the one that was read so far.

        Args:
            ready: A `ready` frame, as the server sends it when a session is attached.

        Returns:
            Whether `ready` is about this session and the same history, so that `seq` is a position in it. A history
            without a name counts as the same: servers of early versions give none.
        """
        return ready.session == self.session and (not (ready.log and self.log) or ready.log == self.log)

    def fold(self, frame: ServerFrame | UnknownEvent) -> None:
        """Apply one more frame.

        Events that were applied already, and frames of other sessions, change nothing. An event of an unknown type
        shows nothing, but `seq` moves past it.

        Args:
            frame: A frame as `askbot_ws.dialects.askbot.frames.decode_server` returns it.

        Raises:
            askbot_ws.client.view.Gap: Events between `seq` and this one are missing. Nothing has changed.
        """
        match frame:
            case Ready():
                self._apply_ready(frame)
            case History() if frame.session == self.session:
                self._apply_history(frame)
            case Question() | Token() | Thinking() | Done() if frame.session == self.session:
                self._apply_event(frame)
            case Title() if frame.session == self.session:
                self._apply_title(frame)
            case UnknownEvent() if frame.session == self.session:
                self.seq = max(self.seq or 0, frame.seq)
            case _:
                pass

    def _apply_ready(self, ready: Ready) -> None:
        if not self.continues(ready) or ready.from_ != self.seq:
            self.session, self.seq, self.log = ready.session, ready.from_, None
            self.earlier = ready.from_ > 0
            self.all_turns.clear()
            self.size = 0
        self.note_ready(ready)

    def note_ready(self, ready: Ready) -> None:
        """Take what a `ready` frame of the same history says, without moving.

        Args:
            ready: The frame.
        """
        self.last_ready, self.log, self.title = ready, ready.log or self.log, ready.title or None

    def _apply_title(self, event: Title) -> None:
        seen = self.seq or 0
        if event.seq <= seen:
            return
        if event.start > seen:
            raise Gap
        self.seq = event.seq
        if self.last_ready is None or event.seq > self.last_ready.seq:  # else `ready` has this one, or a newer one
            self.title = event.text or None

    def _apply_event(self, event: Question | Token | Thinking | Done) -> None:
        seen = self.seq or 0
        if event.seq <= seen:
            return
        if event.start > seen:
            raise Gap
        self.seq = event.seq
        turn = self.all_turns.get(event.turn)
        if turn is None:
            if isinstance(event, Question):
                self._add_turn(Turn.from_record(event))
            return  # else it belongs to a turn before the oldest one here
        if event.seq > turn.seq:
            self._apply_to_turn(turn, event, seen=seen)

    def _add_turn(self, turn: Turn) -> None:
        self.all_turns[turn.turn] = turn
        self.size += turn.size
        self._evict_for(turn, 0)

    def _apply_to_turn(self, turn: Turn, event: Question | Token | Thinking | Done, *, seen: int) -> None:
        match event:
            case Token() | Thinking():
                self._append_slice(turn, event, seen=seen)
            case Done():
                turn.set_end(End.from_record(event))
            case Question():
                return
        turn.seq = event.seq

    def _append_slice(self, turn: Turn, event: Token | Thinking, *, seen: int) -> None:
        turn.measure_thinking(event, live=self.last_ready is not None and event.seq > self.last_ready.seq)
        turn.phase = "answering" if isinstance(event, Token) else "thinking"
        text = event.text[max(0, seen - event.start, turn.seq - event.start) :]
        turn.whole = turn.whole and self._evict_for(turn, len(text))
        if turn.whole:
            (turn.answer_buffer if isinstance(event, Token) else turn.thinking_buffer).append(text)
            self.size += len(text)

    def _evict_for(self, turn: Turn, code_points: int) -> bool:
        """Drop the oldest turns that have ended, except `turn`, until there is room; returns False where none is."""
        if self.keep is None:
            return True
        while self.size + code_points > self.keep:
            oldest = next((other for other in self.all_turns.values() if other.end and other is not turn), None)
            if oldest is None:
                return False
            self.size -= oldest.size
            del self.all_turns[oldest.turn]
            self.earlier = True
        return True

    def _apply_history(self, history: History) -> None:
        """Add older turns; one that is here is replaced unless more of it is known here, which repairs wrong text."""
        oldest = next(iter(self.all_turns.values()), None)
        for record in history.turns:
            current = self.all_turns.get(record.turn)
            if current is None or current.seq <= record.seq:
                self.all_turns[record.turn] = Turn.from_record(record)
        self.all_turns = dict(sorted(self.all_turns.items(), key=lambda item: item[1].from_))
        self.size = sum(turn.size for turn in self.all_turns.values())
        if not history.turns or oldest is None or history.turns[0].from_ <= oldest.from_:
            self.earlier = history.more
