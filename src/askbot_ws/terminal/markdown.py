"""Markdown: rendered as lines for a terminal, complete or while it grows.

The text is a model's, so nothing in it is more than text: HTML is shown as it stands, links are written out, and what
would steer the terminal is removed last, after entities and percent signs have been decoded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

from markdown_it.token import Token
from rich.console import Console
from rich.markdown import Markdown, MarkdownElement
from rich.segment import Segment, SegmentLines
from rich.theme import Theme

from .markdown_elements import ELEMENTS
from .markdown_syntax import make_parser
from .output import strip_control

THEME = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.h5": "bold",
        "markdown.h6": "bold",
        "markdown.code": "cyan",
        "markdown.block_quote": "dim",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
        "markdown.item.bullet": "dim",
        "markdown.item.number": "dim",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
    }
)
Definitions: TypeAlias = dict[str, Any]
"""Where reference links lead, by their labels."""
_PARSER = make_parser()
_BLOCK_PARSER = make_parser(inline=False)


def finished_length(source: str) -> int:
    """Return how many characters of a growing text are blocks that no further text can change.

    Blocks are parsed line by line, so those are all before the last one that has a complete line; and before the one
    above it, where the last is a formula without an end: it may turn out to be text, and belong to that.
    """
    whole = source[: source.rfind("\n") + 1]
    tokens = _BLOCK_PARSER.parse(whole, {"growing": True})
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map]
    if tokens and tokens[-1].meta.get("open"):
        starts = starts[:-1] or starts
    return sum(len(line) + 1 for line in whole.split("\n")[: starts[-1]]) if starts else 0


class MarkdownRenderer:
    """Renders Markdown as lines that have no control characters but those of styles."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(), force_terminal=True, legacy_windows=False, highlight=False, theme=THEME
        )

    def render_lines(
        self, source: str, *, width: int, definitions: Definitions | None = None, is_growing: bool = False
    ) -> list[str]:
        """Return the lines, at most `width` columns wide and without spaces at their ends.

        `definitions` are those of reference links that stood before; those in the source are added. Where the
        source is growing, a formula at its end need not be closed.
        """
        options = self._console.options.update(width=width, max_width=width, height=None)
        rows = self._console.render_lines(self._parse(source, definitions, is_growing=is_growing), options, pad=False)
        with self._console.capture() as capture:
            self._console.print(SegmentLines(_trim_rows(rows), new_lines=True), crop=False, end="")
        return capture.get().strip("\n").split("\n")

    def _parse(self, source: str, definitions: Definitions | None, *, is_growing: bool) -> Markdown:
        env = {"references": {} if definitions is None else definitions, "growing": is_growing}
        return _AnswerMarkdown(_PARSER.parse(strip_control(source), env))


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


# --- tokens that a terminal can show ---------------------------------------------------------------------------------


class _AnswerMarkdown(Markdown):
    """An answer: single newlines stay newlines, and links and images show their addresses."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = ELEMENTS

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("", hyperlinks=False)
        self.inlines = {*Markdown.inlines, "link", "link_url"}
        self.parsed = tokens
        _note_loose_lists(self.parsed)
        for token in self.parsed:
            token.children = [*_terminal_tokens(token.children)] if token.children else token.children


_LINK_OPEN, _LINK_CLOSE = Token("styled_open", "link", 1), Token("styled_close", "link", -1)


def _note_loose_lists(tokens: Sequence[Token]) -> None:
    """Note at lists whether one of their items has a paragraph that is not tight."""
    lists = list[Token]()
    for token in tokens:
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            lists.append(token)
        elif token.type in {"bullet_list_close", "ordered_list_close"}:
            lists.pop()
        elif token.type == "paragraph_open" and lists and token.level == lists[-1].level + 2 and not token.hidden:
            lists[-1].meta["loose"] = True


def _terminal_tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield inline tokens that a terminal can show."""
    text, address = "", ""  # of the link that is open
    in_link = False
    for token in tokens:
        match token.type:
            case "softbreak":
                yield Token("hardbreak", "br", 0)
            case "image" if in_link:
                inside = [*_terminal_tokens(token.children or ())]
                text += _plain_text(inside)
                yield from inside
            case "image":
                address = str(token.attrs["src"])
                inside = [child for child in token.children or () if child.type not in {"link_open", "link_close"}]
                text = _plain_text(inside) or address
                yield from (_LINK_OPEN, *(_terminal_tokens(inside) if inside else [_text_token(text)]), _LINK_CLOSE)
                yield from _target_tokens(text, address)
            case "link_open":
                text, address, in_link = "", str(token.attrs["href"]), True
                yield _LINK_OPEN
            case "link_close":
                in_link = False
                yield from (_LINK_CLOSE, *_target_tokens(text, address))
            case "text":
                token.content = token.content.replace("\n", " ")  # which an entity may stand for
                text += token.content
                yield token
            case _:
                text += token.content
                yield token


def _target_tokens(text: str, address: str) -> Iterator[Token]:
    """Yield where a link leads, unless its text says just that."""
    if text not in {address, address.removeprefix("mailto:"), address.removeprefix("http://")}:
        yield from (_text_token(" ("), Token("styled", "link_url", 0, content=address), _text_token(")"))


def _text_token(text: str) -> Token:
    return Token("text", "", 0, content=text)


def _plain_text(tokens: Sequence[Token]) -> str:
    return "".join(" " if token.type in {"softbreak", "hardbreak"} else token.content for token in tokens)
