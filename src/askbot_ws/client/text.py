"""Text: one that grows by small pieces, at the cost of its characters."""

from __future__ import annotations

LOOSE = 64  # pieces that are kept as they came: each is an object, so many small ones cost many times their text


class Text:
    """As `+=` would make it, without copying all of it each time."""

    __slots__ = ("_loose", "_parts", "size")

    def __init__(self, text: str = "") -> None:
        self.size = len(text)
        self._parts = [text] if text else []
        self._loose = 0

    def add(self, piece: str) -> None:
        """What comes next."""
        self.size += len(piece)
        self._parts.append(piece)
        self._loose += 1
        if self._loose == LOOSE:
            self._parts[-LOOSE:] = ["".join(self._parts[-LOOSE:])]
            self._loose = 0

    def __str__(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
            self._loose = 0
        return self._parts[0] if self._parts else ""

    def take(self) -> str:
        """All of it; it is empty then."""
        text = str(self)
        self._parts.clear()
        self.size = self._loose = 0
        return text
