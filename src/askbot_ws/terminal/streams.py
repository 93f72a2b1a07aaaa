"""Streams: stdin, stdout and stderr as text, in the locale's encoding, open or not.

Where that encoding is ASCII (`LC_ALL=C`, no locale at all), UTF-8 takes its place. A character that the encoding
doesn't have is written as a similar one, or as a question mark, which is reported once.
"""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from unicodedata import combining, east_asian_width

from ..decoding import is_text

_ERRORS = "askbot_similar"
_SIMILAR = {  # code points, and what is as wide and in every encoding
    ord(character): similar
    for similar, characters in {
        "'": "\u2018\u2019\u201a",
        '"': "\u201c\u201d\u201e",
        "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2500\u2501",
        "=": "\u2550",
        "|": "\u2502\u2503",
        "*": "\u2022\u25e6\u25aa",
        ".": "\u2026\u00b7",
        "o": "\u2610",
        "x": "\u2611\u00d7",
    }.items()
    for character in characters
}
_unwritable = set[str]()  # the encodings that had no such character


def prepare_streams() -> None:
    """Have the standard streams take and give any text, and be there: one that is closed is empty, or read by nobody.

    Without that, a connection would get the number of a stream that is closed, and be written to.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process runs
    if sys.stdout is None:
        reading, writing = os.pipe()
        os.close(reading)
        sys.stdout = os.fdopen(writing, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as above
    codecs.register_error(_ERRORS, _write_similar)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, _ERRORS), (sys.stderr, _ERRORS)):
        if isinstance(stream, TextIOWrapper):
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else None, errors=errors)


def _write_similar(error: UnicodeError) -> tuple[str, int]:
    """Return what is written in the place of characters that an encoding doesn't have, as many columns wide."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    similar = characters.translate(_SIMILAR)
    if not similar.isascii():
        if is_text(similar):  # a lone surrogate is no character of any encoding
            _unwritable.add(error.encoding)
        similar = "".join(each if each.isascii() else "?" * _columns(each) for each in similar)
    return similar, error.end


def _columns(character: str) -> int:
    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1


def pop_encoding_warning() -> str | None:
    """Return, once, a sentence about the characters that were written as question marks; None where there were none."""
    if not _unwritable:
        return None
    names = " and ".join(sorted(_unwritable))
    _unwritable.clear()
    return (
        f"Some characters don't exist in the encoding {names}, and were written as question marks. Set another one, "
        "as by LC_ALL=C.UTF-8 or PYTHONIOENCODING=utf-8."
    )


def discard_unwritten() -> None:
    """Discard what can't be written to stdout and stderr, or Python tries again as it exits, and exits with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
