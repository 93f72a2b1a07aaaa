"""Rendered: Markdown on a terminal, while it grows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from .markdown import Renderer, ended
from .output import note, plain
from .screen import size
from .tail import Tail

PAUSE = 0.08  # between two looks of an answer that grows: what comes meanwhile is one write
SHARE = 8  # a pause lasts so many times what the drawing before it took


def write(out: str) -> None:
    """All at once, or it flickers. What is wider than we believe must not fold: the lines would be miscounted."""
    if out:
        sys.stdout.write(out if out.isascii() else f"\x1b[?7l{out}\x1b[?7h")
        sys.stdout.flush()


class Rendered:
    """A screen for Markdown.

    Blocks that have ended are written once and scroll away; only the last one is rewritten, and of it only what has
    changed. So an answer costs little more than its bytes, and the scrollback holds it once.
    """

    def __init__(
        self,
        *,
        out: Callable[[str], None] = write,
        tell: Callable[[str], None] = note,
        size: Callable[[], tuple[int, int]] = size,
    ) -> None:
        """`size` is the terminal's columns and rows."""
        self._out = out
        self._tell = tell
        self._size = size
        self._renderer = Renderer()
        self._tail = Tail()
        self._source = ""  # what has not ended yet
        self._fresh = False  # text has come that is not drawn
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """The next piece: the first is drawn at once, the others together with what comes in the next moment."""
        self._source += plain(text)
        self._fresh = True
        if self._timer is None:
            self.draw()

    def end(self) -> None:
        """Draw what is not drawn; a free line shows where the answer ends."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._source:
            columns, rows = self._size()
            lines = [*self._renderer.lines(self._source, width=_width(columns)), ""]
            self._out(self._tail.become([*lines, ""], columns=columns, rows=rows, settled=len(lines)))
        self._source, self._fresh = "", False

    def note(self, text: str) -> None:
        """A word aside, above what still grows."""
        columns, rows = self._size()
        self._out(self._tail.erase(columns=columns, rows=rows))
        self._tell(text)
        if self._source:
            self.draw()

    def draw(self) -> None:
        """Show what has come so far."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        columns, rows = self._size()
        width, cut = _width(columns), ended(self._source)
        settled = [*self._renderer.lines(self._source[:cut], width=width), ""] if cut else []
        self._source = self._source[cut:]
        growing = self._renderer.lines(self._source, width=width)
        self._out(self._tail.become([*settled, *growing], columns=columns, rows=rows, settled=len(settled)))
        self._fresh = False
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_later(max(PAUSE, SHARE * (loop.time() - begun)), self._again)

    def _again(self) -> None:
        self._timer = None
        if self._fresh:
            self.draw()


def _width(columns: int) -> int:
    """For a line that leaves the cursor room behind it: in the last column, terminals differ."""
    return max(1, columns - 1)
