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

_WIDE = re.compile("[\u3000-\u30ff\uff00-\uffef]")  # what is written with letters that have no case
_TEXT = re.compile(r"[^\n!#$%&*+\-:<=>@\[\\\]^_`{}~]+")  # in which no other rule begins
_URL_PATH = r"[/?#](?:(?!&[A-Za-z0-9_]+;(?!\S))[^\s<>\"`()\[\]]|\([^\s<>\"`()\[\]]*\))*"
_ADDRESS = re.compile(  # the host is ASCII, as a Korean particle may follow at once
    r"(?<!\w)(?:https?://[A-Za-z0-9_.-]+|www\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)"
    rf"(?::[0-9]+)?(?:{_URL_PATH})?(?<![.,:;!?*_~'}}\u3001\u3002\uff0c])"
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
_CLOSINGS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}  # of formulas
_DISPLAY = re.compile(r"\$\$|\\\[|\\begin\{(?:align|equation|gather)\*?\}")  # begins one that is a block
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
_FOOTNOTE = re.compile(r"\[\^[^\]\[\s]{1,99}\]")
_FOOTNOTE_TEXT = re.compile(_FOOTNOTE.pattern + r":(?=[ \t]|$)", re.MULTILINE)
_FENCE = re.compile(r" *(`{3,}|~{3,})")
_NUMBER = re.compile(r" *[0-9]{1,9}[.)] {1,4}(?=\S)")


class _Dialect(MarkdownIt):
    """A parser whose links lead to http, https and mailto only; others stay as they are written."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name
        """Return whether a link may lead there."""
        return _SAFE_URL.fullmatch(url) is not None


def make_parser(*, inline: bool = True) -> MarkdownIt:
    """Return a parser of the dialect; without `inline`, of its blocks alone."""
    parser = _Dialect("commonmark", {"html": False}).enable("table")
    parser.core.ruler.after("normalize", "item_indents", _indent_items)
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
    rules.before("escape", "dollars", _matching(_DOLLARS, _push_formula))
    rules.before("link", "footnote", _matching(_FOOTNOTE, _push_text))
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
    closing = _CLOSINGS.get(state.src[start : start + 2])
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


# --- blocks ----------------------------------------------------------------------------------------------------------


def _formula_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - as above
    """Take a formula: its lines up to the one that ends with its end, which may still come where the text grows."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    found = _DISPLAY.match(line)
    if not found:
        return False
    closing = _CLOSINGS.get(found[0], found[0].replace("begin", "end"))
    last, rest = first, line[found.end() :]
    if closing not in rest:
        last = _find_line(state, closing, first + 1, end)
        rest = _line(state, last) if last < end else closing * bool(state.env.get("growing"))
    before, _, behind = rest.partition(closing)
    if behind or not rest or (last == first and not before.strip()):
        return False
    if not silent:
        token = state.push("formula", "pre", 0)
        state.line = min(last + 1, end)
        token.content = state.getLines(first, state.line, state.blkIndent, keepLastLF=False)
        token.map, token.meta = [first, state.line], {"open": last == end}
    return True


def _find_line(state: StateBlock, text: str, first: int, end: int) -> int:
    """Return the first line with some text in it, of the block that is open; `end` where there is none."""
    known: dict[tuple[str, int], int] = state.env.setdefault("lines", {})
    place = known.get((text, end), 0)
    if place < first:
        place = first
        while place < end and text not in _line(state, place):
            place += 1
        known[text, end] = place
    if place == end or state.blkIndent == 0:
        return place
    inside = (state.isEmpty(line) or state.sCount[line] >= state.blkIndent for line in range(first, place + 1))
    return place if all(inside) else end


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
    opening.content, opening.map = f"{found[0]} ", [first, first]
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


def _indent_items(state: StateCore) -> None:
    """Indent what stands below a number by two columns or more as far as its text, so that it is in that item."""
    state.src = "\n".join(_indented(state.src.split("\n")))


def _indented(lines: Sequence[str]) -> Iterator[str]:
    fence = ""  # the character of the fence that is open
    number = content = 0  # the columns of the last number, and of the text behind it
    least = shift = 0  # the column from which on lines below it are shifted, and by how many
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and not fence:
            if indent < least:
                least = shift = 0
            if found := _NUMBER.match(line):
                number, content = indent + shift, found.end() + shift
            elif not shift and number + 1 < indent < content and not line[indent].isdigit():
                least, shift = indent, content - indent
            elif indent == 0:
                number = content = 0
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
