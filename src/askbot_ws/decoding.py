"""Decoding: text that was decoded by another encoding than it is in, as arguments, variables and stdin may be.

Bytes that are no text in the locale's encoding are lone surrogates in a `str`.
"""

from __future__ import annotations

import sys


def is_text(text: str) -> bool:
    """Return whether a string is text: it has no lone surrogates, which stand for bytes that were none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def recover_text(text: str, encoding: str | None = None) -> str:
    """Return a text as it is, but one with lone surrogates whose bytes are UTF-8 as those say.

    Args:
        text: It may still have lone surrogates then.
        encoding: By which it was decoded; by default that of arguments and of the environment.
    """
    if is_text(text):
        return text
    try:
        return text.encode(encoding or sys.getfilesystemencoding(), "surrogateescape").decode()
    except UnicodeError:
        return text
