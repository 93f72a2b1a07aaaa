"""A cluster under chaos: the short form of `make chaos-cluster`, with a seed that is known."""

from __future__ import annotations

import pytest

from ...seeds import CHOSEN
from ..results import PROMISES
from .faults import OWNER_CUT_OFF, OWNER_KILLED, OWNER_STOPPED, schedule
from .run import ClusterPlan, run_cluster

SEED = 1  # an owner is stopped, another one killed, Redis killed


@pytest.mark.timeout(150)
async def test_nothing_is_lost_or_doubled_or_stuck_between_nodes_whatever_happens() -> None:
    """Nodes are killed, stopped and cut off where they write answers, Redis is killed, clients come back anywhere."""
    plan = ClusterPlan(seconds=8.0, sessions=6, network=10, machine=0.6)
    results = await run_cluster(SEED if CHOSEN is None else CHOSEN, plan)
    print(results.table())

    assert {promise: results.count(promise) for promise in PROMISES} == dict.fromkeys(PROMISES, 0), results.broken
    assert results.faults.total() > 3 * plan.seconds
    assert results.turns > plan.seconds


def test_a_seed_makes_the_schedule() -> None:
    """It depends on nothing but its arguments; faults of links come only where there are links."""
    made = [
        schedule(7, 300, network=19, machine=0.3, redis={"Redis killed": 10}, links=links)
        for links in (True, True, False)
    ]

    assert made[0] == made[1]
    names = [{fault.name for fault in each} for each in made]
    assert {OWNER_KILLED, OWNER_STOPPED, OWNER_CUT_OFF, "Redis killed", "Redis"} <= names[0]
    assert not {OWNER_CUT_OFF, "Redis"} & names[2]
    assert len(made[0]) > 5000
