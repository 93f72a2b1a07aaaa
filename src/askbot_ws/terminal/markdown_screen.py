"""Markdown screen: answers rendered as Markdown on a terminal, while they grow."""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from .markdown import Definitions, MarkdownRenderer, finished_length
from .output import one_line, print_notice, strip_control, terminal_size

MIN_REDRAW_SECONDS = 0.08  # between two drawings of a growing answer: what comes meanwhile is one write
REDRAW_COST_FACTOR = 8  # but no less than this many times what the last drawing took
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def write_to_terminal(out: str) -> None:
    """Write all at once, or it flickers; without auto-wrap, or a wider line than expected is miscounted."""
    if out:
        sys.stdout.write(out if out.isascii() else f"\x1b[?7l{out}\x1b[?7h")
        sys.stdout.flush()


class MarkdownScreen:
    """A screen for Markdown.

    Finished blocks are written once and scroll away; only the last block is rewritten, and of it only what has
    changed. So an answer costs little more than its bytes, and the scrollback holds it once.
    """

    def __init__(
        self,
        *,
        write: Callable[[str], None] = write_to_terminal,
        print_notice: Callable[[str], None] = print_notice,
        size: Callable[[], tuple[int, int]] = terminal_size,
    ) -> None:
        """`size` returns the terminal's columns and rows."""
        self._write = write
        self._print_notice = print_notice
        self._size = size
        self._renderer = MarkdownRenderer()
        self._live = LiveLines()
        self._progress = ""  # the line before an answer that is still to be replaced
        self._unfinished = ""  # Markdown whose blocks may still change
        self._definitions: Definitions = {}  # of the answer's finished blocks
        self._dirty = False  # text has come that is not drawn
        self._timer: asyncio.TimerHandle | None = None

    def write(self, text: str) -> None:
        """Add a piece of an answer: the first is drawn at once, later ones together, every `MIN_REDRAW_SECONDS`."""
        self._unfinished += strip_control(text)
        self._dirty = True
        if self._timer is None:
            self.draw()

    def end_answer(self) -> None:
        """Draw what is not drawn, and an empty line."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._unfinished:
            columns, rows = self._size()
            lines = [*self._render(self._unfinished, _usable_width(columns), self._definitions), ""]
            self._write(self._live.update([*lines, ""], columns=columns, rows=rows, finished=len(lines)))
        self._unfinished, self._definitions, self._dirty = "", {}, False

    def show_progress(self, text: str) -> None:
        """Show a dim line that the next one replaces."""
        self._progress = text
        columns, rows = self._size()
        self._write(self._live.update([_dim(text, columns)], columns=columns, rows=rows))

    def end_progress(self, text: str) -> None:
        """Replace that line for the last time, and begin a new one."""
        self._progress = ""
        columns, rows = self._size()
        self._write(self._live.update([_dim(text, columns), ""], columns=columns, rows=rows, finished=1))

    def print_notice(self, text: str) -> None:
        """Show a notice, above the line or the block that still changes."""
        columns, rows = self._size()
        self._write(self._live.clear(columns=columns, rows=rows))
        self._print_notice(text)
        if self._progress:
            self.show_progress(self._progress)
        elif self._unfinished:
            self.draw()

    def draw(self) -> None:
        """Show what has come so far, and schedule the next drawing."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        columns, rows = self._size()
        width, cut = _usable_width(columns), finished_length(self._unfinished)
        block, self._unfinished = self._unfinished[:cut], self._unfinished[cut:]
        finished = [*self._render(block, width, self._definitions), ""] if cut else []
        growing = self._render(self._unfinished, width, {**self._definitions}, is_growing=True)
        self._write(self._live.update([*finished, *growing], columns=columns, rows=rows, finished=len(finished)))
        self._dirty = False
        if self._timer:
            self._timer.cancel()
        pause = max(MIN_REDRAW_SECONDS, REDRAW_COST_FACTOR * (loop.time() - started))
        self._timer = loop.call_later(pause, self._draw_if_dirty)

    def _render(self, source: str, width: int, definitions: Definitions, *, is_growing: bool = False) -> list[str]:
        return self._renderer.render_lines(source, width=width, definitions=definitions, is_growing=is_growing)

    def _draw_if_dirty(self) -> None:
        self._timer = None
        if self._dirty:
            self.draw()


def _dim(text: str, columns: int) -> str:
    """Return the beginning of a text, as one dim line."""
    return f"\x1b[2m{one_line(text, width=_usable_width(columns))}\x1b[0m"


def _usable_width(columns: int) -> int:
    """Leave the last column to the cursor: terminals differ in what they do there."""
    return max(1, columns - 1)


# --- lines that change in place --------------------------------------------------------------------------------------


class LiveLines:
    """The lines at the end of the screen that may still change, rewritten in place with as few bytes as possible.

    The cursor stays at the end of the last line. Lines that have scrolled off the screen can't be reached any more;
    where one of them turns out wrong, all lines are written once more when they are finished.
    """

    def __init__(self) -> None:
        self._lines = [""]  # as they are shown
        self._scrolled_off = 0  # of these, out of reach
        self._columns = 0

    def update(self, lines: Sequence[str], *, columns: int, rows: int, finished: int = 0) -> str:
        """Return what to write so that these lines are shown; the first `finished` of them never change again."""
        lines = [*lines] or [""]
        out = self._erase_after_resize(columns, rows) + self._rewrite_changed(lines)
        if self._lines[:finished] != lines[:finished]:
            out += self._rewrite_all(lines)
        self._scrolled_off = max(self._scrolled_off, len(self._lines) - rows, finished) - finished
        self._lines = self._lines[finished:] or [""]
        return out

    def clear(self, *, columns: int, rows: int) -> str:
        """Return what to write so that no lines are shown."""
        return self.update([], columns=columns, rows=rows)

    def _rewrite_changed(self, lines: list[str]) -> str:
        shown, same = self._lines, _common_prefix(self._lines, lines)
        if same == len(shown):
            out, first = "".join("\n" + line for line in lines[same:]), same
        elif same == len(shown) - 1 and len(lines) > same and lines[same].startswith(shown[same]):
            out, first = "\n".join(lines[same:])[len(shown[same]) :], same
        else:
            first = max(self._scrolled_off, min(same, len(lines) - 1))
            if first >= len(lines):
                return self._rewrite_all(lines)
            out = _erase_lines(len(shown) - first) + "\n".join(lines[first:])
        self._lines = shown[:first] + lines[first:]
        return out

    def _rewrite_all(self, lines: list[str]) -> str:
        """Write all lines, in the place of those that can be reached."""
        out = _erase_lines(len(self._lines) - self._scrolled_off) + "\n".join(lines)
        self._lines, self._scrolled_off = lines, 0
        return out

    def _erase_after_resize(self, columns: int, rows: int) -> str:
        """Erase all lines where the width has changed, as the terminal has wrapped them differently."""
        before, self._columns = self._columns, columns
        if before in {0, columns} or self._lines == [""]:
            return ""
        height = sum(max(1, math.ceil(cell_len(_STYLE.sub("", line)) / columns)) for line in self._lines)
        self._lines, self._scrolled_off = [""], 0
        return _erase_lines(min(height, rows))


def _erase_lines(count: int) -> str:
    """Move the cursor to the beginning of the last `count` lines, and clear from there on."""
    return (f"\x1b[{count - 1}A" if count > 1 else "") + "\r\x1b[J"


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines at the beginning are equal."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
