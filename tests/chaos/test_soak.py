"""Mixed traffic for a while, in which nothing grows: two minutes of it here, an hour by `make soak`."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ..seeds import seed
from .soak import MIB, Sample, report, soak, trends

SECONDS = float(os.environ.get("ASKBOT_SOAK_SECONDS", "120"))


@pytest.mark.timeout(SECONDS + 120)
async def test_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, file descriptors, threads, connections, database and journal; and what left the memory comes back."""
    results, samples = await soak(SECONDS, seed=seed(1))
    print(report(samples))

    assert results.broken == []
    assert results.turns > SECONDS / 2


FLAT = [Sample(float(at), 60 * MIB, 50 * MIB, 30, 5, 12, 4 * MIB, MIB) for at in range(100)]


@pytest.mark.parametrize(
    ("samples", "after", "finding"),
    [
        (FLAT, FLAT[0], None),
        ([replace(one, rss=one.rss + int(one.at) * MIB // 4) for one in FLAT], FLAT[0], "RSS grows"),
        ([replace(one, database=one.database + int(one.at) * MIB // 8) for one in FLAT], FLAT[0], "database grows"),
        ([replace(one, journal=160 * MIB) for one in FLAT], FLAT[0], "the journal has"),
        (FLAT, replace(FLAT[0], fds=40), "not given back"),
    ],
)
def test_what_grows_is_found(samples: list[Sample], after: Sample, finding: str | None) -> None:
    """Or a soak without findings would say nothing."""
    found = trends(samples, FLAT[0], after)

    assert [finding in one for one in found] == ([True] if finding else []) if finding else found == []
