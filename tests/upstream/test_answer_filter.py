"""The filter of a small model's answers: without a copied prefix, and ended where they repeat themselves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.upstream.answer_filter import AnswerFilter


def passed(*pieces: str, prefix: str = "A:") -> tuple[str, bool]:
    """What is passed on of these pieces, and whether they repeat."""
    texts, calls = list[str](), list[bool]()
    answer = AnswerFilter(texts.append, prefix=prefix)
    answer.on_repeat = lambda: calls.append(True)
    for piece in pieces:
        answer(piece)
    answer.finish()
    assert answer.has_text == bool(texts)
    assert len(calls) == int(answer.repeats)
    return "".join(texts), answer.repeats


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A: Paris.", "Paris."),
        (" A:\n Paris.", "Paris."),
        ("A cat.", "A cat."),
        ("A", "A"),
        ("A:", ""),
        (" Paris A: 1", " Paris A: 1"),
        ("", ""),
    ],
)
@given(data=st.data())
def test_the_prefix_of_the_examples_is_removed(text: str, left: str, data: st.DataObject) -> None:
    """At the beginning, however the answer is cut into pieces."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})

    assert passed(*(text[a:b] for a, b in pairwise(cuts))) == (left, False)


def test_without_a_prefix_every_piece_is_passed_on_at_once() -> None:
    """A larger model may begin an answer so."""
    texts: list[str] = []
    AnswerFilter(texts.append)("A")

    assert texts == ["A"]


@pytest.mark.parametrize(
    "text",
    [
        "no way\nno way\nno way\nno way\n",
        "first\n\nagain\n\nagain\n\nagain\n",
        "1. The sky.\n2. The sky.\n3. The sky.\n",
        "one\ntwo\none\ntwo\none\ntwo\n",
    ],
)
def test_a_block_of_lines_that_comes_three_times_in_a_row_ends_the_answer(text: str) -> None:
    """One line or a few, numbered or not, with blank lines between them or not."""
    shown, repeats = passed(*text, "and on")

    assert repeats
    assert text.startswith(shown)
    assert "and on" not in shown


@given(size=st.integers(1, 9))
def test_of_a_small_model_a_sentence_that_comes_a_third_time_ends_the_answer(size: int) -> None:
    """Wherever it comes; short ones may."""
    text = "The Moon orbits. It is big. Oh yes. 1. A star. The moon orbits. Oh yes. The moon orbits. Oh yes. And on. "
    texts: list[str] = []
    answer = AnswerFilter(texts.append, sentences=True)

    for at in range(0, len(text), size):
        answer(text[at : at + size])

    assert answer.repeats
    shown = "".join(texts)
    assert "The moon orbits. Oh yes. The moon orbits." in shown
    assert "And on" not in shown


def test_what_comes_in_one_piece_with_the_repetition_is_dropped() -> None:
    """However the model's words were cut on their way."""
    texts: list[str] = []
    answer = AnswerFilter(texts.append)

    answer("No.\nNo.\nNo.\nAnd on.\n")

    assert answer.repeats
    assert "".join(texts) == "No.\nNo.\nNo.\n"


@pytest.mark.parametrize(
    "text",
    [
        "You ask for help. You ask for a gift. You ask for a toy. You ask for a doll. You ask for a bear. And on. ",
        "A moment of joy,\nA moment of peace,\nA moment of love,\nA moment of rest,\nA moment of awe,\nAnd on,\n",
        "I'm sorry, I'm sorry, I'm just sorry, I'm sorry, sorry, I'm sorry, I'm sorry. And on. ",
    ],
)
def test_an_answer_whose_clauses_begin_alike_ends(text: str) -> None:
    """So a small model goes on without end, with other words behind them."""
    texts: list[str] = []
    answer = AnswerFilter(texts.append, sentences=True)

    for point in text:
        answer(point)

    assert answer.repeats
    assert "And on" not in "".join(texts)


@pytest.mark.parametrize(
    "text",
    [
        "yes\nyes\nno\nyes\nyes\n",
        "        }\n    }\n}\n",
        "| --- |\n---\n---\n---\n---\n",
        "a\nb\nc\na\nb\nd\na\nb\ne\n",
        "\n\n\n\n\n",
    ],
)
def test_lines_that_come_again_elsewhere_do_not(text: str) -> None:
    """A refrain, the ends of nested blocks of code, rules."""
    assert passed(*text, "and on") == (text + "and on", False)
