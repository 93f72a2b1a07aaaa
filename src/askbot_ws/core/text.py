"""Text: checks and repairs of text that comes from outside."""

from __future__ import annotations

import re
import unicodedata

from ..errors import QuestionEmpty, QuestionTooLong

SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair: UTF-8 can't encode it
CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # a line ends at the last two
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # not Cn: an emoji newer than our tables is visible


def check_question(text: str, *, max_chars: int) -> None:
    """Raise `QuestionTooLong` above `max_chars` code points, `QuestionEmpty` where no character is visible."""
    if len(text) > max_chars:
        raise QuestionTooLong(f"The question has {len(text)} characters; {max_chars} are the most.")
    if is_blank(text):
        raise QuestionEmpty


def join_surrogates(pending: str, piece: str) -> tuple[str, str]:
    """Join surrogate pairs in a piece of a stream; a lone surrogate becomes U+FFFD.

    Args:
        pending: What the piece before left: the first half of a pair, or "".
        piece: The piece, not empty.

    Returns:
        The text, without surrogates, and what it leaves pending for the next piece.
    """
    if not pending and not SURROGATE.search(piece):
        return piece, ""
    piece, pending = pending + piece, ""
    if "\ud800" <= piece[-1] <= "\udbff":
        pending, piece = piece[-1], piece[:-1]
    joined = piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return SURROGATE.sub("\ufffd", joined), pending


def is_blank(text: str) -> bool:
    """Return whether no character of a text is visible."""
    return all(unicodedata.category(char) in INVISIBLE_CATEGORIES for char in text)


def to_well_formed(text: str, *, limit: int) -> str:
    """Return at most `limit` code points of a text, without surrogates. Never raises.

    A lone surrogate becomes U+FFFD, the two halves of a pair the code point that they stand for.
    """
    text = text[: 2 * limit]  # two halves are one code point
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text[:limit]


def one_line(text: str, *, limit: int) -> str:
    """Return the beginning of a text as one line: at most `limit` code points, without control characters.

    White space and control characters in a row become one space; there is none at the beginning and the end.
    """
    beginning = to_well_formed(text.lstrip()[: 4 * limit], limit=4 * limit)
    visible = "".join(" " if unicodedata.category(char) in CONTROL_CATEGORIES else char for char in beginning)
    return " ".join(visible.split())[:limit].rstrip()
