"""Buckets: arithmetic on a given time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.core.limits import LoopPauseController, TokenBucket

rates = st.floats(0.01, 1000)
bursts = st.integers(1, 50)
pauses = st.lists(st.floats(0, 10), min_size=1, max_size=100)


@given(rate=rates, burst=bursts, pauses=pauses)
def test_never_more_is_taken_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    """In any stretch of time, whoever hammers and however."""
    bucket = TokenBucket(rate=rate, burst=burst)
    now, taken = 0.0, list[float]()
    for pause in pauses:
        now += pause
        if bucket.acquire(now=now) == 0:
            taken.append(now)

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-6


@given(rate=rates, burst=bursts, now=st.floats(0, 1e9))
def test_the_burst_is_there_at_once_and_then_one_waits(rate: float, burst: int, now: float) -> None:
    """It begins empty, whatever the clock says."""
    bucket = TokenBucket(rate=rate, burst=burst)

    assert [bucket.acquire(now=now) for _ in range(burst)] == [0.0] * burst
    assert bucket.acquire(now=now) == pytest.approx(1 / rate)


@given(rate=rates, burst=bursts, pauses=pauses)
def test_whoever_waits_as_told_is_let_in(rate: float, burst: int, pauses: list[float]) -> None:
    """And being refused costs nothing."""
    bucket = TokenBucket(rate=rate, burst=burst)
    now = 0.0
    for pause in pauses:
        now += pause
        wait = bucket.acquire(now=now)
        assert wait >= 0
        if wait > 0:
            assert bucket.acquire(now=now) == pytest.approx(wait)
            now += wait + 1e-6
            assert bucket.acquire(now=now) == 0


def test_a_full_bucket_drains_with_time() -> None:
    """One more each second, and no more than the burst, however long one waits."""
    bucket = TokenBucket(rate=1, burst=2)
    times = [0, 0, 0, 1, 1, 100, 100, 100]

    assert [bucket.acquire(now=now) == 0 for now in times] == [True, True, False, True, False, True, True, False]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.85])
def test_a_loop_that_has_time_never_pauses(share: float) -> None:
    """A pause of it would give latency away, and save nothing that anybody lacks."""
    pause = LoopPauseController(max_seconds=0.02)

    assert [pause.update(used_seconds=share * 0.1, available_seconds=0.1) for _ in range(50)] == [0.0] * 50


def test_a_pause_grows_with_what_is_missing_up_to_its_limit() -> None:
    """And is gone soon after the load is."""
    little, much = LoopPauseController(max_seconds=0.02), LoopPauseController(max_seconds=0.02)
    for _ in range(3):
        assert (
            0
            < little.update(used_seconds=0.09, available_seconds=0.1)
            < much.update(used_seconds=0.1, available_seconds=0.1)
            <= 0.02
        )
    for _ in range(20):
        much.update(used_seconds=0.1, available_seconds=0.1)
    assert much.seconds == 0.02

    assert [round(much.update(used_seconds=0.01, available_seconds=0.1), 4) for _ in range(3)] == [0.005, 0.0, 0.0]


def test_a_loop_that_may_have_nothing_at_all_is_out_of_it() -> None:
    """Where other threads take the whole quota."""
    assert LoopPauseController(max_seconds=0.02).update(used_seconds=0.0, available_seconds=0.0) > 0
