"""Language: which of those that there are a reader would like best (RFC 9110 §12.5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

PART = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=\s*([01](?:\.\d{0,3})?)\s*)?"
)  # as in "ko-KR;q=0.8"


def preferred(accepted: str, offered: Sequence[str]) -> str:
    """Of the offered languages the best liked; the first of them for who likes none, or says it in no way we know."""
    liking = {name: weight for weight, name in sorted(_wishes(accepted), key=lambda wish: wish[0])}
    best = max(offered, key=lambda name: liking.get(name, 0.0))  # the first of equals
    return best if liking.get(best) else offered[0]


def _wishes(accepted: str) -> Iterator[tuple[float, str]]:
    for part in accepted.split(","):
        if wish := PART.fullmatch(part):
            yield float(wish[2] or 1), wish[1].lower()
