"""Markdown elements: how the blocks of an answer look on a terminal, where that differs from rich."""

from __future__ import annotations

from typing import ClassVar

from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    ListElement,
    ListItem,
    Markdown,
    MarkdownContext,
    MarkdownElement,
)
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

CODE_THEME = "ansi_dark"  # the terminal's own colours, on its own background


class LeftHeading(Heading):
    """A heading at the left, not centred."""

    LEVEL_ALIGN: ClassVar = {}


class FencedCode(CodeBlock):
    """Code between its fences, with nothing before its lines, so that it can be copied from the screen."""

    opening = ""
    closing = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> FencedCode:  # noqa: ARG003 - rich's signature
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


class Formula(CodeBlock):
    """A formula on lines of its own, as it is written."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> Formula:  # noqa: ARG003 - rich's signature
        """Make it."""
        return cls("text", CODE_THEME)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its lines."""
        yield Text(str(self.text), style="markdown.code")


class _Container(BlockQuote):
    """What has blocks in it, with an empty line between them, but before a list."""

    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        """Take a block over."""
        if not self._is_empty and not isinstance(child, ListElement):
            self.elements.append(Text())
        self._is_empty = False
        return super().on_child_close(context, child)

    _is_empty = True


class Quote(_Container):
    """A quote."""


class Item(_Container, ListItem):
    """An item of a list; a task has its box in the place of the bullet."""

    style_name = ListItem.style_name
    bullet = "•"

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> Item:  # noqa: ARG003 - as above
        """Make it."""
        item = cls()
        item.bullet = token.meta.get("task", cls.bullet)
        return item


class List(ListElement):
    """A list; if it is loose, its items have an empty line between them."""

    is_loose = False

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> List:  # noqa: ARG003 - as above
        """Make it."""
        made = cls(token.type, int(token.attrs.get("start", 1)))
        made.is_loose = bool(token.meta.get("loose"))
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Item after item."""
        first = 1 if self.list_start is None else self.list_start
        width = len(str(first + len(self.items) - 1))
        for number, item in enumerate(self.items, first):
            if self.is_loose and number > first:
                yield Segment.line()
            mark = f"{number:>{width}}" if self.list_type == "ordered_list_open" else _bullet(item)
            yield from _behind(f" {mark} ", item, console, options)


def _bullet(item: ListItem) -> str:
    return item.bullet if isinstance(item, Item) else Item.bullet


class Footnote(_Container):
    """A footnote, behind its label."""

    style_name = ListItem.style_name

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> Footnote:  # noqa: ARG003 - as above
        """Make it."""
        return cls(token.content)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The label, and all lines behind its column."""
        yield from _behind(self.label, self, console, options)


def _behind(mark: str, item: BlockQuote | ListItem, console: Console, options: ConsoleOptions) -> RenderResult:
    """Yield an item's lines behind a mark, all in the same column."""
    width = cell_len(mark)
    style = console.get_style("markdown.item.bullet")
    lines = console.render_lines(item.elements, options.update(width=max(1, options.max_width - width)))
    for number, line in enumerate(lines):
        yield Segment(mark if number == 0 else " " * width, style)
        yield from line
        yield Segment.line()


ELEMENTS: dict[str, type[MarkdownElement]] = {
    **Markdown.elements,
    "heading_open": LeftHeading,
    "fence": FencedCode,
    "code_block": FencedCode,
    "formula": Formula,
    "blockquote_open": Quote,
    "bullet_list_open": List,
    "ordered_list_open": List,
    "list_item_open": Item,
    "footnote_open": Footnote,
}
