"""Lines that are rewritten in place: what stands on the screen is what was meant, for few bytes."""

from __future__ import annotations

import pyte.modes
from hypothesis import given, settings
from hypothesis import strategies as st

from askbot_ws.terminal.tail import Tail

from .tty import Emulator

COLUMNS, ROWS = 20, 6
line = st.text("ab ", max_size=8).map(str.rstrip)


class Screen(Emulator):
    """A terminal that shows what a tail writes."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, ROWS)
        self.screen.set_mode(pyte.modes.LNM)  # as a terminal's driver makes it
        self.tail = Tail()
        self.sent = 0

    def become(self, *lines: str, settled: int = 0) -> str:
        """Let these lines stand there."""
        out = self.tail.become(lines, columns=self.screen.columns, rows=ROWS, settled=settled)
        self.feed(out.encode())
        return out


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=ROWS), max_size=10))
def test_lines_that_fit_the_screen_stand_there_as_meant(looks: list[list[str]]) -> None:
    """Longer, shorter, changed anywhere."""
    screen = Screen()
    for look in looks:
        screen.become(*look)
        assert screen.text == "\n".join(look).rstrip()


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=3 * ROWS), max_size=6), st.lists(line, min_size=1, max_size=20))
def test_what_settles_is_complete_whatever_scrolled_away(looks: list[list[str]], last: list[str]) -> None:
    """Lines that have left the screen can't be changed; then all are written once more, at the end."""
    screen = Screen()
    for look in looks:
        screen.become(*look)
    screen.become(*last, "end", settled=len(last))

    assert "\n".join(screen.lines).rstrip().endswith("\n".join([*last, "end"]))


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=10), min_size=1, max_size=6))
def test_what_grows_is_written_once(blocks: list[list[str]]) -> None:
    """Line by line and block by block, far beyond the screen: the scrollback holds each line once."""
    screen, written = Screen(), list[str]()
    for block in blocks:
        for end in range(1, len(block) + 1):
            screen.become(*block[:end])
        screen.become(*block, "", settled=len(block))
        written += block

    assert screen.text == "\n".join(written).rstrip()


def test_what_stands_already_is_not_sent_again() -> None:
    """More text costs that text; a changed line costs the lines from there on."""
    screen = Screen()

    assert screen.become("one", "tw") == "one\ntw"
    assert screen.become("one", "two") == "o"
    assert screen.become("one", "two", "three") == "\nthree"
    assert screen.become("one", "two", "three") == ""
    assert screen.become("one", "TWO", "three") == "\x1b[1A\r\x1b[JTWO\nthree"


def test_another_width_writes_all_of_it_anew() -> None:
    """A terminal folds what stands there, so where it was is counted anew too."""
    screen = Screen()
    screen.become("first", settled=1)
    screen.become("a long line here", "end")
    screen.screen.resize(ROWS, 10)
    out = screen.become("a long", "line here", "end")

    assert out == "\x1b[2A\r\x1b[Ja long\nline here\nend"
