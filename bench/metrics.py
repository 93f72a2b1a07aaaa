"""What counting costs: `python -m bench.metrics`.

The way of a token from the provider's socket to a reader, as in tests/test_cost.py, and beside it what is done on that
way for `/metrics` only, both as CPU time in one process, in turns, so that the machine's other work hits both alike.
Sockets to readers are left out, so the share in a real server is smaller.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from bisect import bisect_left
from pathlib import Path
from statistics import median

import structlog
from tests.test_cost import CHUNK, STREAMS, Provider, Reader

from askbot_ws.core.commands import Ask
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.hub import Hub, Policy
from askbot_ws.metrics import Metrics
from askbot_ws.store.sqlite.store import SQLiteStore

ROUNDS = 40
TICKS = 25  # of each round: one token of each stream


async def relay(provider: Provider) -> float:
    """Relay tokens; returns seconds of CPU for each."""
    started = time.thread_time()
    for _ in range(TICKS):
        for read in provider.reads:
            read(CHUNK)
        await asyncio.sleep(0)
    return (time.thread_time() - started) / (TICKS * STREAMS)


def count(metrics: Metrics) -> float:
    """Do what is done for the metrics while as many tokens are relayed; returns seconds of CPU for each."""
    started = time.thread_time()
    now = 1.0
    for _ in range(TICKS):
        for _ in range(STREAMS):
            now += 0.01
    loop = time.thread_time() - started  # without any counting
    gaps, last = metrics.token_gap, 0.0
    counts, bounds = gaps.counts, gaps.bounds
    now = 1.0
    started = time.thread_time()
    for _ in range(TICKS):
        for _ in range(STREAMS):
            now += 0.01
            if last:
                gap = now - last
                counts[bisect_left(bounds, gap)] += 1
                gaps.sum += gap
            last = now
        began = time.perf_counter()
        metrics.commit_events.observe(STREAMS)
        metrics.commit.observe(time.perf_counter() - began)
    return (time.thread_time() - started - loop) / (TICKS * STREAMS)


async def main() -> None:
    """Print both, and their ratio."""
    provider, reader = Provider(), Reader()
    with tempfile.TemporaryDirectory() as folder:
        async with Hub(SQLiteStore(Path(folder) / "a.db"), provider, Policy()) as hub:
            for _ in range(STREAMS):
                topic = hub.create(ANONYMOUS)
                hub.attach(topic, reader)
                await hub.command(ANONYMOUS, topic.session, Ask(text="Well?"))
            await provider.asked.wait()
            pairs = [(await relay(provider), count(hub.metrics)) for _ in range(ROUNDS)]
            provider.enough.set()
    whole, counting = (1e6 * median(times) for times in zip(*pairs, strict=True))
    print(
        f"{whole:.2f} µs of CPU for each token, {counting:.3f} µs of them for metrics: {100 * counting / whole:.1f} %"
    )


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main())
