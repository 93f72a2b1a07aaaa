"""`make walk`: walks of a minute, each with a seed that it prints, until the time is over."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import structlog

from .walk import Walk


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="for all walks together")
    parser.add_argument("--each", type=float, default=60.0, help="seconds a walk")
    parser.add_argument("--seed", type=int, help="walk this one only")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    while True:
        seed = random.randrange(2**31) if given.seed is None else given.seed
        print(f"seed {seed}", end=" ", flush=True)
        folder = mkdtemp(prefix=f"askbot-walk-{seed}-")
        walk = Walk(Path(folder), seed)
        with (Path(folder) / "log.jsonl").open("w") as file:
            structlog.configure(
                processors=[structlog.processors.ExceptionRenderer(), structlog.processors.JSONRenderer(default=repr)],
                logger_factory=structlog.WriteLoggerFactory(file),
            )
            asyncio.run(walk.run(given.each))  # a walk that fails leaves its files, to be looked at
        shutil.rmtree(folder)
        print(dict(walk.counts), f"faults of the disk: {walk.disk.failed}", flush=True)
        if given.seed is not None or time.monotonic() >= until:
            return 0


if __name__ == "__main__":
    sys.exit(main())
