"""`make attack`: an hour of attacks with a fixed seed, on a server with default limits and on one with small ones."""

from __future__ import annotations

import argparse
import asyncio
import sys

from .run import attack_all
from .target import PLANS


def main() -> int:
    """The exit code: 1 where anything was found."""
    arguments = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=3600.0, help="for all servers together")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--plan", choices=PLANS, action="append", help="attack a server of this plan only")
    given = arguments.parse_args()
    print(f"seed {given.seed}", flush=True)
    outcomes = asyncio.run(attack_all(given.seconds, seed=given.seed, plans=given.plan or tuple(PLANS)))
    return 1 if any(outcome.findings for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
