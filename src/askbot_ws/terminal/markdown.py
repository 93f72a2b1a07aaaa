"""Markdown: rendered as lines for a terminal, complete or while it grows.

The text is a model's, so nothing in it is more than text: HTML is shown as it stands, links are written out, and what
would steer the terminal is removed last, after entities and percent signs have been decoded.
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

from .output import strip_control

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
_BLOCK_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


def finished_length(source: str) -> int:
    """Return how many characters of a growing text are blocks that no further text can change.

    Blocks are parsed line by line, so those are all before the last one that has a complete line.
    """
    whole = source[: source.rfind("\n") + 1]
    starts = [token.map[0] for token in _BLOCK_PARSER.parse(whole) if token.level == 0 and token.map]
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]]) if starts else 0


class MarkdownRenderer:
    """Renders Markdown as lines that have no control characters but those of styles."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(), force_terminal=True, legacy_windows=False, highlight=False, theme=THEME
        )

    def render_lines(self, source: str, *, width: int) -> list[str]:
        """Return the lines, at most `width` columns wide and without spaces at their ends."""
        options = self._console.options.update(width=width, max_width=width, height=None)
        rows = self._console.render_lines(_AnswerMarkdown(strip_control(source)), options, pad=False)
        with self._console.capture() as capture:
            self._console.print(SegmentLines(_trim_rows(rows), new_lines=True), crop=False, end="")
        return capture.get().strip("\n").split("\n")


def _trim_rows(rows: list[list[Segment]]) -> Iterator[list[Segment]]:
    for row in rows:
        kept = [_sanitize(part) for part in row if not part.control]
        while kept and not kept[-1].text.strip(" "):
            kept.pop()
        if kept:
            kept[-1] = Segment(kept[-1].text.rstrip(" "), kept[-1].style)
        yield [*Segment.simplify(kept)]


def _sanitize(part: Segment) -> Segment:
    """Return a segment without control characters, and without a style where it is only spaces."""
    text = strip_control(part.text).replace("\n", "")
    return Segment(text, part.style if text.strip(" ") or (part.style and part.style.underline) else None)


# --- elements that differ from rich's ------------------------------------------------------------------------------


class _LeftHeading(Heading):
    """A heading at the left, not centred."""

    LEVEL_ALIGN: ClassVar = {}


class _CodeBlock(CodeBlock):
    """Code between its fences, with nothing before its lines, so that it can be copied from the screen."""

    opening = ""
    closing = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _CodeBlock:  # noqa: ARG003 - rich's signature
        """Make it from the token, whose line numbers show whether the fence is closed already."""
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


class _AnswerMarkdown(Markdown):
    """An answer: single newlines stay newlines, and links and images show their addresses."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
    }

    def __init__(self, source: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = _PARSER.parse(source)
        for token in self.parsed:
            token.children = [*_terminal_tokens(token.children)] if token.children else token.children


def _terminal_tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield inline tokens that a terminal can show."""
    for token in tokens:
        match token.type:
            case "softbreak":
                yield Token("hardbreak", "br", 0)
            case "image":
                yield Token("text", "", 0, content=f"{token.content} ({token.attrs.get('src', '')})")
            case _:
                yield token
