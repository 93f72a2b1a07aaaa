"""`make bench`: every figure of docs/performance.md, ours and the peers' in one run, interleaved in rounds.

Linux only, on two cores: the target has one, the provider and the load generator share the other.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import math
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import clients, history, machine, report
from .figures import GOALS, Results, with_idle, with_past
from .figures import OURS as OUR_NAME
from .targets import ALL, FASTAPI, NAIVE, NODE, NOTHING, OURS, PEERS, ROOT, Running, Target, running, set_up
from .targets import versions as versions_of

SLOW_TARGETS = (NAIVE, FASTAPI)  # they can't follow `high`: fewer tokens show that as well
TOO_LATE_MS = 100.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    rounds: int = 5  # a shared machine has moods of a minute, which cost a process half as much again
    seconds: float = 1.0  # of streaming, as a factor
    turns: int = 20  # conversations side by side
    connections: int = 500
    sessions: int = 1000
    idle: Sequence[int] = (10, 100, 1000, 10_000)
    history: Sequence[int] = (1, 10, 100, 1000, 10_000)
    steps: int = 7

    def tokens(self, rate: int, seconds: float) -> int:
        """Of one answer."""
        return max(10, int(rate * seconds * self.seconds))


SMOKE = Size(
    rounds=1,
    seconds=0.1,
    turns=3,
    connections=40,
    sessions=50,
    idle=(10, 200),
    history=(1, 30),
    steps=2,
)


class Bench:
    """One run."""

    def __init__(self, size: Size, targets: Sequence[Target]) -> None:
        self.size = size
        self.targets = targets
        self.results = Results()
        self._begun = time.monotonic()

    def all(self) -> Results:
        """Measure everything."""
        for number in range(self.size.rounds):
            self._say(f"round {number + 1} of {self.size.rounds}")
            for target in (*self.targets, NOTHING)[:: -1 if number % 2 else 1]:
                with running(target) as server:
                    self.streams(server)
            self._mid_again(number)
            if OURS in self.targets:
                self._own_round()
        for target in self.targets:
            self._say(f"{target.name}: capacity, memory, slow readers")
            with running(target) as server:
                self.capacity(server)
            with running(target) as server:
                self._add(server, "memory", "memory", connections=self.size.connections, running=100)
            with running(target) as server:
                self._add(server, "slow", "slow", readers=3, others=5, provider_url=server.provider_url)
        if OURS in self.targets:
            self._own_once()
        return self.results

    # --- for every target --------------------------------------------------------------------------------------------

    def streams(self, server: Running, *, loads: Sequence[str] = ("low", "mid", "high", "flat", "turns")) -> None:
        """The four loads, and turns."""
        self._warm(server)
        size, slow = self.size, server.target in SLOW_TARGETS
        if "low" in loads:
            self._add(server, "low", "stream", answers=5, tokens=size.tokens(50, 4), rate=50)
        if "mid" in loads:
            self._add(server, "mid", "stream", answers=20, tokens=size.tokens(50, 6), rate=50)
        if "high" in loads:
            self._add(server, "high", "stream", answers=100, tokens=size.tokens(50, 2 if slow else 4), rate=50)
        if "flat" in loads:
            tokens = max(10, int(server.target.flat * size.seconds))
            self._add(server, "flat", "stream", answers=50, tokens=tokens, rate=0, over=0.0)
        if "turns" in loads and server.target is not NOTHING:
            at = [6, 60] if size.seconds >= 1 else [6, 12]
            clients = max(2, size.turns // 3) if slow else size.turns
            told = self._add(server, "turns", "turns", clients=clients, at=at, provider_url=server.provider_url)
            self._check_history(server.target, at[-1], told)

    def _mid_again(self, number: int) -> None:
        """Once more, in new processes and one right after the other: this ratio is the one that swings most."""
        for target in (OURS, NODE)[:: 1 if number % 2 else -1]:
            if target in self.targets:
                with running(target) as server:
                    self.streams(server, loads=("mid",))

    def _check_history(self, target: Target, messages: int, told: dict[str, Any]) -> None:
        if target.history and told.get(f"shown_{messages}", 0) < messages + 1:
            self.results.faults.append(f"{target.name}: the model was not shown the history: {told}")

    def _warm(self, server: Running) -> None:
        for tokens in (20, min(200, server.target.flat)):  # compilers and pools are at work in the first seconds
            server.load("stream", answers=10, tokens=tokens, rate=0, over=0.5, warm=0)

    def capacity(self, server: Running) -> None:
        """How many answers of 50 tokens/s it holds: up or down by a fifth, then the half of the last step."""
        self._warm(server)
        held, failed, answers, driver = 0, 0, server.target.guess, 0.0
        for _ in range(self.size.steps):
            told = self._in_time(server, answers) or self._in_time(server, answers)  # a machine has its moods
            if told:
                held, driver = max(held, answers), told["driver"]
            else:
                failed = min(failed or answers, answers)
            if held and failed:
                if failed / held < 1.12:
                    break
                answers = round(math.sqrt(held * failed))
            else:
                answers = round(answers * 1.2) if held else round(answers / 1.3)
        self.results.add(server.target.name, "capacity", {"errors": 0, "held": held, "driver": driver})

    def _in_time(self, server: Running, answers: int) -> dict[str, Any] | None:
        told = server.load("stream", answers=answers, tokens=self.size.tokens(50, 3), rate=50)
        self._say(f"  {answers} answers: p99 {told.get('p99_ms')} ms, driver {told.get('driver')}")
        return told if told["errors"] == 0 and told["p99_ms"] < TOO_LATE_MS else None

    def _add(
        self, server: Running, load: str, scenario: str, *, limit: float = 60.0, **arguments: object
    ) -> dict[str, Any]:
        told = server.load(scenario, limit=limit, **arguments)
        self.results.add(server.target.name, load, told)
        keys = ("cpu_us", "p50_ms", "p99_ms", "first_p50_ms", "rate", "turn_6_us", "turn_60_us", "idle_kb", "growth_mb")
        self._say(f"  {server.target.name} {load}: { ({key: told[key] for key in keys if key in told}) }")
        return told

    # --- for ours alone ----------------------------------------------------------------------------------------------

    def _own_round(self) -> None:
        tokens = self.size.tokens(50, 6)
        with running(OURS) as server:
            self._warm(server)
            self._add(server, "one reader", "stream", answers=20, tokens=tokens, rate=50)
            self._add(server, "two readers", "stream", answers=20, tokens=tokens, rate=50, second=True)

    def _own_once(self) -> None:
        with running(OURS) as server:
            self._add(server, "storm", "storm", sessions=self.size.sessions, tokens=200)
        clients.measure(self.results)
        self.growing()

    def growing(self) -> None:
        """What it costs that others only listen, and that much was said before."""
        self.results.drop([*map(with_idle, self.size.idle), *map(with_past, self.size.history)])
        for number in range(self.size.rounds):
            self._say(f"growing, round {number + 1} of {self.size.rounds}")
            with running(OURS) as server:
                self._idle(server)
            self._history(self.size.history[:: -1 if number % 2 else 1])

    def _idle(self, server: Running) -> None:
        """In one process, as one and the same program is a fifth faster or slower by where its memory lies.

        There and back again: what drifts meanwhile then drifts both ways.
        """
        self._warm(server)
        tokens = self.size.tokens(50, 19)  # with the second of asking a heartbeat: each idle connection gets one frame
        for count in (*self.size.idle, *self.size.idle[::-1]):
            self._add(server, with_idle(count), "stream", answers=20, tokens=tokens, rate=50, idle=count, limit=120.0)

    def _history(self, lengths: Sequence[int]) -> None:
        """Also in one process."""
        with tempfile.TemporaryDirectory(prefix="askbot-bench-") as folder:
            store, tokens = Path(folder) / "askbot.db", self.size.tokens(50, 6)
            sessions = asyncio.run(history.write(store, [turns for turns in lengths for _ in range(20)]))
            with running(OURS, store=store) as server:
                self._warm(server)
                for index, turns in enumerate(lengths):
                    some = sessions[index * 20 : (index + 1) * 20]
                    self._add(server, with_past(turns), "stream", answers=20, tokens=tokens, rate=50, sessions=some)

    def _say(self, line: str) -> None:
        print(f"{time.monotonic() - self._begun:6.0f} s  {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write the page, and say which goals were missed; 1 where a token was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: whether it works, not what it costs")
    parser.add_argument("--rounds", type=int, default=Size().rounds)
    parser.add_argument("--targets", default=",".join(target.name for target in ALL), help="comma separated")
    parser.add_argument("--growing", action="store_true", help="only how the cost grows; the rest stays as measured")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder that gets performance.md")
    arguments = parser.parse_args()
    size = SMOKE if arguments.smoke else Size(rounds=arguments.rounds)
    wanted = arguments.targets.split(",")
    set_up()
    _open_files()
    begun = time.monotonic()
    bench = Bench(size, [target for target in ALL if target.name in wanted])
    if arguments.growing:
        results = bench.results = report.load(PEERS / "results.json")
        bench.growing()
        results.about |= {**_grown(size), "apart": " in a run of its own"}
        return _tell(results, arguments.out)
    results = bench.all()
    results.about = {
        "machine": machine.name(),
        "versions": versions_of(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "rounds": size.rounds,
        **_grown(size),
        "apart": "",
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "sessions": size.sessions,
        "smoke": arguments.smoke,
    }
    return _tell(results, arguments.out)


def _grown(size: Size) -> dict[str, Any]:
    return {"idle": size.idle, "history": size.history, "growing_rounds": size.rounds}


def _tell(results: Results, folder: Path) -> int:
    report.save(results, PEERS / "results.json")
    report.write(results, folder)
    for goal in GOALS:
        print(f"{goal.verdict(results):18} {report.number(goal.value(results)):>8} {goal.unit:12} {goal.name}")
    for fault in results.faults:
        print(f"fault: {fault}")
    return int(any(fault.startswith(OUR_NAME) for fault in results.faults))


def _open_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
