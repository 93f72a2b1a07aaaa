"""Tail: the lines at the end of the screen that may still change."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rich.cells import cell_len

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Tail:
    """Rewritten in place, with as few bytes as that takes: no line is sent again that stands already.

    The cursor rests at the end of the last line. What has left the screen can't be reached any more; should it have
    become wrong, the whole is written once more when it settles.
    """

    def __init__(self) -> None:
        self._lines = [""]  # as they stand
        self._gone = 0  # of these, out of reach
        self._columns = 0

    def become(self, lines: Sequence[str], *, columns: int, rows: int, settled: int = 0) -> str:
        """What to write so that these lines stand there; the first `settled` of them are done with then."""
        lines = [*lines] or [""]
        out = self._resized(columns, rows) + self._change(lines)
        if self._lines[:settled] != lines[:settled]:
            out += self._anew(lines)
        self._gone = max(self._gone, len(self._lines) - rows, settled) - settled
        self._lines = self._lines[settled:] or [""]
        return out

    def erase(self, *, columns: int, rows: int) -> str:
        """What to write so that nothing stands there."""
        return self.become([], columns=columns, rows=rows)

    def _change(self, lines: list[str]) -> str:
        stand, same = self._lines, _same(self._lines, lines)
        if same == len(stand):
            out, first = "".join("\n" + line for line in lines[same:]), same
        elif same == len(stand) - 1 and len(lines) > same and lines[same].startswith(stand[same]):
            out, first = "\n".join(lines[same:])[len(stand[same]) :], same
        else:
            first = max(self._gone, min(same, len(lines) - 1))
            if first >= len(lines):
                return self._anew(lines)
            out = _back(len(stand) - first) + "\n".join(lines[first:])
        self._lines = stand[:first] + lines[first:]
        return out

    def _anew(self, lines: list[str]) -> str:
        """All of them, in the place of those that can be reached."""
        out = _back(len(self._lines) - self._gone) + "\n".join(lines)
        self._lines, self._gone = lines, 0
        return out

    def _resized(self, columns: int, rows: int) -> str:
        """Another width folds lines anew, so they are all written again."""
        before, self._columns = self._columns, columns
        if before in {0, columns} or self._lines == [""]:
            return ""
        height = sum(max(1, math.ceil(cell_len(_STYLE.sub("", line)) / columns)) for line in self._lines)
        self._lines, self._gone = [""], 0
        return _back(min(height, rows))


def _back(height: int) -> str:
    """To the beginning of the last `height` lines, and clear from there on."""
    return (f"\x1b[{height - 1}A" if height > 1 else "") + "\r\x1b[J"


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines at the beginning are the same."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
