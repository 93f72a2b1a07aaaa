"""`python -m bench.predictions`: what the model predicts for this machine, beside what is measured on it.

The costs that go into the model are measured at three loads; then it predicts other loads, and how many answers a node
can take. Nothing of those is used for the costs. It takes two minutes, and as long again with `--redis`. What it found
is kept in measured.json.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any

from . import machine
from .cluster import started_node
from .measured import FILE, Figures
from .redis_process import redis_server
from .scale_model import PROVIDER_TICK, Costs, DriverCosts, Load, Prediction, RedisCosts, capacity, predict
from .targets import OURS, Running

CALIBRATED = (Load(20, seconds=4.0), Load(100, seconds=3.0), Load(400, seconds=2.0))
PREDICTED = (Load(50, seconds=3.0), Load(200, seconds=2.0), Load(800, seconds=2.0))
FLAT = 4000  # tokens of each of twenty answers, all at once; they warm it up too
WAKE_STEP, WAKE_STEPS = 5e-6, 21  # seconds; the delays of a wake-up that are tried
IDLE_SECONDS = 3.0
COMMITS = re.compile(r"^askbot_commit_events_count (\S+)$", re.MULTILINE)
COMMAND = "python -m bench.predictions"
UNITS = {"cpu_us": "µs a token", "commits": "a token", "p50_ms": "ms", "p99_ms": "ms", "redis_us": "µs a token"}
HEADS = {
    "cpu_us": "CPU, µs a token", "commits": "commits a token", "p50_ms": "p50, ms", "p99_ms": "p99, ms",
    "redis_us": "Redis, µs a token",
}  # fmt: skip
CAPACITY = ("predicted", "held", "failed")
STEPS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.45)  # of the predicted capacity, at which it is tried


@dataclass(frozen=True, slots=True)
class Measured:
    """One load, as it was."""

    load: Load
    told: dict[str, Any]
    commits: float  # for each token

    @property
    def cpu_us(self) -> float:
        """Of the node, microseconds a token."""
        return float(self.told["cpu_us"])


def measure(server: Running, load: Load, **others: int) -> Measured:
    """Put a server under a load; raises RuntimeError where a token was not as it should be."""
    before, tokens = commits(server), round(load.rate * load.seconds)
    told = server.load("stream", answers=load.answers, tokens=tokens, rate=round(load.rate), warm=0, others=others)
    if told["errors"]:
        raise RuntimeError(f"{load}: {told['faults']}")
    return Measured(load, told, (commits(server) - before) / told["tokens"])


def commits(server: Running) -> float:
    """Return how many batches the server has written so far."""
    url = server.url.replace("ws://", "http://").removesuffix(OURS.path) + "/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        found = COMMITS.search(reply.read().decode())
    if found is None:
        raise RuntimeError(f"{url} does not count commits")
    return float(found[1])


def fit(rows: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the line through points (x, y) with the least squares: its slope and its y at 0, neither below 0."""
    count = len(rows)
    x_mean, y_mean = (sum(column) / count for column in zip(*rows, strict=True))
    spread = sum((x - x_mean) ** 2 for x, _ in rows)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in rows) / spread if spread else 0.0
    slope = max(0.0, slope)
    return slope, max(0.0, y_mean - slope * x_mean)


def calibrate(server: Running, redis: int | None = None) -> Costs:
    """Measure what goes into the model."""
    more = server.load("stream", answers=20, tokens=FLAT, rate=0, over=0.5, warm=20)["cpu_us"]
    sleep(1.0)
    before = machine.used(server.pid)
    sleep(IDLE_SECONDS)
    idle = machine.used(server.pid).share(before)
    others = {"provider": server.provider} | ({"redis": redis} if redis else {})
    turn = server.load("turns", clients=20, at=[6], provider_url=server.provider_url)["turn_6_us"]
    rows = [measure(server, load, **others) for load in CALIBRATED]
    tick, token = fit([(row.commits, _of_tokens(row, idle=idle, turn=turn)) for row in rows])
    costs = Costs(
        tick=tick / 1e6, token=token / 1e6, turn=turn / 1e6, more=more / 1e6, idle=idle, wake=0.0,
        driver=_driver_costs(rows), redis=_redis_costs(rows) if redis else None,
    )  # fmt: skip
    return _with_wake(costs, rows[1])


def _of_tokens(row: Measured, *, idle: float, turn: float) -> float:
    """Microseconds a token, without what is spent anyway and for the questions."""
    seconds, tokens = float(row.told["seconds"]), float(row.told["tokens"])
    return row.cpu_us - (turn * row.load.answers + 1e6 * idle * seconds) / tokens


def _driver_costs(rows: Sequence[Measured]) -> DriverCosts:
    """The provider looks at its clock so often for each token; readers wake up about as often as a batch is sent."""
    provider = [(1 / (PROVIDER_TICK * row.told["rate"]), row.told["provider_us"]) for row in rows]
    both = (1e6 * row.told["driver"] * row.told["seconds"] / row.told["tokens"] for row in rows)
    readers = [(row.commits, us - row.told["provider_us"]) for row, us in zip(rows, both, strict=True)]
    (look, write), (wakeup, read) = fit(provider), fit(readers)
    return DriverCosts(look / 1e6, write / 1e6, wakeup / 1e6, read / 1e6)


def _redis_costs(rows: Sequence[Measured]) -> RedisCosts:
    pipeline, script = fit([(row.commits, row.told["redis_us"]) for row in rows])
    return RedisCosts(pipeline / 1e6, script / 1e6)


def _with_wake(costs: Costs, row: Measured) -> Costs:
    """Add the delay of a wake-up with which as many commits are made for each token as were."""
    delays = (number * WAKE_STEP for number in range(WAKE_STEPS))
    tried = [replace(costs, wake=delay) for delay in delays]
    return min(tried, key=lambda costs: abs(predict(costs, row.load).commits - row.commits))


# --- what it says ----------------------------------------------------------------------------------------------------


def told_costs(costs: Costs) -> str:
    """Return the costs in a line, in microseconds."""
    named = {
        "a commit": costs.tick, "a token": costs.token, "one more in the same frame": costs.more,
        "a question": costs.turn, "idle, each second": costs.idle, "delay of a wake-up": costs.wake,
        "the provider's look": costs.driver.look, "its write": costs.driver.write,
        "the readers' wake-up": costs.driver.wakeup, "their read": costs.driver.read,
    }  # fmt: skip
    if costs.redis:
        named |= {"Redis: a pipeline": costs.redis.pipeline, "a script": costs.redis.script}
    return ", ".join(f"{name} {1e6 * value:.1f}" for name, value in named.items())


def keep(figures: Figures, store: str, measured: Measured, predicted: Prediction, load: float) -> None:
    """Add what was predicted and what was measured of one load."""
    told = measured.told
    pairs = {
        "cpu_us": (predicted.cpu_us, told["cpu_us"]),
        "commits": (predicted.commits, measured.commits),
        "p50_ms": (predicted.p50_ms, told["p50_ms"]),
        "p99_ms": (predicted.p99_ms, told["p99_ms"]),
    }
    if "redis_us" in told:
        pairs["redis_us"] = (predicted.redis_us, told["redis_us"])
    for name, pair in pairs.items():
        for kind, value in zip(("predicted", "measured"), pair, strict=True):
            figures.add(f"model.{store}.{measured.load.answers}.{name}.{kind}", value, UNITS[name], COMMAND, load=load)


def compare(figures: Figures, server: Running, store: str, redis: int | None = None) -> None:
    """Calibrate, predict, measure, and keep and print them."""
    busy = machine.load()
    costs = calibrate(server, redis)
    print(f"{store}: {told_costs(costs)}; µs", file=sys.stderr)
    for load in PREDICTED:
        measured = measure(server, load, **({"redis": redis} if redis else {}))
        keep(figures, store, measured, predict(costs, load), busy)
    expected = capacity(costs)
    for name, answers in zip(CAPACITY, (expected, *held(server, expected)), strict=True):
        figures.add(f"model.{store}.capacity.{name}", answers, "answers", COMMAND, load=busy)


def held(server: Running, expected: int) -> tuple[int, int]:
    """Try loads about the predicted capacity; returns the most that were in time, and the first that was not.

    0 stands for none.
    """
    most = 0
    for step in STEPS:
        answers = round(expected * step)
        told = server.load("stream", answers=answers, tokens=100, rate=50)
        if told["errors"] or told["p99_ms"] >= 100.0:
            return most, answers
        most = answers
    return most, 0


def table(figures: Figures, store: str) -> str:
    """Return what was predicted and what was measured with a store, in Markdown."""
    names = [name for name in UNITS if figures.get(f"model.{store}.{PREDICTED[0].answers}.{name}.measured")]
    heads = ["answers of 50 tokens/s", *(HEADS[name] for name in names)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for load in PREDICTED:
        keys = [f"model.{store}.{load.answers}.{name}" for name in names]
        cells = (" / ".join(f"{figures[f'{key}.{kind}']:.3g}" for kind in ("predicted", "measured")) for key in keys)
        lines.append(f"| {load.answers} | {' | '.join(cells)} |")
    predicted, most, failed = (f"{figures[f'model.{store}.capacity.{name}']:,.0f}" for name in CAPACITY)
    between = f"{most} were in time" + (f", {failed} were not" if failed != "0" else "")
    return "\n".join(
        [*lines, "", f"Answers that a node takes with a p99 below 100 ms: {predicted} predicted; {between}."]
    )


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--redis", action="store_true", help="with a Redis too")
    parser.add_argument("--out", type=Path, default=FILE, help="what the figures are added to")
    given = parser.parse_args()
    figures = Figures.load(given.out)
    with started_node() as server:
        compare(figures, server, "sqlite")
    if given.redis:
        with redis_server() as redis, started_node(redis.url) as server:
            compare(figures, server, "redis", redis.pid)
    figures.save(given.out)
    for store in ("sqlite", *(["redis"] if given.redis else [])):
        print(f"{store}, predicted / measured:\n\n{table(figures, store)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
