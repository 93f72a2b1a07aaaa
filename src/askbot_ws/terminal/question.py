"""Question: what is asked, from the command line and from stdin, and whether it can be asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..client import View
from ..decoding import is_text, recover_text
from ..errors import InvalidFrame, QuestionTooLong
from .output import print_notice
from .stdin_reader import StdinReader

STDIN = "-"  # the word that stands for what stdin has
MAX_STDIN_CHARACTERS = 16 * 1024**2  # far more than any server takes, and little enough to hold


class NothingAskedError(Exception):
    """There is no question: neither in the command line nor on stdin."""


async def read_question(words: Sequence[str]) -> str:
    """Return the question: the words, of which `-` is what stdin has, as paragraphs.

    Stdin is read to its end where a word is `-`, or where there is no word.

    Raises:
        NothingAskedError: All of it is empty.
        InvalidFrame: It has bytes that are no text.
        QuestionTooLong: Stdin has more than `MAX_STDIN_CHARACTERS`.
    """
    parts = [await _read_stdin() if word == STDIN else recover_text(word) for word in words or (STDIN,)]
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise NothingAskedError("Nothing was asked: give a question, or pipe one in.")
    check_text(text)
    return text


async def _read_stdin() -> str:
    if sys.stdin.isatty():
        print_notice("(the question; Ctrl-D on a new line ends it)")
    reader, pieces, size = StdinReader(sys.stdin.fileno(), sys.stdin.encoding), list[str](), 0
    while piece := await reader.read():
        size += len(piece)
        if size > MAX_STDIN_CHARACTERS:
            raise QuestionTooLong(f"The question is longer than {MAX_STDIN_CHARACTERS:,} characters.")
        pieces.append(piece)
    return recover_text("".join(pieces), sys.stdin.encoding).removeprefix("\ufeff").strip("\n")


def check_text(text: str) -> None:
    """Raise InvalidFrame where a question has bytes that are no text."""
    if not is_text(text):
        raise InvalidFrame(
            f"The question has bytes that are no text in the encoding {sys.stdin.encoding}. Convert it, as by "
            "`iconv -f ISO-8859-1 -t UTF-8`, or set LC_ALL."
        )


def check_length(text: str, view: View) -> None:
    """Raise QuestionTooLong where a question has more characters than the server of a view allows."""
    limit = view.ready.limits.question_chars if view.ready else len(text)
    if len(text) > limit:
        raise QuestionTooLong(f"The question has {len(text):,} characters; this server allows {limit:,}.")
