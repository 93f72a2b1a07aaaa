"""Titles: what is made of a model's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.guard import refusal
from askbot_ws.core.text import has_control_characters
from askbot_ws.core.title import MAX_MODEL_TITLE_CHARS, clean_title, title_prompt


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Why the sky is blue", "Why the sky is blue"),
        ('"Why the sky is blue."\n', "Why the sky is blue"),
        ("„Der blaue Himmel“", "Der blaue Himmel"),
        ("「空はなぜ青い」", "空はなぜ青い"),
        ("Title: **The blue sky**", "The blue sky"),
        ("# Title\n\nThe blue sky\n\nIt is about light.", "The blue sky"),
        ("Newton's rings", "Newton's rings"),
        ("Is it blue?", "Is it blue?"),
        ("a\x1b[31mb\x07c", "a [31mb c"),
        ("", ""),
        ("\n\"'`\n", ""),
        ("word " * 30, ("word " * 16).strip()),
        ("x" * 200, "x" * 80),
    ],
)
def test_a_title_is_what_the_model_said_without_its_ornaments(said: str, title: str) -> None:
    """Quotation marks, Markdown, a label, a sentence behind it."""
    assert clean_title(said) == title


@given(st.text())
def test_whatever_a_model_says_is_no_title_or_one_that_lists_can_show(said: str) -> None:
    """One line of at most 80 characters, which can be encoded."""
    title = clean_title(said)

    assert len(title) <= MAX_MODEL_TITLE_CHARS
    assert not has_control_characters(title)
    assert title.encode().decode().strip() == title


def test_the_request_for_a_title_passes_the_guard_and_stays_small() -> None:
    """The guard stands before every upstream; a long conversation is not paid for again."""
    prompt = title_prompt("x" * 100_000, "y" * 100_000)

    assert refusal(prompt.messages[-1].text, follows=True) is None
    assert prompt.size < 10_000
    assert (prompt.options.max_tokens or 0) < 100
