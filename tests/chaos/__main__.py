"""`python -m tests.chaos`: a long run, and its table."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

from .faults import schedule
from .results import PROMISES
from .run import Plan, run


def write(file: Path, table: str, *, name: str = "chaos") -> None:
    """Put the table between the markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = file.read_text()
    parts = re.fullmatch(f"(.*{begin}\n).*({end}.*)", text, re.DOTALL)
    if parts is None:
        raise SystemExit(f"{file} has no {begin} … {end}")
    file.write_text(f"{parts[1]}\n{table}\n\n{parts[2]}")


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos", description="Everything goes wrong, at random.")
    arguments.add_argument("--seconds", type=float, help="default: 600")
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments.add_argument("--sessions", type=int)
    arguments.add_argument("--network", type=float, help="faults a second of the network, on average")
    arguments.add_argument("--machine", type=float, help="faults a second of processes, disk and clock, on average")
    arguments.add_argument("--embedded", action="store_true", help="the embedded model answers, and is killed too")
    arguments.add_argument("--schedule", action="store_true", help="only print what would happen")
    arguments.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    given = arguments.parse_args()
    usual = Plan(sessions=4, network=2, machine=0.2, model=True) if given.embedded else Plan()
    chosen = {name: value for name in ("seconds", "sessions", "network", "machine") if (value := getattr(given, name))}
    plan = replace(usual, **chosen)
    print(f"seed {given.seed}", flush=True)
    if given.schedule:
        for fault in schedule(given.seed, plan.seconds, network=plan.network, machine=plan.machine, model=plan.model):
            print(fault)
        return 0
    results = asyncio.run(run(given.seed, plan))
    print(results.table())
    if given.write:
        write(given.write, results.table())
    return 1 if any(results.count(promise) for promise in PROMISES) else 0


if __name__ == "__main__":
    sys.exit(main())
