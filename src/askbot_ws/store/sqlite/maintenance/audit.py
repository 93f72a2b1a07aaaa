"""Audit: whether one session's log keeps what a log promises. It is given the events; it reads nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ....events import Check, Done, Event, Question, Token, decode_event

COLUMNS = "seq, turn, type, ask, body"


@dataclass(slots=True)
class Answer:
    """What has been said in a turn so far, as its proof is made of it."""

    chars: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, text: str) -> None:
        """Take the next slice."""
        self.chars += len(text)
        self.sha256.update(text.encode())

    def check(self) -> Check:
        """Its proof."""
        return Check(chars=self.chars, sha256=self.sha256.hexdigest())


@dataclass(slots=True)
class Audit:
    """A session's log up to `head`: which turns it has, and what was said in those that have no end."""

    head: int = 0
    open: dict[str, Answer] = field(default_factory=dict[str, Answer])
    ended: set[str] = field(default_factory=set[str])

    def hole(self, event: Event) -> str | None:
        """Why this can't be the next event; None: it can."""
        if event.start != self.head:
            return f"after {self.head} comes {event.start}"
        match event:
            case Question() if event.turn in self.open or event.turn in self.ended:
                return f"turn {event.turn} begins twice"
            case Token() | Done() if event.turn in self.ended:
                return f"turn {event.turn} goes on after its end"
            case Token() | Done() if event.turn not in self.open:
                return f"turn {event.turn} has no question"
            case _:
                return None

    def take(self, event: Event) -> Check | None:
        """Take the next event. Returns the true proof where it is an end with another: the text is not what it was."""
        self.head = event.seq
        match event:
            case Question():
                self.open[event.turn] = Answer()
            case Token():
                self.open[event.turn].add(event.text)
            case Done():
                self.ended.add(event.turn)
                true = self.open.pop(event.turn).check()
                return true if true != event.check else None
        return None


def event_of(session: str, row: Sequence[Any]) -> Event | None:
    """The event in a row of `COLUMNS`; None where the row does not hold one, whatever it is."""
    seq, turn, kind, ask, body = row
    try:
        if kind == "token":
            body = json.dumps({"type": kind, "session": session, "turn": turn, "seq": seq, "text": body})
        event = decode_event(body)
    except (TypeError, ValidationError):
        return None
    id = event.id if isinstance(event, Question) else None
    same = (event.session, event.seq, event.turn, event.type, id) == (session, seq, turn, kind, ask)
    return event if same else None
