"""Markdown blocks: what of them differs from CommonMark, as rules for markdown-it: formulas, footnotes, items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore

CLOSINGS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}  # of formulas
FOOTNOTE = re.compile(r"\[\^[^\]\[\s]{1,99}\]")
_DISPLAY = re.compile(r"\$\$|\\\[|\\begin\{(?:align|equation|gather|multline)\*?\}")  # begins one that is a block
_FOOTNOTE_TEXT = re.compile(FOOTNOTE.pattern + r":(?=[ \t]|$)", re.MULTILINE)
_FENCE = re.compile(r" *(`{3,}|~{3,})")
_NUMBER = re.compile(r" *[0-9]{1,9}[.)] {1,4}(?=\S)")


def formula_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it
    """Take a formula: its lines up to the one that ends with its end, which may still come where the text grows."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    found = _DISPLAY.match(line)
    if not found:
        return False
    closing = CLOSINGS.get(found[0], found[0].replace("begin", "end"))
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


def footnote_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - as above
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


def indent_item_contents(state: StateCore) -> None:
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
