"""Run: attacks servers of all plans, one after the other."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..process import ROOT, SAID, Json, environment, provider_process
from .final_checks import MB, MORE_FDS, Size, check_log, check_measured, check_sizes, measure, settle
from .honest_user import HonestUser, Measured
from .target import HONEST, PLANS, Attacked, attacked_server, new_canary

WARM_UP = 0.25  # of the time; memory that grows later is growth
DEVICES = 2  # of each honest user
SETTLE_SECONDS = 45.0  # until an attack's connections are gone: longer than a client may read nothing


@dataclass
class Outcome:
    """What came of an attack on one server."""

    plan: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter[str])  # attacks, by name
    findings: list[str] = field(default_factory=list[str])
    measured: Measured = field(default_factory=Measured)
    sizes: list[Size] = field(default_factory=list[Size])

    def __str__(self) -> str:
        first, trip = self.measured.at(0.99)
        sizes = " MB, ".join(f"{size.memory / MB:.1f}" for size in self.sizes)
        times = f"p99 of first tokens {first:.3f} s, of round trips {trip:.3f} s"
        lines = [
            f"{self.plan}, seed {self.seed}: {self.counts.total():,} attacks: {dict(sorted(self.counts.items()))}",
            f"  {len(self.measured.first_tokens):,} honest answers, {times}; refused: {dict(self.measured.busy)}",
            f"  memory after warm-up and at the end: {sizes} MB",
            *(f"  FOUND: {finding}" for finding in self.findings),
        ]
        return "\n".join(lines)


async def attack_all(seconds: float, *, seed: int, plans: Sequence[str] = tuple(PLANS)) -> list[Outcome]:
    """Attack a server of each plan, for so many seconds in all."""
    outcomes = list[Outcome]()
    for plan in plans:
        with tempfile.TemporaryDirectory(prefix="askbot-attack-") as folder:
            outcome = await attack(Path(folder), plan, seconds / len(plans), seed=seed)
        print(outcome, flush=True)
        outcomes.append(outcome)
    return outcomes


async def attack(folder: Path, plan: str, seconds: float, *, seed: int) -> Outcome:
    """Attack one server; it is stopped at the end, and its log is searched."""
    outcome = Outcome(plan, seed)
    canaries = tuple(new_canary() for _ in HONEST)
    with provider_process() as provider, attacked_server(folder / "server", plan, upstream=provider.url) as attacked:
        server = attacked.server
        pid = server.process.pid
        first = measure(pid)
        for number, (part, length) in enumerate((("warm-up", seconds * WARM_UP), ("attack", seconds * (1 - WARM_UP)))):
            await _attack_for(attacked, outcome, canaries, length, seed=seed * 2 + number)
            if server.process.poll() is not None:
                outcome.findings.append(f"the server ended during the {part} with {server.process.returncode}")
                break
            most = outcome.sizes[0].fds if outcome.sizes else first.fds + MORE_FDS
            outcome.sizes.append(settle(pid, fds=most, seconds=SETTLE_SECONDS))
        else:
            outcome.findings += check_sizes(*outcome.sizes)
            await _drain(attacked, outcome)
        SAID.pop(server.url, None)
        outcome.findings += check_measured(outcome.measured)
        secrets = (*attacked.secrets, *canaries, *outcome.measured.sessions)
        outcome.findings += check_log(server.log, secrets)
    return outcome


async def _attack_for(
    attacked: Attacked, outcome: Outcome, canaries: Sequence[str], seconds: float, *, seed: int
) -> None:
    """Let honest users talk and attackers attack; all of them are gone when it returns."""
    users = [
        HonestUser(attacked, name, canary, outcome.measured, random.Random(f"{seed} {name} {device}"))
        for name, canary in zip(HONEST, canaries, strict=True)
        for device in range(DEVICES)
    ]
    tasks = [asyncio.create_task(user.converse()) for user in users]
    async with asyncio.timeout(20):
        while len(outcome.measured.sessions) < len(users):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    known = random.Random(seed).sample(sorted(outcome.measured.sessions), len(users))
    target = attacked.target(tuple(known), tuple(canaries))
    attackers = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.attack.attackers", str(seed), str(seconds),
        cwd=ROOT, env=environment(), stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds + 120):
            printed, _ = await attackers.communicate(target.dump().encode())
        found: Json = json.loads(printed)
        outcome.counts.update(found["counts"])
        outcome.findings += found["findings"]
    except (TimeoutError, ValueError) as error:
        outcome.findings.append(f"the attackers ended with {error!r}")
    finally:
        with suppress(ProcessLookupError):
            attackers.kill()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _drain(attacked: Attacked, outcome: Outcome) -> None:
    """Stop the server, and see that it says so."""
    server = attacked.server
    server.signal(signal.SIGTERM)
    try:
        code = await server.ended(40)
    except TimeoutError:
        outcome.findings.append("the server does not stop")
        return
    events = [line["event"] for line in server.lines()[-3:]]
    if code or "server_stopped" not in events:
        outcome.findings.append(f"the server ended with {code}, after {events}")
