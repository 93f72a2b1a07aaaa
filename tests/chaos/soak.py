"""Soak: mixed traffic for a long time, in which nothing may grow.

    python -m tests.chaos.soak --seconds 3600

Sessions come, talk over a network that is cut now and then, and are forgotten; others stay, rest in the store, since
there is room for few in memory, and must come back unchanged. Meanwhile the server's memory, file descriptors, threads,
connections and files are looked at; there is no hook in the product for that, so tasks are seen by what they cost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]

from ..process import reading
from .checking_client import CheckingClient
from .environment import Environment, start_environment
from .final_checks import check_sessions
from .proxy import Kind, Order
from .results import PROMISES, BrokenError, Results

MIB = 2**20
SEGMENTS = 4 * 32 * MIB  # bytes that the journal may have: the active segment and those that wait to be settled
GROWTH, ALLOWED = 1.10, 5 * MIB
RESTING = 20  # sessions that stay
FLAGS = ("--memory", "64KiB", "--heartbeat", "1s", "--reader-timeout", "6s")


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment."""

    at: float
    rss: int
    pss: int
    fds: int
    threads: int
    connections: int
    database: int
    journal: int


def sample(made: Environment, at: float) -> Sample:
    """Look at it."""
    process = psutil.Process(made.server.pid)
    memory = process.memory_full_info()
    return Sample(
        at=at,
        rss=int(memory.rss),
        pss=int(getattr(memory, "pss", memory.rss)),
        fds=int(process.num_fds()),
        threads=int(process.num_threads()),
        connections=len(process.net_connections("tcp")),
        database=_size(made.store) + _size(made.store.with_name("askbot.db-wal")),
        journal=sum(_size(file) for file in made.store.with_name("askbot.db.journal").glob("*.log")),
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def trends(samples: list[Sample], idle: Sample, after: Sample) -> list[str]:
    """What has grown: the last fifth held to the second; `after`, when all have left, to `idle`, before they came."""
    fifth = len(samples) // 5
    second, last = samples[fifth : 2 * fifth], samples[-fifth:]
    found: list[str] = []
    sizes: dict[str, Callable[[Sample], int]] = {
        "RSS": lambda one: one.rss,
        "PSS": lambda one: one.pss,
        "the database": lambda one: one.database,
    }
    for name, of in sizes.items():
        was, now = median(map(of, second)), median(map(of, last))
        if now > was * GROWTH + ALLOWED:
            found.append(f"{name} grows: {was / MIB:.1f} MiB, then {now / MIB:.1f} MiB")
    if after.fds > idle.fds + 3 or after.threads > idle.threads + 2 or after.connections > idle.connections + 1:
        found.append(f"not given back: {idle}, then {after}")
    if max(one.journal for one in samples) > SEGMENTS:
        found.append(f"the journal has {max(one.journal for one in samples) / MIB:.1f} MiB")
    return found


class Soak:
    """The traffic."""

    def __init__(self, made: Environment, results: Results, chance: random.Random) -> None:
        self._made = made
        self._results = results
        self._chance = chance
        self._number = 0

    async def rest(self) -> list[CheckingClient]:
        """Sessions that are made at the beginning, and left alone."""
        clients = [self._make_client() for _ in range(RESTING)]
        await asyncio.gather(*(self._short(client, 5) for client in clients))
        return clients

    async def flow(self, until: float) -> None:
        """One session after the other."""
        while time.monotonic() < until:
            client = self._make_client()
            task = asyncio.create_task(client.run(readers=self._chance.choice((1, 1, 2))))
            await asyncio.sleep(self._chance.uniform(1, 6))
            client.finish = True
            await task
            self._results.sessions += 1
            self._results.turns += len(client.story.turns)
            if client.story.head and not client.broken:
                await self._forget(client)

    async def disturb(self) -> None:
        """Connections break now and then."""
        while True:
            await asyncio.sleep(self._chance.expovariate(2))
            self._made.front.hurt(Order(self._chance.choice((Kind.CUT, Kind.RESET))), self._chance.random())

    def _make_client(self) -> CheckingClient:
        self._number += 1
        return CheckingClient(self._number, self._made.url, random.Random(self._chance.random()), self._results)

    async def _short(self, client: CheckingClient, turns: int) -> None:
        async with client.connected():
            for _ in range(turns):
                await client.answer(tokens=self._chance.randrange(1, 300), rate=0)

    async def _forget(self, client: CheckingClient) -> None:
        async with reading(self._made.direct, client.story) as reader:
            await reader.send(type="forget", session=client.story.session, id="f")
            await reader.until(lambda frame: frame["type"] == "error" and frame["code"] == "session_not_found", 20)


async def soak(seconds: float, *, seed: int, at_once: int = 12) -> tuple[Results, list[Sample]]:
    """Soak for so long; returns what was broken, trends among it."""
    results, chance = Results(seed), random.Random(seed)
    async with start_environment(on_front=lambda kind: results.fault(kind.value), flags=FLAGS) as made:
        traffic = Soak(made, results, chance)
        resting = await traffic.rest()
        await check_sessions(made.direct, resting, results)
        await asyncio.sleep(1)
        begun = time.monotonic()
        idle, samples = sample(made, 0.0), list[Sample]()
        disturbing = asyncio.create_task(traffic.disturb())
        flows = [asyncio.create_task(traffic.flow(begun + seconds)) for _ in range(at_once)]
        while (at := time.monotonic() - begun) < seconds:
            samples.append(sample(made, at))
            await asyncio.sleep(min(10.0, seconds / 100))
        disturbing.cancel()
        await asyncio.gather(*flows)
        await check_sessions(made.direct, resting, results)
        await asyncio.sleep(2)
        for what in trends(samples, idle, sample(made, seconds)):
            results.breaks(BrokenError("wrong", what))
        for what in made.faults_of_ours():
            results.breaks(BrokenError("wrong", what))
        if made.server.starts != 1:
            results.breaks(BrokenError("wrong", f"the server was started {made.server.starts} times"))
    results.seconds = seconds
    return results, samples


def report(samples: list[Sample], *, rows: int = 10) -> str:
    """Some of the samples, in Markdown."""
    names = [field.name for field in fields(Sample)]
    lines = [f"| {' | '.join(names)} |", "|" + " ---: |" * len(names)]
    for one in samples[:: max(1, len(samples) // rows)]:
        values = asdict(one)
        small = {name: f"{value / MIB:.1f} MiB" if value > 99_999 else f"{value:.0f}" for name, value in values.items()}
        lines.append(f"| {' | '.join(small[name] for name in names)} |")
    return "\n".join(lines)


def main() -> int:
    """The exit code: 1 where something grows, or a promise was broken."""
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description="Mixed traffic, for long.")
    arguments.add_argument("--seconds", type=float, default=3600.0)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = arguments.parse_args()
    print(f"seed {given.seed}", flush=True)
    results, samples = asyncio.run(soak(given.seconds, seed=given.seed))
    print(report(samples))
    print(f"{results.sessions:,} sessions, {results.turns:,} turns, {results.connections:,} connections")
    return 1 if any(results.count(promise) for promise in PROMISES) else 0


if __name__ == "__main__":
    sys.exit(main())
