"""Markdown syntax: what of an answer is Markdown, as rules for markdown-it; the page reads the same dialect.

It is CommonMark with tables and strikethrough, without HTML. What differs from that is here: emphasis beside Chinese,
Japanese and Korean letters, formulas, bare addresses, breaks, tasks and footnotes. tests/dialect/cases.json has cases.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from unicodedata import category

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.token import Token

from .markdown_blocks import CLOSINGS, FOOTNOTE, footnote_block, formula_block, indent_item_contents

_WIDE = re.compile("[\u3000-\u30ff\uff00-\uffef]")  # what is written with letters that have no case
_TEXT = re.compile(r"[^\n!#$%&*+\-:<=>@\[\\\]^_`{}~]+")  # in which no other rule begins
_PARTICLE = (  # of Korean, behind ASCII
    r"(?<=[A-Za-z0-9_/])(?:[은는이가을를와과의도만에로]|에서|으로|까지|부터|입니다)[은는도의]?(?![\w/%-])"
)
_CJK_MARKS = (
    r"\u2018\u2019\u201c\u201d\u2026\u3001\u3002\u3008-\u3011\uff01-\uff0f\uff1a-\uff1f\uff3b\uff3d\uff5b\uff5d"
)
_URL_PATH = (
    rf"[/?#](?:(?!&[A-Za-z0-9_]+;(?!\S)|{_PARTICLE})[^\s<>\"`()\[\]{_CJK_MARKS}]"
    r"|\([^\s<>\"`()\[\]]*\))*"
)
_ADDRESS = re.compile(  # the host is ASCII, as a Korean particle may follow at once
    r"(?:(?<![^\W_])|(?<=[぀-ヿ㐀-鿿가-힣]))(?:https?://[A-Za-z0-9_.-]+|www\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)"
    rf"(?::[0-9]+)?(?:{_URL_PATH})?(?<![.,:;!?*_~'}}])"
    r"|(?<![\w.+-])[A-Za-z0-9_.+-]+@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+(?<![-_])(?![A-Za-z0-9_-])"
)
_SAFE_URL = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?[a-zA-Z][a-zA-Z0-9-]*(?:\s+[a-zA-Z_:][\w.:-]*(?:\s*=\s*(?:[^\s\"'=<>`]+|'[^']*'|\"[^\"]*\"))?)*\s*/?>"
)
_DOLLARS = re.compile(  # on one line, and neither of prices nor of variables
    r"(?<![A-Za-z0-9_$])\$(?![\s$]|[0-9][0-9.,]*\s+[^\W\d_]{2})(?:\\.|[^\\$`\n])+(?<!\s)\$(?![A-Za-z0-9_$])"
)
_TASK = re.compile(r"\[([ xX])\][ \t]+")


class _Dialect(MarkdownIt):
    """A parser whose links lead to http, https and mailto only; others stay as they are written."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name
        """Return whether a link may lead there."""
        return _SAFE_URL.fullmatch(url) is not None


def make_parser(*, inline: bool = True) -> MarkdownIt:
    """Return a parser of the dialect; without `inline`, of its blocks alone."""
    parser = _Dialect("commonmark", {"html": False}).enable("table")
    parser.core.ruler.after("normalize", "item_indents", indent_item_contents)
    parser.block.ruler.before(
        "fence", "formula", formula_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.block.ruler.before("reference", "footnote", footnote_block, {"alt": ["paragraph", "reference"]})
    if not inline:
        return parser.disable("inline")
    parser.enable("strikethrough")
    rules = parser.inline.ruler
    rules.at("text", _text_or_address)
    rules.at("strikethrough", _strikethrough_marks)
    rules.at("emphasis", _emphasis_marks)
    rules.before("escape", "formula", _formula)
    rules.before("escape", "dollars", _matching(_DOLLARS, _push_formula))
    rules.before("link", "footnote", _matching(FOOTNOTE, _push_text))
    rules.after("autolink", "break", _matching(_BREAK, _push_break))
    rules.after("break", "tag", _matching(_TAG, _push_text))
    parser.core.ruler.after("inline", "tasks", _mark_tasks)
    return parser


# --- emphasis --------------------------------------------------------------------------------------------------------


def _emphasis_marks(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it
    marker = state.src[state.pos]
    if silent or marker not in "*_":
        return False
    can_open, can_close, length = _flanking(state, in_words=marker == "*")
    for _ in range(length):
        _push_mark(state, marker, length=length, can_open=can_open, can_close=can_close)
    state.pos += length
    return True


def _strikethrough_marks(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Two tildes are marks; one is a range, more are nothing."""
    if silent or state.src[state.pos] != "~":
        return False
    can_open, can_close, length = _flanking(state, in_words=True)
    if length == 2:
        _push_mark(state, "~~", length=0, can_open=can_open, can_close=can_close)
    else:
        state.append_pending("~" * length)
    state.pos += length
    return True


def _push_mark(state: StateInline, mark: str, *, length: int, can_open: bool, can_close: bool) -> None:
    state.push("text", "", 0).content = mark
    place = len(state.tokens) - 1
    state.delimiters.append(Delimiter(ord(mark[0]), length, place, end=-1, open=can_open, close=can_close))


def _flanking(state: StateInline, *, in_words: bool) -> tuple[bool, bool, int]:
    """Return whether marks can open and close emphasis, and how many there are.

    By CommonMark, marks between punctuation and a letter belong to the letter's side; but in Korean, Japanese and
    Chinese a word goes on without a space.
    """
    start, end, marker = state.pos, state.pos, state.src[state.pos]
    while end < state.posMax and state.src[end] == marker:
        end += 1
    before = state.src[start - 1] if start > 0 else " "
    after = state.src[end] if end < state.posMax else " "
    left, right = _belongs(after, before), _belongs(before, after)
    can_open = left and (in_words or not right or _is_punctuation(before))
    can_close = right and (in_words or not left or _is_punctuation(after))
    return can_open, can_close, end - start


def _belongs(inner: str, outer: str) -> bool:
    """Return whether marks belong to the text on one side of them."""
    if inner.isspace():
        return False
    if not _is_punctuation(inner) or _has_no_case(inner):
        return True
    return outer.isspace() or _is_punctuation(outer) or _has_no_case(outer)


def _is_punctuation(character: str) -> bool:
    return category(character)[0] in "PS"


def _has_no_case(character: str) -> bool:
    return category(character) == "Lo" or _WIDE.match(character) is not None


# --- other inline parts ----------------------------------------------------------------------------------------------


def _text_or_address(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Take plain text up to the next mark or address, or an address with what marks it has."""
    found = _TEXT.match(state.src, state.pos, state.posMax)
    end = found.end() if found else state.pos
    address = _next_address(state)
    if address is None or address.start() > end or address.end() > state.posMax or state.linkLevel:
        if not silent:
            state.append_pending(state.src[state.pos : end])
        moved, state.pos = end > state.pos, end
        return moved
    if address.start() > state.pos:
        if not silent:
            state.append_pending(state.src[state.pos : address.start()])
        state.pos = address.start()
        return True
    if not silent:
        _push_address(state, address[0])
    state.pos = address.end()
    return True


def _next_address(state: StateInline) -> re.Match[str] | None:
    """Return the first address that begins here or later; a text is searched once."""
    known: dict[str, list[re.Match[str]]] = state.env.setdefault("addresses", {})
    if state.src not in known:
        known[state.src] = [*_ADDRESS.finditer(state.src)]
    addresses = known[state.src]
    place = bisect_left(addresses, state.pos, key=_start)
    return addresses[place] if place < len(addresses) else None


def _start(found: re.Match[str]) -> int:
    return found.start()


def _push_address(state: StateInline, text: str) -> None:
    scheme = "http://" if text.startswith("www.") else "" if "://" in text else "mailto:"
    opening = state.push("link_open", "a", 1)
    opening.attrs, opening.info = {"href": scheme + text}, "auto"
    state.push("text", "", 0).content = text
    state.push("link_close", "a", -1).info = "auto"


def _matching(
    pattern: re.Pattern[str], push: Callable[[StateInline, re.Match[str]], None]
) -> Callable[[StateInline, bool], bool]:
    """Return a rule that takes what matches, and pushes a token for it."""

    def rule(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
        found = pattern.match(state.src, state.pos, state.posMax)
        if not found:
            return False
        if not silent:
            push(state, found)
        state.pos = found.end()
        return True

    return rule


def _formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Take a formula up to its end; a delimiter without one is text."""
    start = state.pos
    closing = CLOSINGS.get(state.src[start : start + 2])
    if closing is None:
        return False
    absent: set[tuple[str, str]] = state.env.setdefault("absent", set())  # closings that a text doesn't have any more
    end = -1 if (state.src, closing) in absent else state.src.find(closing, start + 2)
    if end < 0:
        absent.add((state.src, closing))
    if not 0 <= end <= state.posMax - 2 or not state.src[start + 2 : end].strip():
        return False
    if not silent:
        state.push("code_inline", "code", 0).content = state.src[start : end + 2].replace("\n", " ")
    state.pos = end + 2
    return True


def _push_formula(state: StateInline, found: re.Match[str]) -> None:
    state.push("code_inline", "code", 0).content = found[0]


def _push_text(state: StateInline, found: re.Match[str]) -> None:
    state.push("text", "", 0).content = found[0]


def _push_break(state: StateInline, _: re.Match[str]) -> None:
    state.push("hardbreak", "br", 0)


# --- tasks -----------------------------------------------------------------------------------------------------------


def _mark_tasks(state: StateCore) -> None:
    """Write the boxes of tasks, at the beginning of a line, as they look; an item of a list has one as its bullet."""
    for place, token in enumerate(state.tokens):
        if token.type != "inline" or state.tokens[place - 1].type != "paragraph_open":
            continue
        item = state.tokens[place - 2] if place > 1 else None
        for number, child in _line_beginnings(token.children or []):
            found = _TASK.match(child.content)
            if not found:
                continue
            box = "☐" if found[1] == " " else "☑"
            if number == 0 and item and item.type == "list_item_open" and item.markup in {"-", "*", "+"}:
                item.meta["task"], box = box, ""
            child.content = f"{box} {child.content[found.end() :]}".lstrip(" ")


def _line_beginnings(children: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """Yield the texts that lines begin with, with their places."""
    for place, child in enumerate(children):
        if child.type == "text" and (place == 0 or children[place - 1].type in {"softbreak", "hardbreak"}):
            yield place, child
