"""Text that comes from elsewhere."""

from __future__ import annotations

import re

HALF = re.compile("[\ud800-\udfff]")


def well_formed(text: str, *, limit: int) -> str:
    """The first `limit` code points, with U+FFFD for each half of a surrogate pair: UTF-8 can't say those."""
    text = text[:limit]
    return text if text.isascii() else HALF.sub("\ufffd", text)
