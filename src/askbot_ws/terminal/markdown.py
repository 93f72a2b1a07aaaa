"""Markdown as lines for a terminal, whole or while it grows.

The text is a model's, so nothing in it is more than text: HTML is shown as it stands, links are written out, and what
would steer the terminal is removed last, when entities and percent signs have been decoded too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.segment import Segment, SegmentLines
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from .output import plain

CODE_THEME = "ansi_dark"  # the terminal's own colours, on its own background
THEME = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.code": "cyan",
        "markdown.block_quote": "dim",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
        "markdown.item.bullet": "dim",
        "markdown.item.number": "dim",
    }
)
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
_BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


def ended(source: str) -> int:
    """How much of a growing text is blocks that nothing can change any more.

    Blocks are found line by line, so those are all before the last that has a whole line.
    """
    whole = source[: source.rfind("\n") + 1]
    starts = [token.map[0] for token in _BLOCKS.parse(whole) if token.level == 0 and token.map]
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]]) if starts else 0


class Renderer:
    """From Markdown to lines that have no control characters but those of styles."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(), force_terminal=True, legacy_windows=False, highlight=False, theme=THEME
        )

    def lines(self, source: str, *, width: int) -> list[str]:
        """The lines; none is wider than `width`, none ends with spaces that nobody sees."""
        options = self._console.options.update(width=width, max_width=width, height=None)
        rows = self._console.render_lines(_Answer(plain(source)), options, pad=False)
        with self._console.capture() as capture:
            self._console.print(SegmentLines(_tidy(rows), new_lines=True), crop=False, end="")
        return capture.get().strip("\n").split("\n")


def _tidy(rows: list[list[Segment]]) -> Iterator[list[Segment]]:
    for row in rows:
        kept = [_safe(part) for part in row if not part.control]
        while kept and not kept[-1].text.strip(" "):
            kept.pop()
        if kept:
            kept[-1] = Segment(kept[-1].text.rstrip(" "), kept[-1].style)
        yield [*Segment.simplify(kept)]


def _safe(part: Segment) -> Segment:
    """A segment without control characters; spaces need no colour."""
    text = plain(part.text).replace("\n", "")
    return Segment(text, part.style if text.strip(" ") or (part.style and part.style.underline) else None)


# --- the elements that look different here ---------------------------------------------------------------------------


class _Heading(Heading):
    """Where the text is, not in the middle."""

    LEVEL_ALIGN: ClassVar = {}


class _Code(CodeBlock):
    """Code between the fences that it was given: what is copied from the screen is the code, nothing before it."""

    opening = ""
    closing = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Code:  # noqa: ARG003 - rich's signature
        """From the token, which tells by its lines whether the fence is closed already."""
        code = cls(token.info.partition(" ")[0] or "text", CODE_THEME)
        if token.type == "fence":
            first, last = token.map or [0, 0]
            inside = token.content.count("\n") + (not token.content.endswith("\n") and token.content != "")
            code.opening = token.markup + token.info
            code.closing = token.markup if last - first > inside + 1 else ""
        return code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fence, code, fence."""
        if self.opening:
            yield Text(self.opening, style="dim")
        if code := str(self.text).rstrip("\n"):
            yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True)
        if self.closing:
            yield Text(self.closing, style="dim")


class _Answer(Markdown):
    """An answer: its lines stay lines, and nothing that it says is left out."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }

    def __init__(self, source: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = _PARSER.parse(source)
        for token in self.parsed:
            token.children = [*_shown(token.children)] if token.children else token.children


def _shown(tokens: Sequence[Token]) -> Iterator[Token]:
    """Inline tokens as a terminal can show them."""
    for token in tokens:
        match token.type:
            case "softbreak":
                yield Token("hardbreak", "br", 0)
            case "image":
                yield Token("text", "", 0, content=f"{token.content} ({token.attrs.get('src', '')})")
            case _:
                yield token
