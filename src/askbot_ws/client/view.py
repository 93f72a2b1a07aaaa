"""View: what a client shows of a session, folded from the server's frames. Pure.

Every event has a place in the log, so a frame itself tells whether it is old, next or beyond a gap: that makes the
text come exactly once, over however many connections.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ..dialects.askbot.frames import History, Ready, ServerFrame, UnknownEvent
from ..events import Check, Done, Event, Failure, Options, Question, Timing, Token, TurnRecord, Usage
from .text import Text

COST = 500  # code points that a turn counts for beside its texts


class Gap(Exception):
    """Events are missing before this one: connect again, with `after` = the view's `seq`."""


@dataclass(frozen=True, slots=True)
class End:
    """How a turn ended. `reason` is one of `askbot_ws.events.Reason`, or a word of a later version of the server."""

    reason: str
    model: str | None
    usage: Usage | None
    timing: Timing | None
    check: Check | None
    error: Failure | None

    @classmethod
    def of(cls, told: Done | TurnRecord) -> End | None:
        """From the event, or from history; None while the turn runs."""
        if told.reason is None:
            return None
        return cls(told.reason, told.model, told.usage, told.timing, told.check, told.error)

    def proves(self, answer: str) -> bool:
        """Whether this is the answer that was given."""
        if self.check is None:
            return True
        return (self.check.chars, self.check.sha256) == (len(answer), hashlib.sha256(answer.encode()).hexdigest())


@dataclass(slots=True)
class Turn:
    """One question, and what is known of its answer."""

    turn: str
    id: str | None
    text: str
    replaces: str | None
    created: float
    options: Options | None
    from_: int
    seq: int  # may be ahead of the view's: history knows more than the events read so far
    said: Text = field(default_factory=Text)
    end: End | None = None
    whole: bool = True  # False: the answer is longer than the view keeps, so the rest of it is not here

    @classmethod
    def of(cls, told: Question | TurnRecord) -> Turn:
        """From the event, or from history."""
        begun = (told.turn, told.id, told.text, told.replaces, told.created, told.options)
        if isinstance(told, Question):
            return cls(*begun, from_=told.start, seq=told.seq)
        return cls(*begun, from_=told.from_, seq=told.seq, said=Text(told.answer), end=End.of(told))

    @property
    def answer(self) -> str:
        """The answer so far, as much of it as is kept."""
        return str(self.said)

    @property
    def proven(self) -> bool:
        """Whether the answer that we hold is the one that was given; what we don't hold whole can't be told."""
        return self.end is None or not self.whole or self.end.proves(self.answer)

    @property
    def size(self) -> int:
        """What it counts for."""
        return COST + len(self.text) + self.said.size


@dataclass(slots=True)
class View:
    """One session, as far as it was read. Nothing yet: the first `ready` says where the replay begins."""

    session: str | None = None
    seq: int | None = None
    log: str | None = None  # which history `seq` is a place of; None: not known
    keep: int | None = None  # code points to hold; beyond that the oldest turns go, but none that runs
    ready: Ready | None = None
    earlier: bool = False  # the log has turns before ours
    known: dict[str, Turn] = field(default_factory=dict[str, Turn])  # in the log's order, those that are hidden too
    held: int = 0

    @property
    def turns(self) -> list[Turn]:
        """The turns to show: what a retry or an edit replaces is gone, and all that came after it."""
        shown: list[Turn] = []
        for turn in self.known.values():
            if turn.replaces is not None:
                replaced = self.known.get(turn.replaces)  # None: older than all we hold, so all of it goes
                shown = [other for other in shown if replaced and other.from_ < replaced.from_]
            shown.append(turn)
        return shown

    def continues(self, ready: Ready) -> bool:
        """Whether this is the history that we have read. A server of an earlier version doesn't say which one it is."""
        return ready.session == self.session and (not (ready.log and self.log) or ready.log == self.log)

    def fold(self, frame: ServerFrame | UnknownEvent) -> None:
        """Take one more frame: old ones and those of other sessions change nothing. Raises `Gap`.

        An event of an unknown type shows nothing; what follows it comes after its place.
        """
        match frame:
            case Ready():
                self._ready(frame)
            case History() if frame.session == self.session:
                self._history(frame)
            case Question() | Token() | Done() if frame.session == self.session:
                self._event(frame)
            case UnknownEvent() if frame.session == self.session:
                self.seq = max(self.seq or 0, frame.seq)
            case _:
                pass

    def _ready(self, ready: Ready) -> None:
        if not self.continues(ready) or ready.from_ != self.seq:
            self.session, self.seq, self.log = ready.session, ready.from_, None
            self.earlier = ready.from_ > 0
            self.known.clear()
            self.held = 0
        self.ready, self.log = ready, ready.log or self.log

    def _event(self, event: Event) -> None:
        seen = self.seq or 0
        if event.seq <= seen:
            return
        if event.start > seen:
            raise Gap
        self.seq = event.seq
        turn = self.known.get(event.turn)
        if turn is None:
            if isinstance(event, Question):
                self._begin(Turn.of(event))
            return  # else a slice of a turn that began before what we hold
        if event.seq > turn.seq:
            self._advance(turn, event, seen=seen)

    def _begin(self, turn: Turn) -> None:
        self.known[turn.turn] = turn
        self.held += turn.size
        self._make_room(turn, 0)

    def _advance(self, turn: Turn, event: Event, *, seen: int) -> None:
        match event:
            case Token():
                self._add(turn, event.text[max(0, seen - event.start, turn.seq - event.start) :])
            case Done():
                turn.end = End.of(event)
            case Question():
                return
        turn.seq = event.seq

    def _add(self, turn: Turn, text: str) -> None:
        turn.whole = turn.whole and self._make_room(turn, len(text))
        if turn.whole:
            turn.said.add(text)
            self.held += len(text)

    def _make_room(self, turn: Turn, size: int) -> bool:
        """Let the oldest turns go until there is room, but this one and those that run; False where there is none."""
        if self.keep is None:
            return True
        while self.held + size > self.keep:
            oldest = next((other for other in self.known.values() if other.end and other is not turn), None)
            if oldest is None:
                return False
            self.held -= oldest.size
            del self.known[oldest.turn]
            self.earlier = True
        return True

    def _history(self, history: History) -> None:
        """Older turns come before ours; one that we hold is replaced where history knows as much: that repairs it."""
        oldest = next(iter(self.known.values()), None)
        for told in history.turns:
            held = self.known.get(told.turn)
            if held is None or held.seq <= told.seq:
                self.known[told.turn] = Turn.of(told)
        self.known = dict(sorted(self.known.items(), key=lambda item: item[1].from_))
        self.held = sum(turn.size for turn in self.known.values())
        if not history.turns or oldest is None or history.turns[0].from_ <= oldest.from_:
            self.earlier = history.more
