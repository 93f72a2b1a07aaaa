"""Markdown on a terminal: readable, complete, and harmless whatever a model says."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from askbot_ws.terminal.markdown import Definitions, MarkdownRenderer, finished_length
from askbot_ws.terminal.output import strip_control

STYLE = re.compile(r"\x1b\[[0-9;]*m")
PIECES = [
    "word", "two words", " ", "  ", "    ", "\n", "\n\n", "# ", "- ", "1. ", "> ", "`", "```", "```py\n", "~~~", "**",
    "*", "_", "~~", "---\n", "===\n", "|", "|-|-|\n", "| a | b |\n", "[a](b)", "![a](b)", "[", "](", "<b>", "</kbd>",
    "<!--", "&#27;[2J", "&#13;", "%1b", "\x1b[2J", "\x1b]8;;x\x07", "\x9b2J", "\r", "\t", "\\", "é", "語", "🙂",
    "\u200d", "\u202e", "<http://a/%1b[2J%C2%9B1J>", "$", "$$", "$$\n", "\\[\n", "\\]\n", "\\(", "\\)", "[^1]",
    "[^1]: ", "[ ] ", "[x] ", "<br>", "http://a.b/", "www.a.b", "a@b.c", "&#10;", "  - ", "“", "”", "는",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours, but not more than most have."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def seen(source: str, *, width: int = 40) -> list[str]:
    """What can be read, without styles."""
    return [STYLE.sub("", line) for line in MarkdownRenderer().render_lines(source, width=width)]


# --- what it looks like ----------------------------------------------------------------------------------------------


def test_words_are_styled_by_their_marks() -> None:
    """SGR, as terminals have it; the marks are gone."""
    assert MarkdownRenderer().render_lines("**Yes**, *so*, `x`.", width=40) == [
        "\x1b[1mYes\x1b[0m, \x1b[3mso\x1b[0m, \x1b[36mx\x1b[0m."
    ]
    assert MarkdownRenderer().render_lines("# Why\n\nSo.", width=40) == ["\x1b[1;4mWhy\x1b[0m", "", "So."]


def test_colours_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves bold and underline."""
    monkeypatch.setenv("NO_COLOR", "1")

    assert MarkdownRenderer().render_lines("**Yes**, `x`.", width=40) == ["\x1b[1mYes\x1b[0m, x."]


def test_code_stands_between_its_fences_and_nothing_stands_before_it() -> None:
    """What is copied from the screen can be run."""
    source = "```python\ndef f():\n    return 1\n```"

    assert seen(source) == source.splitlines()
    assert "\x1b[94mreturn\x1b[0m" in "".join(MarkdownRenderer().render_lines(source, width=40))


def test_blocks_in_items_and_quotes_stand_apart_and_loose_lists_are_loose() -> None:
    """As paragraphs do; a tight list is tight."""
    assert seen("- a\n\n- b\n\n  c\n  - d") == [" • a", "", " • b", "", "   c", "    • d"]
    assert seen("> a\n>\n> b") == ["▌ a", "▌", "▌ b"]
    assert seen("9. a\n10. b") == ["  9 a", " 10 b"]


def test_tasks_have_boxes_and_footnotes_their_labels() -> None:
    """Where they are written: what has scrolled away can't be numbered."""
    assert seen("- [ ] a\n- [X] b\n\n1. [x] c") == [" ☐ a", " ☑ b", "", " 1 ☑ c"]
    assert seen("a[^n]\n\n[^n]: One.\n\n    Two.") == ["a[^n]", "", "[^n]: One.", "", "      Two."]


def test_a_definition_of_a_link_holds_for_the_rest_of_an_answer() -> None:
    """Though its block is finished; one that comes later can't change what is shown."""
    definitions: Definitions = {}
    renderer = MarkdownRenderer()
    assert renderer.render_lines("[a]: http://b", width=40, definitions=definitions) == [""]
    (shown,) = renderer.render_lines("[a]", width=40, definitions={**definitions})
    assert STYLE.sub("", shown) == "a (http://b)"


def test_a_text_of_one_kind_takes_no_time() -> None:
    """Whatever a model repeats."""
    begun = time.process_time()
    for piece in ("$a ", "\\(", "\\[\n", "$$a", "a@", "a.b+", "www.a", "http://", "[^1]", "[", "“**", "1. a\n  - b\n"):
        finished_length(piece * 4000)
        MarkdownRenderer().render_lines(piece * 4000, width=80)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("source", ["```", "```py", "```py\nx = 1", "```py\nx = 1\n", "~~~\n```\n", "    x = 1"])
def test_code_that_is_not_closed_yet_has_no_closing_fence(source: str) -> None:
    """Each further line would move it."""
    assert seen(source) == [line.removeprefix("    ") for line in source.splitlines()]


def test_lists_and_tables_are_laid_out() -> None:
    """Numbers count, columns align."""
    assert seen("1. one\n   - two\n2. three") == [" 1 one", "    • two", " 2 three"]
    header, rule, row = (line.split() for line in seen("| a | b |\n|---|---|\n| 1 | 2 |"))
    assert (header, row) == (["a", "b"], ["1", "2"])
    assert set("".join(rule)) == {"─"}


def test_lines_stay_lines_and_what_is_not_markdown_stays_as_it_is() -> None:
    """A poem; HTML, which a terminal has no use for; pictures and links, by where they are."""
    assert seen("one\ntwo") == ["one", "two"]
    assert seen("<b>x</b>\n\n<div>\ny\n</div>") == ["<b>x</b>", "", "<div>", "y", "</div>"]
    assert seen("[l](http://a) ![p](http://b)") == ["l (http://a) p (http://b)"]


def test_narrow_terminals_get_narrow_lines() -> None:
    """Words are moved to the next line, not cut."""
    assert seen("one two three four", width=9) == ["one two", "three", "four"]


# --- whatever a model says -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(texts, st.integers(1, 60))
def test_nothing_but_styles_reaches_the_terminal(source: str, width: int) -> None:
    """However it is smuggled in: raw, as an entity, in an address, in a fence's info."""
    for line in MarkdownRenderer().render_lines(source, width=width):
        shown = STYLE.sub("", line)
        assert strip_control(shown) == shown
        assert not {"\n", "\x1b", "\x07"} & {*shown}


@settings(deadline=None)
@given(texts, st.integers(20, 60))
def test_no_line_is_wider_than_asked_for(source: str, width: int) -> None:
    """Or the lines on the screen would be miscounted."""
    assert all(cell_len(line) <= width for line in seen(source, width=width))


@settings(deadline=None)
@given(st.lists(st.sampled_from([piece for piece in PIECES if "|" not in piece]), max_size=30))
def test_no_word_is_lost(pieces: list[str]) -> None:
    """Marks vanish, words don't."""
    words = [f"w{number}w" for number in range(len(pieces))]
    source = "".join(f"{piece}{word}" for piece, word in zip(pieces, words, strict=True))
    shown = "\n".join(seen(source, width=2000))

    assert [word for word in words if word not in shown] == []


@settings(deadline=None)
@given(texts, st.data())
def test_finished_blocks_do_not_change(source: str, data: st.DataObject) -> None:
    """Wherever a text is cut: its finished blocks are blocks of the whole text, so they can be written once."""
    source = strip_control(source)
    cut = finished_length(source[: data.draw(st.integers(0, len(source)))])

    assert cut <= finished_length(source + "\n\nend\n")
    alone = [*seen(source[:cut], width=60), "", *seen(source[cut:], width=60)]
    if cut and source[cut:].strip():
        assert [line for line in alone if line] == [line for line in seen(source, width=60) if line]
