"""`python -m bench.cluster`: what many nodes on one Redis cost, into measured.json.

Everything in one run, in rounds whose medians count: CPU per token on the owner with Redis beside SQLite, Redis' own; a
follower on another node beside the owner's reader; Redis' memory for a session and a turn; a forwarded command, and one
whose owner is dead; two workers beside one process. And, with SQLite, what connections cost a node. Nodes have one
core; Redis, the provider and the load generator have the other. It takes ten minutes; `--only` measures some of it.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import footprint, machine
from .cluster_commands import dead_owner, forwarded, middle
from .measured import FILE, Figures
from .redis_process import RedisProcess, redis_server
from .targets import OURS, Running, started_provider, started_target

COMMAND = "python -m bench.cluster"
RATES = {1000: 20, 5000: 100}  # tokens a second, by so many answers of 50
COMMANDS = 100  # forwarded, a round
DEAD_SESSIONS = 20
WORST = ("command.dead_reply_s", "command.dead_accepted_s")  # of all rounds, the longest; of others, the median


@dataclass(slots=True)
class Run:
    """One run: what is started, and what it found."""

    rounds: int
    seconds: float
    values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    units: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, name: str, value: float, unit: str) -> None:
        """Add a value of this round."""
        print(f"  {name}: {value:.4g} {unit}", file=sys.stderr, flush=True)
        self.values.setdefault(name, []).append(value)
        self.units[name] = unit

    def stream(self, server: Running, rate: int, **arguments: object) -> dict[str, Any]:
        """Put a server under a load of one of the rates; raises RuntimeError where a token was not as it should be."""
        tokens = round(50 * self.seconds)
        told = server.load("stream", answers=RATES[rate], tokens=tokens, rate=50, limit=60.0, **arguments)
        if told["errors"]:
            raise RuntimeError(f"{rate} tokens/s: {told['faults']}")
        return told


@contextmanager
def started_node(store: str = "", *, flags: Sequence[str] = ()) -> Generator[Running]:
    """Start a node, and a provider of its own; `store` is by default a new SQLite database."""
    with (
        started_provider() as (provider, provider_url),
        started_target(OURS, provider, provider_url, store=store, flags=flags) as server,
    ):
        yield server


def warm(server: Running) -> None:
    """Compilers, pools and caches."""
    server.load("stream", answers=10, tokens=200, rate=0, over=0.5, warm=0)


# --- the parts -------------------------------------------------------------------------------------------------------


def owner(run: Run) -> None:
    """CPU per token with Redis and with SQLite, and Redis' own."""
    for number in range(run.rounds):
        for store in ("sqlite", "redis")[:: -1 if number % 2 else 1]:
            with redis_server() as redis, started_node(redis.url if store == "redis" else "") as server:
                _owner(run, server, store, redis)


def _owner(run: Run, server: Running, store: str, redis: RedisProcess) -> None:
    warm(server)
    for rate in RATES:
        told = run.stream(server, rate, others={"redis": redis.pid})
        name = f"owner.{store}.{rate}"
        run.add(f"{name}.cpu_us", told["cpu_us"], "µs a token")
        run.add(f"{name}.p50_ms", told["p50_ms"], "ms")
        run.add(f"{name}.p99_ms", told["p99_ms"], "ms")
        if store == "redis":
            run.add(f"{name}.redis_us", told["redis_us"], "µs a token")
    if store == "redis":
        run.add(
            "owner.redis.turn_redis_us", asyncio.run(footprint.redis_turn(server.url, server.pid, redis)), "µs a turn"
        )


def follower(run: Run) -> None:
    """A reader on another node, beside the owner's."""
    for _ in range(run.rounds):
        with redis_server() as redis, started_node(redis.url) as server, started_node(redis.url) as other:
            warm(server)
            for rate in RATES:
                told = run.stream(server, rate, second=True, second_url=other.url, others={"follower": other.pid})
                name = f"follower.{rate}"
                run.add(f"{name}.cpu_us", told["follower_us"], "µs a token")
                run.add(f"{name}.behind_p50_ms", told["behind_p50_ms"], "ms")
                run.add(f"{name}.behind_p99_ms", told["behind_p99_ms"], "ms")


def memory(run: Run) -> None:
    """Redis' memory for a session and for a turn."""
    with redis_server() as redis, started_node(redis.url) as server:
        taken = asyncio.run(footprint.of_redis(server.url, server.pid, redis))
    run.add("memory.session_bytes", taken.session, "bytes")
    run.add("memory.turn_bytes", taken.turn, "bytes")
    run.add("memory.index_bytes", taken.index, "bytes")
    run.add("memory.answer_bytes", taken.answer, "bytes")


def commands(run: Run) -> None:
    """A forwarded command; and commands for sessions whose owner was killed."""
    for _ in range(run.rounds):
        with redis_server() as redis, started_node(redis.url) as server, started_node(redis.url) as other:
            times = asyncio.run(forwarded(server.url, other.url, commands=COMMANDS))
            run.add("command.local_p50_ms", middle(times.local), "ms")
            run.add("command.forwarded_p50_ms", middle(times.forwarded), "ms")
            run.add("command.forwarded_p99_ms", middle(times.forwarded, 0.99), "ms")
            takeover = asyncio.run(dead_owner(server.url, other.url, server.pid, sessions=DEAD_SESSIONS))
            print(f"  refused meanwhile: {takeover.refused}", file=sys.stderr)
            run.add("command.dead_reply_s", max(takeover.replied), "s")
            run.add("command.dead_accepted_s", max(takeover.accepted), "s")


def workers(run: Run) -> None:
    """CPU per token of two workers together, and of one process, at the same load."""
    for number in range(run.rounds):
        for count in (1, 2)[:: -1 if number % 2 else 1]:
            flags = ("--workers", str(count)) if count > 1 else ()
            with redis_server() as redis, started_node(redis.url, flags=flags) as server:
                warm(server)
                for rate in RATES:
                    run.add(f"workers.{count}.{rate}.cpu_us", run.stream(server, rate)["cpu_us"], "µs a token")


def connections(run: Run) -> None:
    """What connections cost a node, with SQLite."""
    for _ in range(run.rounds):
        with started_node() as server:
            warm(server)
            idle = asyncio.run(footprint.of_connections(server.url, server.pid))
            run.add("node.handshake_us", idle.handshake_us, "µs a connection")
            run.add("node.idle_us", idle.idle_us, "µs a second and connection")
            run.add("node.frame_bytes", idle.frame_bytes, "bytes a token, without its text")
            turn = server.load("turns", clients=20, at=[6], provider_url=server.provider_url)["turn_6_us"]
            run.add("node.turn_us", turn, "µs a turn")
        with started_node() as server:
            told = server.load("memory", connections=500, running=100)
            run.add("node.base_mb", told["base_mb"], "MB")
            run.add("node.idle_kb", told["idle_kb"], "KB a connection")
            run.add("node.running_kb", told["running_kb"], "KB more a running answer")


PARTS: dict[str, Callable[[Run], None]] = {
    "connections": connections,
    "owner": owner,
    "follower": follower,
    "memory": memory,
    "commands": commands,
    "workers": workers,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and keep what was measured."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--only", action="append", choices=[*PARTS], help="this part; may be given several times")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each answer")
    parser.add_argument("--out", type=Path, default=FILE, help="what the figures are added to")
    given = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"On {machine.name()}", file=sys.stderr)
    for part in given.only or PARTS:
        load = machine.load()
        print(f"{part}; load average {load:g} before", file=sys.stderr)
        run = Run(given.rounds, given.seconds)
        PARTS[part](run)
        figures = Figures.load(given.out)
        for name, values in run.values.items():
            value = max(values) if name in WORST else statistics.median(values)
            figures.add(name, value, run.units[name], f"{COMMAND} --only {part}", load=load)
        figures.save(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
