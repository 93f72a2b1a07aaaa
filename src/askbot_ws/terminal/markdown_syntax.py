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
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.token import Token

_CJK_LETTER = re.compile(
    "[\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff]"
)
_TEXT = re.compile(r"[^\n!#$%&*+\-:<=>@\[\\\]^_`{}~]+")  # in which no other rule begins
_URL_PATH = r"[/?#](?:[^\s<>\"`()\[\]]|\([^\s<>\"`()\[\]]*\))*"
_ADDRESS = re.compile(  # the host is ASCII, as a Korean particle may follow at once
    rf"(?<!\w)(?:https?://|www\.)[A-Za-z0-9_.-]+(?::[0-9]+)?(?:{_URL_PATH})?(?<![.,:;!?*_~'}}\u3001\u3002\uff0c])"
    r"|(?<![\w.+-])[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?<![_-])"
)
_SAFE_URL = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_FORMULA = re.compile(
    r"\$\$(?!\s*\$)[^$\n]+\$\$"
    r"|(?<![A-Za-z0-9$\\])\$(?![\s$])[^$\n]*(?<![\s\\])\$(?![A-Za-z0-9$])"
    r"|\\\((?!\s*\\\))[^\n]{1,1000}?\\\)"
)
_DISPLAYED = {"$$": "$$", "\\[": "\\]"}  # what begins and ends a formula that is a block
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
_FOOTNOTE = re.compile(r"\[\^([^\]\s]+)\]")
_FOOTNOTE_TEXT = re.compile(_FOOTNOTE.pattern + r":[ \t]*(?=\S)")
_FENCE = re.compile(r" *(`{3,}|~{3,})")
_NUMBER = re.compile(r" *[0-9]{1,9}[.)] {1,4}(?=\S)")
_BULLET = re.compile(r" *[-*+](?: |$)")


class _Dialect(MarkdownIt):
    """A parser whose links lead to http, https and mailto only; others stay as they are written."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name
        """Return whether a link may lead there."""
        return _SAFE_URL.fullmatch(url) is not None


def make_parser(*, inline: bool = True) -> MarkdownIt:
    """Return a parser of the dialect; without `inline`, of its blocks alone."""
    parser = _Dialect("commonmark", {"html": False}).enable("table")
    parser.core.ruler.after("normalize", "list_indents", _indent_nested_lists)
    parser.block.ruler.before(
        "fence", "formula", _formula_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.block.ruler.before("reference", "footnote", _footnote_block, {"alt": ["paragraph", "reference"]})
    if not inline:
        return parser.disable("inline")
    parser.enable("strikethrough")
    rules = parser.inline.ruler
    rules.at("text", _text_or_address)
    rules.at("strikethrough", _strikethrough_marks)
    rules.at("emphasis", _emphasis_marks)
    rules.before("escape", "formula", _formula)
    rules.before("link", "footnote", _footnote_reference)
    rules.before("autolink", "break", _break)
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

    As in CommonMark, but beside a Chinese, Japanese or Korean letter they can though punctuation is on their other
    side: a particle follows a word's end without a space.
    """
    start, end, marker = state.pos, state.pos, state.src[state.pos]
    while end < state.posMax and state.src[end] == marker:
        end += 1
    before = state.src[start - 1] if start > 0 else " "
    after = state.src[end] if end < state.posMax else " "
    left = not after.isspace() and (not _is_punctuation(after) or _is_boundary(before))
    right = not before.isspace() and (not _is_punctuation(before) or _is_boundary(after))
    can_open = left and (in_words or not right or _is_punctuation(before))
    can_close = right and (in_words or not left or _is_punctuation(after))
    return can_open, can_close, end - start


def _is_punctuation(character: str) -> bool:
    return category(character)[0] in "PS"


def _is_boundary(character: str) -> bool:
    return character.isspace() or _is_punctuation(character) or _CJK_LETTER.match(character) is not None


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


def _push_formula(state: StateInline, found: re.Match[str]) -> None:
    state.push("code_inline", "code", 0).content = found[0]


def _push_footnote(state: StateInline, found: re.Match[str]) -> None:
    state.push("text", "", 0).content = found[0]


def _push_break(state: StateInline, _: re.Match[str]) -> None:
    state.push("hardbreak", "br", 0)


_formula = _matching(_FORMULA, _push_formula)
_footnote_reference = _matching(_FOOTNOTE, _push_footnote)
_break = _matching(_BREAK, _push_break)


# --- blocks ----------------------------------------------------------------------------------------------------------


def _formula_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Take the lines of a formula, of which none is blank."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    closing = _DISPLAYED.get(line[:2])
    if closing is None:
        return False
    opening, last, rest = line[:2], first, line[2:]
    while not rest.endswith(closing):
        last += 1
        if last >= end or state.isEmpty(last) or state.sCount[last] < state.blkIndent:
            return False
        rest = _line(state, last)
        if opening != closing and rest.startswith(opening):
            return False
    if closing in rest[: -len(closing)]:
        return False  # a formula in a line of text
    if not silent:
        token = state.push("formula", "pre", 0)
        token.content = state.getLines(first, last + 1, state.blkIndent, keepLastLF=False)
        token.map = [first, last + 1]
        state.line = last + 1
    return True


def _footnote_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Take a footnote: the rest of its line, and what is indented below it."""
    if state.is_code_block(first):
        return False
    start = state.bMarks[first] + state.tShift[first]
    found = _FOOTNOTE_TEXT.match(state.src, start, state.eMarks[first])
    if not found:
        return False
    if silent:
        return True
    opening = state.push("footnote_open", "", 1)
    opening.content, opening.map = f"[^{found[1]}]: ", [first, first]
    before = state.bMarks[first], state.tShift[first], state.sCount[first], state.blkIndent, state.parentType
    state.bMarks[first], state.tShift[first], state.sCount[first] = found.end(), 0, state.blkIndent + 4
    state.blkIndent += 4
    state.parentType = "footnote"
    state.md.block.tokenize(state, first, end)
    state.bMarks[first], state.tShift[first], state.sCount[first], state.blkIndent, state.parentType = before
    opening.map = [first, state.line]
    state.push("footnote_close", "", -1)
    return True


def _line(state: StateBlock, number: int) -> str:
    """Return a line without the spaces around it."""
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()


def _indent_nested_lists(state: StateCore) -> None:
    """Indent lists below a number that are indented too little, by two columns below `1. `, so that they are in it."""
    state.src = "\n".join(_indented(state.src.split("\n")))


def _indented(lines: Sequence[str]) -> Iterator[str]:
    fence = ""  # the character of the fence that is open
    content = 0  # the column of the text behind the last number
    nested = shift = 0  # the column of a list below it that is indented too little, and how many it lacks
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and not fence:
            if indent < nested:
                nested = shift = 0
            if shift:
                pass
            elif number := _NUMBER.match(line):
                content = number.end()
            elif 1 < indent < content and _BULLET.match(line):
                nested, shift = indent, content - indent
            elif indent == 0:
                content = 0
        if found := _FENCE.match(line):
            fence = "" if fence == found[1][0] else fence or found[1][0]
        yield " " * shift + line if line.strip() else line


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
