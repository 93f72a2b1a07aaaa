"""One run: sessions talk while a schedule of faults is worked off, then everything is held to the promises."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from random import Random

from .checking_client import BOUND, CheckingClient
from .environment import start_environment
from .fault_injector import FaultInjector
from .faults import schedule
from .final_checks import check_questions, check_replaced, check_servers, check_sessions, keep
from .results import Results

FLAGS = ("--drain", "3s", "--heartbeat", "1s", "--reader-timeout", "6s", "--memory", "100KiB")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    seconds: float = 600.0
    sessions: int = 40
    network: float = 19.0  # faults a second
    machine: float = 0.25
    model: bool = False  # the embedded model answers, and is killed too


async def run(seed: int, plan: Plan) -> Results:
    """A whole run; returns its results."""
    results, chance, begun = Results(seed), Random(seed), time.monotonic()
    faults = schedule(seed, plan.seconds, network=plan.network, machine=plan.machine, model=plan.model)
    async with start_environment(
        on_front=lambda kind: results.fault(f"network, clients: {kind.value}"),
        on_back=lambda kind: results.fault(f"network, provider: {kind.value}"),
        model=plan.model,
        flags=FLAGS,
    ) as made:
        clients = [
            CheckingClient(number, made.url, Random(chance.random()), results, model=plan.model)
            for number in range(plan.sessions)
        ]
        await converse(clients, results, begun, during=FaultInjector(made, results).inject(faults))
        await check_sessions(made.direct, clients, results)
        made.server.signal(signal.SIGKILL)
        await made.server.ended(10)
        await made.up()
        await check_sessions(made.direct, clients, results)
        check_replaced(clients, results)
        check_servers([made.server], made.faults_of_ours(), results)
        check_questions(made.record, clients, results)
        if results.broken:
            keep(made.folder, results)
    results.seconds = time.monotonic() - begun
    return results


async def converse(
    clients: Sequence[CheckingClient], results: Results, begun: float, *, during: Awaitable[None]
) -> None:
    """Let clients talk while faults are caused, and finish what they have begun afterwards."""
    talking = [asyncio.create_task(one.run(readers=2 if one.number % 3 == 0 else 1)) for one in clients]
    watching = asyncio.create_task(tell(results, begun))
    try:
        await during
        for one in clients:
            one.finish = True
        await asyncio.wait_for(asyncio.gather(*talking), 3 * BOUND)
    finally:
        watching.cancel()
        for task in talking:
            task.cancel()


async def tell(results: Results, begun: float) -> None:
    """Print, now and then, how far the run is."""
    while True:
        await asyncio.sleep(30)
        print(f"{time.monotonic() - begun:4.0f} s, {results.faults.total()} faults", flush=True)
