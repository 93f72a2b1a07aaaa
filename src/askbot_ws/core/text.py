"""Text from outside, made fit for the log: what is well-formed can be encoded, what is capped can be sent."""

from __future__ import annotations

import re

HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: UTF-8 can't say it


def well_formed(text: str, *, limit: int) -> str:
    """At most `limit` code points of a text, as Unicode that UTF-8 can say; nothing else is left out.

    A lone surrogate becomes U+FFFD, the two halves of a pair the code point that they stand for. Never raises.
    """
    text = text[: 2 * limit]  # two halves are one code point
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text[:limit]
