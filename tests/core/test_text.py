"""Text from outside: which questions are accepted, and that all text can be encoded and is no longer than allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.text import check_question, to_well_formed
from askbot_ws.errors import QuestionEmpty, QuestionTooLong

ANY = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates too


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("gpt-4.1-mini", 200, "gpt-4.1-mini"),
        ("m\ud800", 200, "m\ufffd"),
        ("\udc00m", 200, "\ufffdm"),
        ("\ud800\ud800m", 200, "\ufffd\ufffdm"),
        ("\udc00\ud800", 200, "\ufffd\ufffd"),
        ("\ud83d\ude00", 200, "\U0001f600"),
        ("\ufeffa\x00b\n", 200, "\ufeffa\x00b\n"),
        ("abc", 2, "ab"),
        ("\ud83d\ude00\ud83d\ude00\ud83d\ude00", 2, "\U0001f600\U0001f600"),
        ("한국어", 0, ""),
    ],
)
def test_a_text_becomes_well_formed(text: str, limit: int, expected: str) -> None:
    """Lone halves are replaced, pairs joined, the rest cut; nothing else changes."""
    assert to_well_formed(text, limit=limit) == expected


@given(ANY, st.integers(0, 50))
def test_whatever_comes_can_be_encoded_and_is_no_longer_than_allowed(text: str, limit: int) -> None:
    """In UTF-8, as all frames are."""
    made = to_well_formed(text, limit=limit)

    assert made.encode().decode() == made
    assert len(made) <= limit


@given(st.text(max_size=40))
def test_what_is_well_formed_stays_as_it_is(text: str) -> None:
    """Up to the limit."""
    assert to_well_formed(text, limit=40) == text
    assert to_well_formed(text, limit=7) == text[:7]


@given(ANY)
def test_making_it_well_formed_again_changes_nothing(text: str) -> None:
    """It may be done at more than one entrance."""
    once = to_well_formed(text, limit=30)

    assert to_well_formed(once, limit=30) == once


# --- questions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t ", "\u200b", "\u200d\u2060\ufeff", "\u00a0\u3000", "\u202e\x00", "\u2028"]
)
def test_a_question_in_which_nothing_can_be_seen_is_empty(text: str) -> None:
    """Spaces, controls, and characters without width."""
    with pytest.raises(QuestionEmpty):
        check_question(text, max_chars=10)


@pytest.mark.parametrize("text", ["?", " a ", "\u200b🙂", "é", "中", "👩\u200d🚀", "\U0001fae9", "\ue000"])
def test_whatever_can_be_seen_is_a_question(text: str) -> None:
    """Also a character that is newer than our tables, or a font's own."""
    check_question(text, max_chars=10)


@given(length=st.integers(1, 100), most=st.integers(0, 100))
def test_the_length_is_counted_in_code_points(length: int, most: int) -> None:
    """As everything on the wire; the message says both numbers."""
    if length <= most:
        check_question("🙂" * length, max_chars=most)
    else:
        with pytest.raises(QuestionTooLong, match=rf"{length} characters; {most} are"):
            check_question("🙂" * length, max_chars=most)
