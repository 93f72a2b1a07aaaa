"""Guard: what may be asked at all, before a model is troubled."""

from __future__ import annotations

import unicodedata

from ..errors import QuestionEmpty, QuestionTooLong

INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # not Cn: an emoji newer than our tables can be seen


def check(text: str, *, max_chars: int) -> None:
    """Let a question pass. Raises `QuestionEmpty` where nothing in it can be seen, `QuestionTooLong`."""
    if len(text) > max_chars:
        raise QuestionTooLong(f"The question has {len(text)} characters; {max_chars} are the most.")
    if all(unicodedata.category(char) in INVISIBLE for char in text):
        raise QuestionEmpty
