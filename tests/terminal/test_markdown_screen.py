"""Answers on a screen, while they grow."""

from __future__ import annotations

import asyncio

import pyte.modes
from hypothesis import given, settings
from hypothesis import strategies as st

from askbot_ws.terminal.markdown_screen import Rendered

from .test_markdown import PIECES, seen
from .tty import Emulator

ODD = {"\u200d", "\u202e"}  # characters without a width, of which an emulator makes something else
MORE = ["한국어 답변 ", "word " * 20, "- a\n- b\n"]
pieces = st.lists(st.sampled_from([piece for piece in [*PIECES, *MORE] if piece not in ODD]), min_size=1, max_size=25)


class Screen(Emulator):
    """A terminal with answers on it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.screen.set_mode(pyte.modes.LNM)  # as a terminal's driver makes it
        self.rendered = Rendered(
            out=self.write, tell=lambda text: self.write(f"{text}\n"), size=lambda: (columns, rows)
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
def test_what_stands_in_the_end_is_the_whole_rendered_at_once(answer: list[str], columns: int) -> None:
    """In whatever pieces it came, and whenever it was drawn: each line once, none of those that were but guessed."""

    async def show() -> Screen:
        screen = Screen(columns, 500)
        for piece in answer:
            screen.rendered.add(piece)
            screen.rendered.draw()
        screen.rendered.end()
        return screen

    assert asyncio.run(show()).shown() == readable("".join(answer), width=columns - 1)


def test_a_word_aside_does_not_tear_an_answer_apart() -> None:
    """It stands above what still grows."""

    async def show() -> Screen:
        screen = Screen(20, 10)
        screen.rendered.note("before")
        screen.rendered.add("One\n\ntwo\nth")
        screen.rendered.note("(lost)")
        screen.rendered.add("ree")
        screen.rendered.end()
        screen.rendered.note("after")
        return screen

    assert asyncio.run(show()).text == "before\nOne\n\n(lost)\ntwo\nthree\n\nafter"


def test_pieces_that_come_in_one_moment_are_drawn_together() -> None:
    """The first at once: somebody waits for it."""
    written = list[str]()

    async def show() -> None:
        rendered = Rendered(out=written.append, tell=written.append, size=lambda: (80, 24))
        for piece in ("One", " two", " three"):
            rendered.add(piece)
        while len(written) < 2:  # noqa: ASYNC110 - the next look is taken when its time has come
            await asyncio.sleep(0.01)
        rendered.end()

    asyncio.run(show())

    assert written == ["One", " two three", "\n\n"]
