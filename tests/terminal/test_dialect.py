"""Dialect: a terminal reads an answer as the page does, whose HTML each case has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TypedDict

import pytest

from askbot_ws.terminal.markdown import MarkdownRenderer

ROOT = Path(__file__).parents[2]
STYLE = re.compile(r"\x1b\[([0-9;]*)m")
NAMES = {"1": "bold", "3": "italic", "4": "underline", "9": "strike", "36": "code"}
TAGS = {"strong": "bold", "em": "italic", "del": "strike", "code": "code", "a": "underline", "th": "bold"}
BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "ul", "ol", "li", "blockquote", "table", "tr", "hr"}
ANY = frozenset({"any"})  # of code that is coloured

Line = list[tuple[str, frozenset[str]]]
"""Characters, without spaces, and how each is shown."""


class Case(TypedDict):
    """A text, and what a page makes of it."""

    name: str
    markdown: str
    html: str


CASES: list[Case] = json.loads((ROOT / "tests/dialect/cases.json").read_text("utf-8"))


class Page(HTMLParser):
    """The lines that HTML is read as: bullets, numbers and bars are marks at their beginning."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[Line] = [[]]
        self._open = list[tuple[str, dict[str, str | None]]]()
        self._numbers = list[int]()
        self._mark = ""
        self._link = ""  # the text of the one that is open
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line with a block; count items."""
        given = dict(attrs)
        if tag in BLOCKS or tag == "br":
            self._begin_line()
        match tag:
            case "hr":
                self.lines[-1] = [("-", frozenset[str]())]
                self._begin_line()
            case "ol" | "ul":
                start = 0 if tag == "ul" or given.get("class") == "footnotes" else int(given.get("start") or 1)
                self._numbers.append(start)
            case "li":
                is_list = self._numbers[-1] == 0
                is_task, in_notes = given.get("class") == "task", self._is_in("footnotes")
                self._mark = "" if is_task or in_notes else "•" if is_list else str(self._numbers[-1])
                self._numbers[-1] += 0 if is_list else 1
            case "a":
                self._link = ""
            case _:
                pass
        if tag not in {"br", "hr"}:
            self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        """End a block's line; write out where a link leads."""
        closed, given = self._open.pop()
        assert closed == tag
        address = given.get("href") or ""
        if tag == "a" and self._link not in {address, address[len("mailto:") :], address[len("http://") :]}:
            self._write(f"({address})")
        if tag in {"ol", "ul"}:
            self._numbers.pop()
        if tag in BLOCKS:
            self._begin_line()

    def handle_data(self, data: str) -> None:
        """Add text with the styles of all that is open."""
        tags = {tag for tag, _ in self._open}
        styles = frozenset(style for tag, style in TAGS.items() if tag in tags)
        if tags & {"h1", "h2", "h3", "h4", "h5", "h6"}:
            styles |= {"bold", "underline"} if "h1" in tags else {"bold"}
        if "pre" in tags and not self._is_in("math"):
            styles = ANY
        if "a" in tags:
            self._link += data
        for number, part in enumerate(data.split("\n") if "pre" in tags else [data]):
            if number:
                self._begin_line()
            self._write(part, styles)

    def _is_in(self, name: str) -> bool:
        return any(given.get("class") == name for _, given in self._open)

    def _begin_line(self) -> None:
        if self.lines[-1]:
            self.lines.append([])

    def _write(self, text: str, styles: frozenset[str] = frozenset()) -> None:
        characters = [each for each in text if not each.isspace()]
        if characters and not self.lines[-1]:
            bars = "▌" * [tag for tag, _ in self._open].count("blockquote")
            self.lines[-1] += [(each, frozenset[str]()) for each in bars + self._mark]
            self._mark = ""
        self.lines[-1] += [(each, styles) for each in characters]


def shown(markdown: str) -> list[Line]:
    """What a terminal shows, line by line."""
    return [line for row in MarkdownRenderer().render_lines(markdown, width=200) if (line := read(row))]


def read(row: str) -> Line:
    styles, line = frozenset[str](), Line()
    for number, part in enumerate(STYLE.split(row)):
        if number % 2:
            styles = frozenset(NAMES[code] for code in part.split(";") if code in NAMES)
        else:
            line += [(each, styles) for each in part if not each.isspace()]
    return line


def without_terminals_own(lines: list[Line]) -> Iterator[Line]:
    """All but fences, a table's line and empty lines of quotes; one character of rules, which are as wide as it is."""
    for line in lines:
        text = "".join(each for each, _ in line)
        if not re.fullmatch(r"(```|~~~)\w*|─+|▌+", text):
            yield line[:1] if re.fullmatch("-{3,}", text) else line


def with_labels(lines: list[Line], markdown: str) -> list[Line]:
    """As docs/terminal.md says: footnotes have the labels that they are written with, and no numbers."""
    labels = re.findall(r"^(\[\^\w+\]:)", markdown, flags=re.MULTILINE)
    if not labels:
        return lines
    plain = frozenset[str]()
    reference = [(each, plain) for each in "a[^1]b[^note]c[^2]"]
    notes = [[(each, plain) for each in label] for label in labels]
    return [reference, *(note + line for note, line in zip(notes, lines[1:], strict=True))]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours, but not more than most have."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_terminal_shows_what_the_page_does(case: Case) -> None:
    """The same texts in the same lines, each character in the same style."""
    page = [line for line in Page(case["html"]).lines if line]
    expected = [*without_terminals_own(with_labels(page, case["markdown"]))]
    lines = [*without_terminals_own(shown(case["markdown"]))]

    assert ["".join(each for each, _ in line) for line in lines] == [
        "".join(each for each, _ in line) for line in expected
    ]
    for line, wanted in zip(lines, expected, strict=True):
        assert [pair for pair, (_, style) in zip(line, wanted, strict=True) if style != ANY] == [
            pair for pair in wanted if pair[1] != ANY
        ]
