"""Recording reader: records what one session showed over many readings, and checks the promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from askbot_ws.core.log_tail import Slice, suffix_after
from askbot_ws.errors import AskbotError
from askbot_ws.events import Done, Event, LaterEvent, Question, TextSlice, Thinking, Title, Token, TurnEvent
from askbot_ws.hub import Topic


def shorten(part: Slice, seq: int) -> Slice:
    """The part of a slice up to a place."""
    return replace(part, seq=seq, text=part.text[: seq - part.start])


def points_of(event: Event) -> list[tuple[str, ...]]:
    """What an event shows at each of its places."""
    if isinstance(event, TextSlice):
        return [(event.turn, event.type, point) for point in event.text]
    if isinstance(event, TurnEvent):
        return [(event.turn, event.type)]
    return [(event.type, event.text if isinstance(event, Title) else "")]


class RecordingReader:
    """A reader that never forgets. It is a cursor too: it may leave, and reads on from where it was."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.topic: Topic | None = None  # where it reads
        self.seq = 0
        self.questions: dict[str, Question] = {}
        self.answers: dict[str, str] = {}
        self.dones: dict[str, Done] = {}
        self.title: str | None = None  # the newest one
        self.gone: str | None = None  # the code with which its reading was ended
        self._points: list[tuple[str, ...]] = []  # what was shown at each place: its turn and type, and the code point

    # --- as a reader -------------------------------------------------------------------------------------------------

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        assert len(events) == len(frames)
        self.record(events)

    def on_closed(self, error: AskbotError) -> None:
        self.gone, self.topic = error.code, None

    def record(self, events: Iterable[Event]) -> None:
        """Be shown events; those that were shown before are held against what was shown then."""
        for event in events:
            assert event.start <= self.seq, f"{self.session}: a gap: at {self.seq}, shown {event}"
            if event.seq <= self.seq:
                self.same(event)
            elif isinstance(event, TextSlice) and event.start < self.seq:
                self.same(shorten(event, self.seq))
                self._new(suffix_after(event, after=self.seq))
            else:
                self._new(event)

    def _new(self, event: Event) -> None:
        self.seq = event.seq
        match event:
            case Question():
                assert event.turn not in self.questions, f"{self.session}: a turn begins twice: {event}"
                self.questions[event.turn] = event
                self.answers[event.turn] = ""
                self._points += points_of(event)
            case Token():
                assert event.turn not in self.dones, f"{self.session}: text after the end: {event}"
                self.answers[event.turn] += event.text
                self._points += points_of(event)
            case Thinking():
                assert event.turn in self.questions, f"{self.session}: reasoning without a question: {event}"
                assert event.turn not in self.dones, f"{self.session}: reasoning after the end: {event}"
                self._points += points_of(event)
            case Done():
                assert event.turn not in self.dones, f"{self.session}: a second end: {event}"
                self.dones[event.turn] = event
                answer = self.answers[event.turn]
                proof = (len(answer), sha256(answer.encode()).hexdigest())
                assert (event.check.chars, event.check.sha256) == proof, "the answer is not what was given"
                self._points += points_of(event)
            case Title():
                assert self.questions, f"{self.session}: a title before any question: {event}"
                self.title = event.text
                self._points += points_of(event)
            case LaterEvent():
                raise AssertionError(f"this version makes no {event.type}")

    def same(self, event: Event) -> None:
        """What was shown once is the same for ever; but an end that could not be stored may have become another."""
        shown = self._points[event.start : event.seq]
        now = points_of(event)
        assert shown == now, f"{self.session}: from {event.start}, {shown[:5]} has become {now[:5]}"

    @property
    def open_turns(self) -> set[str]:
        """Turns without an end."""
        return self.questions.keys() - self.dones.keys()
