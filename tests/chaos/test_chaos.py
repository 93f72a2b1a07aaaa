"""Everything at once, at random: the short form of `make chaos`."""

from __future__ import annotations

import random

import pytest

from .ledger import PROMISES
from .run import Plan, run


@pytest.mark.timeout(200)
async def test_nothing_is_lost_or_doubled_or_stuck_whatever_happens() -> None:
    """Some hundred faults of all kinds; `python -m tests.chaos --seed N` repeats the schedule of a longer run."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    ledger = await run(seed, Plan(seconds=25, sessions=12, network=14, machine=0.8))
    print(ledger.table())

    assert {promise: ledger.count(promise) for promise in PROMISES} == dict.fromkeys(PROMISES, 0), ledger.broken
    assert ledger.faults.total() > 150
    assert ledger.turns > 20
