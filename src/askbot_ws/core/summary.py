"""Summary: what a list of sessions shows of one session. Questions, ends and titles change it; text does not."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..events import Done, Event, Question, Title
from .text import one_line

MAX_QUESTION_CHARS = 200  # of the first question, in code points


@dataclass(slots=True)
class LogSummary:
    """A session's summary as of some position of its log.

    Attributes:
        user: Who made the session; None: an anonymous client did.
        title: What it is called; empty: it has no title.
        question: The beginning of its first question, in one line; empty: it has no question yet.
        created: When it was made, in seconds since 1970; 0: unknown until its first question.
        updated: When its newest `question` or `done` was logged, in seconds since 1970.
        turns: How many questions it has.
        asked: The turns that have not ended, with the times of their questions in seconds since 1970.
    """

    user: str | None = None
    title: str = ""
    question: str = ""
    created: float = 0.0
    updated: float = 0.0
    turns: int = 0
    asked: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, event: Event) -> None:
        """Add the log's next event."""
        match event:
            case Question():
                if not self.turns:
                    self.question = first_line(event)
                    self.created = self.created or event.created
                self.turns += 1
                self.asked[event.turn] = event.created
                self.updated = max(self.updated, self.created, event.created)
            case Done():
                asked = self.asked.pop(event.turn, None)
                if asked is not None:
                    self.updated = max(self.updated, asked + event.timing.total)
            case Title():
                self.title = event.text
            case _:
                pass


def first_line(question: Question) -> str:
    """The beginning of a question, in one line of at most `MAX_QUESTION_CHARS`."""
    return one_line(question.text, limit=MAX_QUESTION_CHARS)
