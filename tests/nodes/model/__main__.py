"""`python -m tests.nodes.model`: all scenarios, those that take longer too."""

from __future__ import annotations

import time

from tests.redis_server import redis_server

from .scenarios import LONG, SCENARIOS
from .stepped_redis import stepped
from .steps import explore

AT_MOST = 100_000


def main() -> None:
    """Print how many orders there are of each; raises `BrokenOrder`."""
    with redis_server() as server, stepped():
        for name, make in (SCENARIOS | LONG).items():
            begun = time.monotonic()
            count = explore(lambda make=make: make(server), at_most=AT_MOST)  # type: ignore[misc]
            print(f"{name}: {count:,} orders in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
