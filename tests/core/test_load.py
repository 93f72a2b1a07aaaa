"""Load: samples in, levels out."""

from __future__ import annotations

import math

import pytest

from askbot_ws.core.load import MIN_LIMIT, AdaptiveLimit, LoadGauge, LoadLevel

N, H, V = LoadLevel.NORMAL, LoadLevel.HIGH, LoadLevel.VERY_HIGH


@pytest.mark.parametrize(
    ("samples", "levels"),
    [
        ([0.0, 9.0, 0.0, 9.0, 0.0, 9.0], [N, N, N, N, N, N]),  # pauses, one by one
        ([1.0, 1.1, 1.2, 0.9, 0.9, 0.9], [N, N, H, H, H, H]),  # just below the threshold it stays
        ([1.0, 1.0, 1.0, 0.4, 0.4, 0.4], [N, N, H, H, H, N]),
        ([1.0, 1.0, 1.0, 0.4, 0.6, 0.4, 0.4, 0.4], [N, N, H, H, H, H, H, N]),
        ([3.0, 3.0, 3.0, 1.5, 1.5, 1.5], [N, N, V, V, V, V]),
        ([3.0, 3.0, 3.0, 0.9, 0.9, 0.9], [N, N, V, V, V, H]),  # down by one level
        ([3.0, 3.0, 3.0, 0.1, 0.1, 0.1], [N, N, V, V, V, N]),
        ([0.1, 0.1, 5.0, 5.0, 5.0], [N, N, N, N, V]),
    ],
)
def test_levels_follow_what_lasts(samples: list[float], levels: list[LoadLevel]) -> None:
    """Up with the lowest of three samples, down with the highest, with room in between."""
    gauge = LoadGauge(1.0)

    assert [gauge.update(sample) for sample in samples] == levels


def test_what_has_no_threshold_is_no_load() -> None:
    """Also where it had one before."""
    gauge = LoadGauge(1.0)
    for _ in range(3):
        gauge.update(5.0)
    gauge.threshold = None

    assert gauge.update(5.0) is N


def test_memory_has_its_own_distances() -> None:
    """Twice the threshold is never reached, and half of it never again."""
    gauge = LoadGauge(100.0, hard=1.05, recovery=0.95)

    assert [gauge.update(sample) for sample in (101, 101, 101, 96, 96, 96, 94, 94, 94)][-4:] == [H, H, H, N]
    assert [gauge.update(106) for _ in range(3)][-1] is V


def test_a_limit_of_turns_is_found_where_the_lag_begins() -> None:
    """Of a server that takes 500: none at first, near them soon, and near them for as long as too many come."""
    limit, running, most = AdaptiveLimit(0.04), 0, list[int]()
    for _ in range(2000):
        running = min(running + 100, max(running - 25, int(min(limit.limit, 10_000))))  # answers end, many begin
        limit.update(0.02 if running < 400 else 0.04 * running / 500, running=running)
        most.append(running)

    assert max(most) > 600
    assert 400 < min(most[200:]) <= max(most[200:]) < 600


def test_some_dozens_of_answers_are_never_too_many() -> None:
    """A loop that is late with so few is late for another reason: the machine has other work, or it has just begun."""
    limit = AdaptiveLimit(0.04)

    assert all(limit.update(9.0, running=running) == math.inf for running in range(MIN_LIMIT))


def test_a_pause_or_a_quiet_hour_changes_no_limit() -> None:
    """It falls after three late samples only, not below what always runs, and does not grow without need."""
    limit = AdaptiveLimit(0.04)
    assert [limit.update(lag, running=1000) for lag in (9.0, 9.0, 0.0, 9.0, 9.0, 0.0)] == [math.inf] * 6
    assert [limit.update(0.041, running=1000) for _ in range(3)][-1] == 900
    for _ in range(10_000):
        limit.update(0.0, running=100)
    assert limit.limit == 900
    assert [limit.update(9.0, running=901) for _ in range(10)][-1] == 900  # those that are too many have yet to end
    assert [limit.update(9.0, running=900) for _ in range(3)][-1] == 450  # the longer the lag, the fewer
    for _ in range(200):
        limit.update(9.0, running=3)  # the machine has other work
    assert limit.limit == 450
    for _ in range(20):
        limit.update(9.0, running=int(limit.limit))
    assert limit.limit == MIN_LIMIT
    limit.target = None
    assert limit.update(9.0, running=3) == math.inf
