"""Load: samples in, levels out."""

from __future__ import annotations

import pytest

from askbot_ws.core.load import Gauge, LoadLevel

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
    gauge = Gauge(1.0)

    assert [gauge.update(sample) for sample in samples] == levels


def test_what_has_no_threshold_is_no_load() -> None:
    """Also where it had one before."""
    gauge = Gauge(1.0)
    for _ in range(3):
        gauge.update(5.0)
    gauge.threshold = None

    assert gauge.update(5.0) is N


def test_memory_has_its_own_distances() -> None:
    """Twice the threshold is never reached, and half of it never again."""
    gauge = Gauge(100.0, hard=1.05, recovery=0.95)

    assert [gauge.update(sample) for sample in (101, 101, 101, 96, 96, 96, 94, 94, 94)][-4:] == [H, H, H, N]
    assert [gauge.update(106) for _ in range(3)][-1] is V
