"""Readers: those who read the answers of one session, each from a place of its own."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from .text_stream import Pieces


class Readers:
    """Held weakly: whoever leaves a loop lets go of its pieces, and that is how it is known."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: list[weakref.ref[Pieces]] = []

    def __iter__(self) -> Iterator[Pieces]:
        for reference in self._references:
            if pieces := reference():
                yield pieces

    def add(self, pieces: Pieces) -> None:
        """One more."""
        self._references = [reference for reference in self._references if reference()]
        self._references.append(weakref.ref(pieces))

    def remove(self, pieces: Pieces) -> None:
        """One less."""
        self._references = [reference for reference in self._references if reference() not in (None, pieces)]

    @property
    def stuck(self) -> bool:
        """Whether somebody has no room, and nobody waits for more."""
        return any(pieces.full for pieces in self) and not any(pieces.hungry for pieces in self)

    def behind(self, place: int) -> bool:
        """Whether somebody waits for what lies before this place."""
        return any(pieces.hungry and pieces.at < place for pieces in self)

    def earliest(self, place: int) -> int:
        """This place, or an earlier one that somebody wants to read on from."""
        return min([place, *(pieces.at for pieces in self if pieces.wants)])
