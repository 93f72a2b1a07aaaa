"""The guard: what may be asked at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.guard import check
from askbot_ws.errors import QuestionEmpty, QuestionTooLong


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t ", "\u200b", "\u200d\u2060\ufeff", "\u00a0\u3000", "\u202e\x00", "\u2028"]
)
def test_a_question_in_which_nothing_can_be_seen_is_empty(text: str) -> None:
    """Spaces, controls, and characters without width."""
    with pytest.raises(QuestionEmpty):
        check(text, max_chars=10)


@pytest.mark.parametrize("text", ["?", " a ", "\u200b🙂", "é", "中", "👩\u200d🚀", "\U0001fae9", "\ue000"])
def test_whatever_can_be_seen_is_a_question(text: str) -> None:
    """Also a character that is newer than our tables, or a font's own."""
    check(text, max_chars=10)


@given(length=st.integers(1, 100), most=st.integers(0, 100))
def test_the_length_is_counted_in_code_points(length: int, most: int) -> None:
    """As everything on the wire; the message says both numbers."""
    if length <= most:
        check("🙂" * length, max_chars=most)
    else:
        with pytest.raises(QuestionTooLong, match=rf"{length} characters; {most} are"):
            check("🙂" * length, max_chars=most)
