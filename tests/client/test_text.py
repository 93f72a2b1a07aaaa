"""Text: as `+=` would make it."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.client.text import Text


@given(start=st.text(), steps=st.lists(st.one_of(st.text(), st.sampled_from([str, Text.take])), max_size=200))
def test_it_is_what_was_added(start: str, steps: list[object]) -> None:
    """However small the pieces are, and whenever somebody looks or takes it."""
    text, wanted = Text(start), start
    for step in steps:
        if isinstance(step, str):
            text.add(step)
            wanted += step
        else:
            assert (str(text) if step is str else text.take()) == wanted
            wanted = wanted if step is str else ""
        assert text.size == len(wanted)

    assert str(text) == wanted


def test_small_pieces_cost_little_more_than_their_text() -> None:
    """Each would be an object of 50 bytes and more."""
    text = Text()
    tracemalloc.start()
    for number in range(50_000):
        text.add(f"{number % 100:02}")
    cost, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert text.size == 100_000
    assert cost < 200_000
