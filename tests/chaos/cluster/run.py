"""One run: sessions talk through a balancer to three nodes while a schedule of faults is worked off."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from random import Random

from ..checking_client import CheckingClient
from ..final_checks import check_questions, check_replaced, check_servers, check_sessions, keep
from ..results import Results
from ..run import converse
from .backends import BACKENDS
from .environment import start_cluster
from .fault_injector import ClusterFaultInjector
from .faults import schedule


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """How much of it."""

    redis: str = "single"  # one of `BACKENDS`
    seconds: float = 600.0
    sessions: int = 30
    network: float = 19.0  # faults a second
    machine: float = 0.3


async def run_cluster(seed: int, plan: ClusterPlan) -> Results:
    """A whole run; returns its results."""
    chance, begun = Random(seed), time.monotonic()
    with BACKENDS[plan.redis]() as backend:
        results = Results(seed, store=f"Redis: {backend.name}")
        faults = schedule(
            seed,
            plan.seconds,
            network=plan.network,
            machine=plan.machine,
            redis={name: weight for name, (weight, _) in backend.faults.items()},
            links=backend.port is not None,
        )
        async with start_cluster(
            backend, on_fault=lambda place, kind: results.fault(f"network, {place}: {kind.value}")
        ) as made:
            clients = [
                CheckingClient(number, made.url, Random(chance.random()), results, may_lose=backend.may_lose)
                for number in range(plan.sessions)
            ]
            await converse(clients, results, begun, during=ClusterFaultInjector(made, clients, results).inject(faults))
            check_replaced(clients, results)
            await check_sessions(made.direct, clients, results)
            for node in made.nodes:
                node.process.signal(signal.SIGKILL)
                await node.process.ended(10)
            await made.up()
            await check_sessions(made.direct, clients, results)
            check_servers([node.process for node in made.nodes], made.faults_of_ours(), results)
            check_questions(made.record, clients, results)
            if results.broken:
                keep(made.folder, results, f"chaos-cluster-{plan.redis}")
    results.seconds = time.monotonic() - begun
    return results
