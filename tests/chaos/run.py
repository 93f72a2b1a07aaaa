"""One run: sessions talk while a schedule of faults is worked off, then everything is held to the promises."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from random import Random

from .faults import schedule
from .judge import judge, keep, reread
from .ledger import Ledger
from .talker import BOUND, Talker
from .world import world
from .wreak import Chaos

FLAGS = ("--drain", "3s", "--heartbeat", "1s", "--reader-timeout", "6s", "--memory", "100KiB")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    seconds: float = 600.0
    sessions: int = 40
    network: float = 19.0  # faults a second
    machine: float = 0.25
    model: bool = False  # the embedded model answers, and is killed too


async def run(seed: int, plan: Plan) -> Ledger:
    """A whole run; the ledger says how it went."""
    ledger, chance, begun = Ledger(seed), Random(seed), time.monotonic()
    faults = schedule(seed, plan.seconds, network=plan.network, machine=plan.machine, model=plan.model)
    async with world(
        on_front=lambda kind: ledger.fault(f"network, clients: {kind.value}"),
        on_back=lambda kind: ledger.fault(f"network, provider: {kind.value}"),
        model=plan.model,
        flags=FLAGS,
    ) as made:
        talkers = [
            Talker(number, made.url, Random(chance.random()), ledger, model=plan.model)
            for number in range(plan.sessions)
        ]
        talking = [asyncio.create_task(one.run(readers=2 if one.number % 3 == 0 else 1)) for one in talkers]
        watching = asyncio.create_task(_tell(ledger, begun))
        try:
            await Chaos(made, ledger).wreak(faults)
            for one in talkers:
                one.finish = True
            await asyncio.wait_for(asyncio.gather(*talking), 3 * BOUND)
        finally:
            watching.cancel()
            for task in talking:
                task.cancel()
        await reread(made, talkers, ledger)
        made.server.signal(signal.SIGKILL)
        await made.server.ended(10)
        await made.up()
        await reread(made, talkers, ledger)
        judge(made, talkers, ledger)
        if ledger.broken:
            keep(made, ledger)
    ledger.seconds = time.monotonic() - begun
    return ledger


async def _tell(ledger: Ledger, begun: float) -> None:
    while True:
        await asyncio.sleep(30)
        print(f"{time.monotonic() - begun:4.0f} s, {ledger.faults.total()} faults", flush=True)
