"""`make bench-quick`: the few ratios that matter, most to node-ws in the same run; 1 where one is worse than it must.

It stops after the first round that leaves no doubt. Else the medians of three rounds count, with some slack: a shared
machine has its moods, but a mood of a minute strikes both.
"""

from __future__ import annotations

import argparse
import sys
import time

from . import clients, report
from .figures import GOALS, Results
from .targets import NODE, OURS, Running, running, set_up

ROUNDS = 3
SLACK = 0.15
LATE = 100.0  # seconds after which no further round begins
WATCHED = (
    "CPU per token, `mid`",
    "CPU per token, `high`",
    "CPU per turn (one-token answers)",
    "added latency, `mid`, p50",
    "added latency, `high`, p50",
    "added latency, `high`, p99",
    "added time to the first token, `high`, p99",
    "JavaScript client, CPU per token",
)


def measure(results: Results, server: Running) -> None:
    """One target, in about ten seconds."""
    server.load("stream", answers=10, tokens=200, rate=0, over=0.5, warm=0)
    name = server.target.name
    results.add(name, "mid", server.load("stream", answers=20, tokens=150, rate=50))
    results.add(name, "high", server.load("stream", answers=100, tokens=100, rate=50))
    told = server.load("turns", clients=30, at=[6], provider_url=server.provider_url)
    results.add(name, "turns", told)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.quick", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at most")
    rounds = parser.parse_args().rounds
    set_up()
    results, goals = Results(), [goal for goal in GOALS if goal.name in WATCHED]
    begun = time.monotonic()
    for number in range(rounds):
        clients.measure_javascript(results)
        for target in (OURS, NODE)[:: -1 if number % 2 else 1]:
            with running(target) as server:
                measure(results, server)
        if all(goal.met(results, goal.must) for goal in goals) or time.monotonic() - begun > LATE:
            break
    good = True
    for goal in goals:
        well = goal.met(results, goal.must, slack=SLACK)
        good = good and bool(well)
        value, word = report.number(goal.value(results)), "ok" if well else "WORSE"
        print(f"{word:6} {value:>6} {goal.unit}, must be {goal.must:g}: {goal.name}")
    for target in (OURS, NODE):
        names = (
            "mid.cpu_us",
            "high.cpu_us",
            "turns.turn_6_us",
            "mid.p50_ms",
            "mid.p99_ms",
            "high.p50_ms",
            "high.p99_ms",
        )
        shown = (f"{name} {report.number(results.middle(target.name, name))}" for name in names)
        print(f"       {target.name}: {', '.join(shown)}")
    for fault in results.faults:
        print(f"fault: {fault}")
    return 0 if good and not results.faults else 1


if __name__ == "__main__":
    sys.exit(main())
