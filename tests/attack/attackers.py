"""Attackers: a process that attacks a server for some seconds, and prints what it has found.

python -m tests.attack.attackers SEED SECONDS < target.json
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from . import connection_floods, frame_attacks, handshake_attacks, http_attacks
from .attacker import Attacker
from .target import Target

Attack: TypeAlias = Callable[[Attacker], Awaitable[None]]

QUICK: Sequence[Attack] = (
    http_attacks.smuggle,
    http_attacks.send_malformed,
    http_attacks.send_noise,
    http_attacks.traverse,
    http_attacks.name_other_hosts,
    http_attacks.send_much,
    http_attacks.pipeline,
    http_attacks.use_routes,
    handshake_attacks.invent_credentials,
    handshake_attacks.spend_twice,
    handshake_attacks.guess_sessions,
    handshake_attacks.leave_anywhere,
    frame_attacks.break_the_protocol,
    frame_attacks.send_documents,
    frame_attacks.send_any_frames,
    frame_attacks.send_noise_frames,
    frame_attacks.attach_many,
    frame_attacks.flood_pings,
    frame_attacks.ask_much,
    connection_floods.come_and_go,
)
SLOW: Sequence[Attack] = (http_attacks.drip, frame_attacks.never_read, connection_floods.connect_much)
QUICK_WORKERS, SLOW_WORKERS = 24, 12
LONGEST = 90.0  # seconds that one attack may take
MOST_FINDINGS = 20


class Attackers:
    """Workers, each with a seed of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.counts: Counter[str] = Counter()
        self.refused = 0  # connections that were not made, or broke off
        self.findings: list[str] = []

    async def attack(self, seed: int, seconds: float) -> None:
        """Attack for so long; what is not over then is broken off."""
        kinds = [QUICK] * QUICK_WORKERS + [SLOW] * SLOW_WORKERS
        workers = [
            asyncio.create_task(self._work(Attacker(self._target, random.Random(f"{seed} {number}")), attacks))
            for number, attacks in enumerate(kinds)
        ]
        await asyncio.sleep(seconds)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

    async def _work(self, attacker: Attacker, attacks: Sequence[Attack]) -> None:
        """One attack after the other: all of them, in an order that is drawn, and again."""
        while len(self.findings) < MOST_FINDINGS:
            for attack in attacker.chance.sample(attacks, len(attacks)):
                await self._do(attacker, attack)

    async def _do(self, attacker: Attacker, attack: Attack) -> None:
        name = getattr(attack, "__name__", "?")
        self.counts[name] += 1
        try:
            async with asyncio.timeout(LONGEST):
                await attack(attacker)
        except (OSError, TimeoutError):  # the server ends connections as it likes
            self.refused += 1
            await asyncio.sleep(0.01)
        except Exception as error:  # noqa: BLE001 - a broken promise, or a fault of the attack, which must not hide one
            trace = "".join(traceback.format_exception(error)[-2:])
            self.findings.append(f"{name}: {error!r} {trace[-600:]}")


def main() -> int:
    """Attack, and print the outcome as JSON."""
    seed, seconds = int(sys.argv[1]), float(sys.argv[2])
    with suppress(OSError):
        os.nice(10)  # they are other machines: they take no time from the server's
    attackers = Attackers(Target.load(sys.stdin.read()))
    begun = time.monotonic()
    asyncio.run(attackers.attack(seed, seconds))
    outcome = {"counts": attackers.counts, "refused": attackers.refused, "findings": attackers.findings}
    print(json.dumps(outcome | {"seconds": time.monotonic() - begun}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
