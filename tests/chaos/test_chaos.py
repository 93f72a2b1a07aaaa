"""Everything at once: the short form of `make chaos`, with seeds that are known."""

from __future__ import annotations

import pytest

from ..seeds import CHOSEN
from .results import PROMISES
from .run import Plan, run

# Their schedules have every kind of fault between them. In the first, a file-size limit is met while questions wait.
FIXED = [(1128278779, 25.0), (199, 8.0)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("seed", "seconds"), FIXED if CHOSEN is None else [(CHOSEN, 25.0)])
async def test_nothing_is_lost_or_doubled_or_stuck_whatever_happens(seed: int, seconds: float) -> None:
    """Some hundred faults of all kinds; `python -m tests.chaos --seed N` repeats the schedule of a longer run."""
    results = await run(seed, Plan(seconds=seconds, sessions=12, network=14, machine=0.8))
    print(results.table())

    assert {promise: results.count(promise) for promise in PROMISES} == dict.fromkeys(PROMISES, 0), results.broken
    assert results.faults.total() > 6 * seconds
    assert results.turns > 0.8 * seconds
