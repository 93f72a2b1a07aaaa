"""Typed line: what keys do to a line, and what a terminal is told to show of them."""

from __future__ import annotations

import pyte
import pytest

from askbot_ws.terminal.typed_line import EditingKeys, TypedLine

PROMPT = "> "


def line_on(columns: int) -> tuple[TypedLine, pyte.Screen, pyte.Stream]:
    screen = pyte.Screen(columns, 10)
    stream = pyte.Stream(screen)
    stream.feed(PROMPT)
    return TypedLine(PROMPT, EditingKeys(), columns=lambda: columns), screen, stream


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("Why?\n", "Why?"),
        ("Whx\x7fy?\n", "Why?"),
        ("\x7f\x08a\n", "a"),
        ("한국\x7f어\n", "한어"),
        ("e\u0301\x7fa\n", "a"),  # an accent of its own goes with its letter
        ("a\tb\x7f\x7fc\n", "ac"),
        ("all\x15new\n", "new"),
        ("one two \x17three\n", "one three"),
        ("one\x17two\n", "two"),
        ("not ended\x04", "not ended"),
        ("\x1b[A\n", "\x1b[A"),
        ("\udcff\n", "\udcff"),
        ("x" * 5000 + "\n", "x" * 5000),
    ],
)
def test_keys_edit_a_line(keys: str, text: str) -> None:
    """As they would where the terminal edits it, but of any length."""
    line, _, _ = line_on(80)
    assert line.feed(keys) == ""
    assert (line.ended, line.at_end, line.text) == (True, False, text)


@pytest.mark.parametrize(
    "keys",
    ["Whx\x7fy?", "한국\x7f어", "e\u0301\x7fa", "a\tb\x7f\x7fc", "all\x15new", "one two \x17three", "\x1b[A\x7fB"],
)
def test_the_terminal_shows_the_line_as_it_is(keys: str) -> None:
    """What was erased stands there no more, wide characters and tabs too."""
    line, screen, stream = line_on(40)
    line.feed(keys)
    stream.feed(line.take_echo())
    again, fresh, other = line_on(40)
    again.feed(line.text)
    other.feed(again.take_echo())

    assert screen.display[0].rstrip() == fresh.display[0].rstrip()
    assert screen.cursor.x == fresh.cursor.x
    assert line.take_echo() == ""


def test_a_line_over_several_rows_is_shown_anew_once_all_of_it_is_erased() -> None:
    """A cursor that can't move up can't erase them."""
    line, screen, stream = line_on(10)
    line.feed("x" * 25 + "\x15new")
    stream.feed(line.take_echo().replace("\n", "\r\n"))  # as a terminal's driver does

    assert screen.display[screen.cursor.y].rstrip() == "> new"


def test_the_end_of_the_input_is_a_key_on_an_empty_line() -> None:
    """Elsewhere it ends the line; what comes after a line's end is left."""
    line, _, _ = line_on(80)
    assert line.feed("a\x7f\x04more") == "more"
    assert (line.ended, line.at_end) == (True, True)
    line, _, _ = line_on(80)
    assert line.feed("One?\nTwo?\n") == "Two?\n"
    assert line.shown() == "> One?"
