"""Cursors: resuming, and where a replay begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.cursor import Cursor, can_resume, replay_start
from askbot_ws.events import TurnRecord


def record(from_: int, seq: int) -> TurnRecord:
    return TurnRecord(turn=f"t{from_ + 1}", text="why?", created=0.0, answer="", from_=from_, seq=seq)


def test_a_cursor_passes_what_comes_next_and_nothing_else() -> None:
    """No gap, no overlap."""
    cursor = Cursor(5)

    assert not cursor.advance(4, 7)
    assert not cursor.advance(6, 7)
    assert (cursor.seq, cursor.lag(7)) == (5, 2)
    assert cursor.advance(5, 7)
    assert (cursor.seq, cursor.lag(7)) == (7, 0)


@pytest.mark.parametrize(
    ("after", "head", "resumed"), [(None, 5, False), (0, 0, True), (0, 5, True), (5, 5, True), (6, 5, False)]
)
def test_a_reader_resumes_where_the_log_has_its_place(after: int | None, head: int, resumed: bool) -> None:  # noqa: FBT001
    """One from beyond the head has another log in mind."""
    assert can_resume(after, head=head) is resumed


def test_an_empty_log_is_replayed_from_its_beginning() -> None:
    """There is nothing to leave out."""
    assert replay_start([], count=50) == 0


def test_the_newest_turns_are_replayed() -> None:
    """As many as were wanted, or all there are."""
    turns = [record(10 * n, 10 * n + 10) for n in range(5)]

    assert [replay_start(turns, count=count) for count in (1, 2, 5, 50)] == [40, 30, 0, 0]


def test_a_turn_that_reaches_into_the_first_is_replayed_too() -> None:
    """Also where shorter ones stand between: slices without their question say nothing."""
    running = record(10, 100)
    cancelled = [record(10 * n, 10 * n + 5) for n in range(2, 7)]

    assert replay_start([record(0, 10), running, *cancelled], count=2) == 10


@given(data=st.data(), count=st.integers(1, 5))
def test_no_slice_is_replayed_without_its_question(data: st.DataObject, count: int) -> None:
    """However turns overlap: every turn that has anything after the place has its question there."""
    places = sorted(data.draw(st.sets(st.integers(0, 50), min_size=1)))
    turns = [record(place, place + data.draw(st.integers(1, 30))) for place in places]

    place = replay_start(turns, count=count)

    assert all(turn.from_ >= place for turn in turns if turn.seq > place)
    assert sum(turn.from_ >= place for turn in turns) >= min(count, len(turns))
