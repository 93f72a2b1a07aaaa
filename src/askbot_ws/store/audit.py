"""Audit: checks that a session's events form a valid log, and what a check reports. It reads nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core.summary import LogSummary
from ..events import Check, Done, Event, LaterEvent, Question, TextSlice, Thinking, Title, Token


@dataclass
class Report:
    """What a command found, as lines for people."""

    facts: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])  # what is wrong, or lost


@dataclass(slots=True)
class AnswerDigest:
    """The length and the SHA-256 of a turn's text so far, of which its proof is made."""

    chars: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, text: str) -> None:
        """Add the next slice."""
        self.chars += len(text)
        self.sha256.update(text.encode())

    def check(self) -> Check:
        """The proof of the text."""
        return Check(chars=self.chars, sha256=self.sha256.hexdigest())


@dataclass(slots=True)
class Audit:
    """The state of a session's log at `head`: which turns have ended, and the digests of those that have not."""

    head: int = 0
    open_turns: dict[str, AnswerDigest] = field(default_factory=dict[str, AnswerDigest])
    ended_turns: set[str] = field(default_factory=set[str])
    summary: LogSummary = field(default_factory=LogSummary)

    def find_fault(self, event: Event) -> str | None:
        """Why an event can't be the next one; None where it can."""
        if event.start != self.head:
            return f"after {self.head} comes {event.start}"
        match event:
            case Question() if event.turn in self.open_turns or event.turn in self.ended_turns:
                return f"turn {event.turn} begins twice"
            case TextSlice() | Done() if event.turn in self.ended_turns:
                return f"turn {event.turn} goes on after its end"
            case TextSlice() | Done() if event.turn not in self.open_turns:
                return f"turn {event.turn} has no question"
            case Title() if not self.head:
                return "it begins with a title"
            case _:
                return None

    def add(self, event: Event) -> Check | None:
        """Add the next event, of which `find_fault` found none. Returns the text's proof where a `done` has another."""
        self.head = event.seq
        self.summary.add(event)
        match event:
            case Question():
                self.open_turns[event.turn] = AnswerDigest()
            case Token():
                self.open_turns[event.turn].add(event.text)
            case Thinking():
                pass  # no part of the proof
            case Done():
                self.ended_turns.add(event.turn)
                actual = self.open_turns.pop(event.turn).check()
                return actual if actual != event.check else None
            case Title() | LaterEvent():
                pass
        return None


def describe_logs(logs: Iterable[Audit]) -> str:
    """What sessions hold, in the same words whatever keeps them."""
    audits = [*logs]
    running = sum(len(audit.open_turns) for audit in audits)
    turns = running + sum(len(audit.ended_turns) for audit in audits)
    return f"turns: {turns}, {running} of them without an end; positions: {sum(audit.head for audit in audits)}"
