"""Markdown screen: answers while they grow, and lines that are rewritten in place with few bytes."""

from __future__ import annotations

import asyncio

import pyte.modes
from hypothesis import given, settings
from hypothesis import strategies as st

from askbot_ws.terminal.markdown_screen import LiveLines, MarkdownScreen

from .test_markdown import PIECES, seen
from .tty import Emulator

ODD = {"\u200d", "\u202e"}  # characters without a width, of which an emulator makes something else
MORE = ["한국어 답변 ", "word " * 20, "- a\n- b\n"]
pieces = st.lists(st.sampled_from([piece for piece in [*PIECES, *MORE] if piece not in ODD]), min_size=1, max_size=25)


class AnswerTerminal(Emulator):
    """A terminal with answers on it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.screen.set_mode(pyte.modes.LNM)  # as a terminal's driver makes it
        self.answers = MarkdownScreen(
            write=self.write, print_notice=lambda text: self.write(f"{text}\n"), size=lambda: (columns, rows)
        )

    def write(self, text: str) -> None:
        self.feed(text.encode())

    def shown(self) -> list[str]:
        """What can be read, line by line."""
        return [line for line in self.lines if line]


def readable(source: str, *, width: int) -> list[str]:
    return [line.rstrip() for line in seen(source, width=width) if line.strip()]


@settings(deadline=None)
@given(pieces, st.integers(10, 50))
def test_what_is_shown_in_the_end_is_the_whole_rendered_at_once(answer: list[str], columns: int) -> None:
    """In whatever pieces it came, and whenever it was drawn: each line once, none of those that were but guessed."""

    async def show() -> AnswerTerminal:
        screen = AnswerTerminal(columns, 500)
        for piece in answer:
            screen.answers.write(piece)
            screen.answers.draw()
        screen.answers.end_answer()
        return screen

    assert asyncio.run(show()).shown() == readable("".join(answer), width=columns - 1)


def test_a_notice_does_not_split_an_answer() -> None:
    """It is shown above what still grows."""

    async def show() -> AnswerTerminal:
        screen = AnswerTerminal(20, 10)
        screen.answers.print_notice("before")
        screen.answers.write("One\n\ntwo\nth")
        screen.answers.print_notice("(lost)")
        screen.answers.write("ree")
        screen.answers.end_answer()
        screen.answers.print_notice("after")
        return screen

    assert asyncio.run(show()).text == "before\nOne\n\n(lost)\ntwo\nthree\n\nafter"


def test_a_line_of_progress_is_replaced_in_its_place() -> None:
    """Notices stand above it, and the answer follows it."""

    async def show() -> AnswerTerminal:
        screen = AnswerTerminal(20, 10)
        screen.answers.show_progress("thinking…")
        screen.answers.print_notice("(lost)")
        screen.answers.show_progress("thinking… 12 s")
        assert screen.text == "(lost)\nthinking… 12 s"
        screen.answers.end_progress("thought for 12 s, and more than fits")
        screen.answers.write("One")
        screen.answers.end_answer()
        return screen

    assert asyncio.run(show()).text == "(lost)\nthought for 12 s, …\nOne"


def test_pieces_that_come_in_one_moment_are_drawn_together() -> None:
    """The first at once: somebody waits for it."""
    written = list[str]()

    async def show() -> None:
        answers = MarkdownScreen(write=written.append, print_notice=written.append, size=lambda: (80, 24))
        for piece in ("One", " two", " three"):
            answers.write(piece)
        while len(written) < 2:  # noqa: ASYNC110 - the next drawing waits for its timer
            await asyncio.sleep(0.01)
        answers.end_answer()

    asyncio.run(show())

    assert written == ["One", " two three", "\n\n"]


# --- lines that change in place --------------------------------------------------------------------------------------

COLUMNS, ROWS = 20, 6
line = st.text("ab ", max_size=8).map(str.rstrip)


class LinesTerminal(Emulator):
    """A terminal that shows what `LiveLines` writes."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, ROWS)
        self.screen.set_mode(pyte.modes.LNM)  # as a terminal's driver makes it
        self.live = LiveLines()

    def update(self, *lines: str, finished: int = 0) -> str:
        """Show these lines. Returns what was written."""
        out = self.live.update(lines, columns=self.screen.columns, rows=ROWS, finished=finished)
        self.feed(out.encode())
        return out


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=ROWS), max_size=10))
def test_lines_that_fit_the_screen_are_shown_as_given(updates: list[list[str]]) -> None:
    """Longer, shorter, changed anywhere."""
    screen = LinesTerminal()
    for lines in updates:
        screen.update(*lines)
        assert screen.text == "\n".join(lines).rstrip()


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=3 * ROWS), max_size=6), st.lists(line, min_size=1, max_size=20))
def test_finished_lines_are_complete_whatever_scrolled_away(updates: list[list[str]], last: list[str]) -> None:
    """Lines that have left the screen can't be changed; then all are written once more, at the end."""
    screen = LinesTerminal()
    for lines in updates:
        screen.update(*lines)
    screen.update(*last, "end", finished=len(last))

    assert "\n".join(screen.lines).rstrip().endswith("\n".join([*last, "end"]))


@settings(deadline=None)
@given(st.lists(st.lists(line, min_size=1, max_size=10), min_size=1, max_size=6))
def test_what_grows_is_written_once(blocks: list[list[str]]) -> None:
    """Line by line and block by block, far beyond the screen: the scrollback holds each line once."""
    screen, written = LinesTerminal(), list[str]()
    for block in blocks:
        for end in range(1, len(block) + 1):
            screen.update(*block[:end])
        screen.update(*block, "", finished=len(block))
        written += block

    assert screen.text == "\n".join(written).rstrip()


def test_lines_that_are_shown_are_not_written_again() -> None:
    """More text costs that text; a changed line costs the lines from there on."""
    screen = LinesTerminal()

    assert screen.update("one", "tw") == "one\ntw"
    assert screen.update("one", "two") == "o"
    assert screen.update("one", "two", "three") == "\nthree"
    assert screen.update("one", "two", "three") == ""
    assert screen.update("one", "TWO", "three") == "\x1b[1A\r\x1b[JTWO\nthree"


def test_another_width_rewrites_all_lines() -> None:
    """A terminal wraps what is shown, so where they are is counted again too."""
    screen = LinesTerminal()
    screen.update("first", finished=1)
    screen.update("a long line here", "end")
    screen.screen.resize(ROWS, 10)
    out = screen.update("a long", "line here", "end")

    assert out == "\x1b[2A\r\x1b[Ja long\nline here\nend"
