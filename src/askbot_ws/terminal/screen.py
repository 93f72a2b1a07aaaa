"""Screen: where answers and words aside go."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from .output import note, say


class Screen(Protocol):
    """What an answer is shown on."""

    def add(self, text: str) -> None:
        """The next piece of an answer."""

    def end(self) -> None:
        """The answer is over, whole or not: what follows begins on a line of its own."""

    def note(self, text: str) -> None:
        """A word aside; an answer may be under way."""


def size() -> tuple[int, int]:
    """The terminal's columns and rows; some do not know."""
    known = os.get_terminal_size(sys.stdout.fileno())
    return known.columns or 80, known.lines or 24


class Plain:
    """Text as it comes: for pipes, and for terminals that can't move their cursor."""

    def __init__(self) -> None:
        self._last = "\n"

    def add(self, text: str) -> None:
        """The next piece of an answer."""
        self._last = text[-1:] or self._last
        say(text)

    def end(self) -> None:
        """Begin a line."""
        if self._last != "\n":
            say("\n")
        self._last = "\n"

    def note(self, text: str) -> None:
        """A word aside, on a line of its own where one can see that."""
        if self._last != "\n" and sys.stdout.isatty():
            self.end()
        note(text)
