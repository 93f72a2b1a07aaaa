"""`python -m tests.chaos.cluster`: a long run with three nodes, and its table."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import replace
from pathlib import Path

from ..__main__ import write
from ..results import PROMISES
from .backends import BACKENDS
from .run import ClusterPlan, run_cluster

DEFAULT = ("single", "losing", "sentinel", "cluster")
SHARES = {"single": 1.0}  # of the seconds; any other has a fifth of them


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    usual = ClusterPlan()
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos.cluster", description="Nodes and Redis go wrong.")
    arguments.add_argument("--seconds", type=float, default=usual.seconds, help="with one Redis that loses nothing")
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments.add_argument("--redis", choices=[*BACKENDS], action="append", help=f"default: {', '.join(DEFAULT)}")
    arguments.add_argument("--sessions", type=int, default=usual.sessions)
    arguments.add_argument("--network", type=float, default=usual.network, help="faults a second of the network")
    arguments.add_argument("--machine", type=float, default=usual.machine, help="faults a second of processes")
    arguments.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this file")
    given = arguments.parse_args()
    print(f"seed {given.seed}", flush=True)
    tables: list[str] = []
    is_broken = False
    for name in given.redis or DEFAULT:
        seconds = given.seconds if given.redis else given.seconds * SHARES.get(name, 0.2)
        plan = replace(
            usual, redis=name, seconds=seconds, sessions=given.sessions, network=given.network, machine=given.machine
        )
        results = asyncio.run(run_cluster(given.seed, plan))
        print(results.table(), flush=True)
        tables.append(results.table())
        is_broken = is_broken or any(results.count(promise) for promise in PROMISES)
    if given.write:
        write(given.write, "\n\n".join(tables), name="chaos-cluster")
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
