"""`python -m bench.scale`: what a million connected users need, computed from measured.json, as docs/scale.md says it.

It prints the page; `--write` writes it. What was not measured is not guessed: it says which command measures it, and
writes nothing.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cluster, predictions
from .measured import FILE, Figures
from .targets import ROOT

PAGE = ROOT / "docs" / "scale.md"
MONTH_HOURS = 730
MB, GB = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured: who comes, how full things may be, and what they cost."""

    users: float = 1_000_000  # connected at the same time
    answering: float = 0.02  # the share of them whose answer runs
    token_rate: float = 50  # tokens a second of an answer
    answer_tokens: float = 300  # tokens of an answer
    token_bytes: float = 4  # of a token's text
    elsewhere: float = 0.05  # the share of answers that are followed on another node: who came back, second tabs
    sessions: float = 5  # kept for each connected user
    turns: float = 10  # in each of them
    core_used: float = 0.6  # of a node's core; the rest is for bursts, rolling restarts and the nodes that are gone
    redis_used: float = 0.5  # of a Redis server's core
    redis_gb: float = 25  # of memory that a Redis server may use; its machine has twice that, for rewriting its file
    replicas: float = 1  # of each Redis server
    core_hour: float = 0.04  # dollars
    gb_hour: float = 0.005  # dollars, of memory
    traffic_gb: float = 0.05  # dollars, of what is sent to users


@dataclass(frozen=True, slots=True)
class Row:
    """One result, and how it was computed."""

    name: str
    value: float
    unit: str
    formula: str


NEEDED: Mapping[str, str] = {
    "owner.redis.1000.cpu_us": "CPU of a token at the node that writes it, at 1,000 tokens a second",
    "owner.redis.5000.cpu_us": "the same at 5,000; a share of the question's is in both",
    "follower.5000.cpu_us": "CPU of a token at another node that shows it",
    "node.idle_us": "CPU of a connection that listens, each second",
    "node.handshake_us": "CPU of a connection's handshake",
    "node.base_mb": "memory of a node",
    "node.idle_kb": "memory of a connection",
    "node.running_kb": "memory of an answer that runs",
    "node.frame_bytes": "bytes of a token's frame beside its text, uncompressed, without TCP and TLS",
    "owner.redis.1000.redis_us": "Redis' CPU of a token, at 1,000 tokens a second",
    "owner.redis.5000.redis_us": "the same at 5,000",
    "owner.redis.turn_redis_us": "Redis' CPU of a turn with a one-token answer",
    "memory.session_bytes": "Redis' memory of a session",
    "memory.turn_bytes": "Redis' memory of a turn that has ended",
    "memory.answer_bytes": "of these the answer's text",
    "memory.index_bytes": "Redis' memory of a session's entries in the indexes of all sessions",
}
"""The figures that the page needs, and what they are."""


MODELLED = (
    *(
        f"model.sqlite.{load.answers}.{name}.{kind}"
        for load in predictions.PREDICTED
        for name in ("cpu_us", "commits", "p50_ms", "p99_ms")
        for kind in ("predicted", "measured")
    ),
    *(f"model.sqlite.capacity.{name}" for name in predictions.CAPACITY),
)


def missing(figures: Figures) -> list[str]:
    """Return the needed figures that were not measured."""
    return [name for name in (*NEEDED, *MODELLED) if figures.get(name) is None]


def _has_redis_model(figures: Figures) -> bool:
    return figures.get(f"model.redis.capacity.{predictions.CAPACITY[-1]}") is not None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a number of users needs, as numbers that are not rounded."""

    answers: float
    tokens: float  # a second
    turns: float  # a second
    node_cores: float  # of work
    nodes: float
    node_gb: float  # of memory, of all nodes
    redis_cores: float  # of work
    redis_gb: float  # of data
    shards: float
    index_cores: float  # of work at the one shard that has the indexes of all sessions, at most
    index_gb: float  # of data at that shard
    traffic_mb: float  # a second
    return_core_s: float  # core seconds of the handshakes where all users come back


def needs(figures: Figures, given: Assumptions) -> Needs:
    """Compute what is needed.

    Of several shards each gets a part of a node's batch: then a token costs as at 1,000 tokens a second, where nearly
    all pipelines have one script.
    """
    single = _needs(figures, given, rate=5000)
    return single if single.shards <= 1 else _needs(figures, given, rate=1000)


def _needs(figures: Figures, given: Assumptions, *, rate: int) -> Needs:
    answers = given.users * given.answering
    tokens = answers * given.token_rate
    turns = tokens / given.answer_tokens
    node_us = tokens * (figures[f"owner.redis.{rate}.cpu_us"] + given.elsewhere * figures["follower.5000.cpu_us"])
    node_cores = (node_us + given.users * figures["node.idle_us"]) / 1e6
    nodes = node_cores / given.core_used
    users_kb = given.users * figures["node.idle_kb"] + answers * figures["node.running_kb"]
    redis_cores = tokens * figures[f"owner.redis.{rate}.redis_us"] / 1e6
    turn_bytes = figures["memory.turn_bytes"] - figures["memory.answer_bytes"] + given.answer_tokens * given.token_bytes
    session_bytes = figures["memory.session_bytes"] + given.turns * turn_bytes
    redis_gb = given.users * given.sessions * session_bytes / GB
    return Needs(
        answers=answers,
        tokens=tokens,
        turns=turns,
        node_cores=node_cores,
        nodes=nodes,
        node_gb=(math.ceil(nodes) * figures["node.base_mb"] * MB + 1024 * users_kb) / GB,
        redis_cores=redis_cores,
        redis_gb=redis_gb,
        shards=max(redis_cores / given.redis_used, redis_gb / given.redis_gb),
        index_cores=turns * figures["owner.redis.turn_redis_us"] / 1e6,
        index_gb=given.users * given.sessions * figures["memory.index_bytes"] / GB,
        traffic_mb=tokens * (figures["node.frame_bytes"] + given.token_bytes) / MB,
        return_core_s=given.users * figures["node.handshake_us"] / 1e6,
    )


def rows(figures: Figures, given: Assumptions) -> list[Row]:
    """Return the page's table: what is needed, and what it costs."""
    need = needs(figures, given)
    nodes, shards = math.ceil(need.nodes), math.ceil(need.shards)
    servers = shards * (1 + given.replicas)
    machines_gb = need.node_gb + 2 * need.redis_gb * (1 + given.replicas)
    hours = MONTH_HOURS
    cores_cost = hours * given.core_hour * (nodes + servers)
    memory_cost = hours * given.gb_hour * machines_gb
    traffic_cost = need.traffic_mb * 3600 * hours / 1e3 * given.traffic_gb
    return [
        Row("answers that run", need.answers, "", "users x answering"),
        Row("tokens", need.tokens, "a second", "answers x rate"),
        Row("questions", need.turns, "a second", "tokens / tokens of an answer"),
        Row(
            "work of the nodes",
            need.node_cores,
            "cores",
            "tokens x (CPU at the owner + followed elsewhere x CPU at a follower) + users x CPU of listening",
        ),
        Row("nodes, of one core each", nodes, "", "work / how full a core may be"),
        Row("connections of a node", given.users / nodes, "", "users / nodes"),
        Row(
            "a node that dies: the others' handshakes",
            need.return_core_s / nodes,
            "core seconds",
            "connections of a node x CPU of a handshake",
        ),
        Row("memory of all nodes", need.node_gb, "GB", "nodes x a node's + users x a connection's + answers x one's"),
        Row("work of Redis", need.redis_cores, "cores", "tokens x Redis' CPU"),
        Row(
            "data in Redis",
            need.redis_gb,
            "GB",
            "users x sessions x (a session's + turns x a turn's, for the assumed length of its answer)",
        ),
        Row("Redis shards", shards, "", "the larger of work / how full and data / memory of a server"),
        Row("Redis servers", servers, "", "shards x (1 + replicas)"),
        Row("traffic to users", need.traffic_mb, "MB a second", "tokens x (frame + text)"),
        Row("cores, a month", cores_cost, "$", "hours x price x (nodes + Redis servers)"),
        Row("memory, a month", memory_cost, "$", "hours x price x (nodes' + twice the data, with replicas)"),
        Row("traffic, a month", traffic_cost, "$", "MB a second x seconds x price"),
        Row("together, a month", cores_cost + memory_cost + traffic_cost, "$", "the sum"),
        Row(
            "together, a month and user",
            (cores_cost + memory_cost + traffic_cost) / given.users,
            "$",
            "the sum / users",
        ),
    ]


def breaks(figures: Figures, given: Assumptions) -> list[Row]:
    """Return how many users fill each thing of which there is one, the scarcest first.

    Everything grows in proportion to the users; nodes and shards can be added, so one of them is never a bound.
    """
    need = _needs(figures, given, rate=5000)
    full: Sequence[tuple[str, float, str]] = (
        ("a single Redis server, its core", need.redis_cores, "until there is a Redis Cluster"),
        ("a single Redis server, its memory", need.redis_gb / given.redis_gb, "until there is a Redis Cluster"),
        ("the shard with the indexes of all sessions, its core", need.index_cores, "a bound of any cluster"),
        (
            "the shard with the indexes of all sessions, its memory",
            need.index_gb / given.redis_gb,
            "a bound of any cluster",
        ),
    )
    found = [Row(name, given.users / used, "users", what) for name, used, what in full if used]
    return sorted(found, key=lambda row: row.value)


# --- the page --------------------------------------------------------------------------------------------------------

HEAD = """# How far it scales

Made by `python -m bench.scale --write`; do not edit. What a million connected users need, of whom 2 % read an answer
that runs just now: nodes, cores, Redis shards, memory, money, and where it breaks first. Nobody has connected a million
users: everything is computed, from what was measured on
{machine}, with {load}.
A core of another machine is another core: the formulas are in `bench/scale.py`, and
`python -m bench.scale --users 50000 --answering 0.1` computes what you have.
"""


def number(value: float) -> str:
    """As many digits as mean something."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 1e-3 or not value else f"{value:.1e}"


def assumptions_table(given: Assumptions) -> str:
    """What is assumed."""
    told = [
        ("users that are connected", number(given.users)),
        ("of them, whose answer runs", f"{100 * given.answering:g} %"),
        ("an answer", f"{given.answer_tokens:g} tokens of {given.token_bytes:g} bytes, {given.token_rate:g} a second"),
        ("answers that are followed on another node", f"{100 * given.elsewhere:g} %: who came back, and second tabs"),
        ("kept for each user", f"{given.sessions:g} sessions of {given.turns:g} turns"),
        ("how full a node's core may be", f"{100 * given.core_used:g} %"),
        ("how full a Redis server may be", f"{100 * given.redis_used:g} % of a core, {given.redis_gb:g} GB of data"),
        ("replicas of each Redis server", f"{given.replicas:g}"),
        (
            "prices",
            f"${given.core_hour:g} an hour a core, ${given.gb_hour:g} an hour a GB, ${given.traffic_gb:g} a GB sent",
        ),
    ]
    return table(("assumed", ""), told)


def measured_table(figures: Figures) -> str:
    """What was measured, and by which command."""
    found = [(what, figures.get(name)) for name, what in NEEDED.items()]
    return table(
        ("measured", "", "by"),
        [(what, f"{number(one.value)} {one.unit}", f"`{one.command}`, {one.date}") for what, one in found if one],
    )


def results_table(found: Sequence[Row]) -> str:
    """What follows."""
    return table(
        ("needed", "", "computed as"),
        [
            (
                row.name,
                f"**${number(row.value)}**" if row.unit == "$" else f"**{number(row.value)}** {row.unit}".strip(),
                row.formula,
            )
            for row in found
        ],
    )


def breaks_table(found: Sequence[Row]) -> str:
    """Where it breaks first."""
    return table(("full at", "users", ""), [(row.name, f"**{number(row.value)}**", row.formula) for row in found])


def table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(figures: Figures, given: Assumptions = Assumptions()) -> str:
    """Return docs/scale.md."""
    machine = next(figure.machine for name in NEEDED if (figure := figures.get(name)))
    calibrated = ", ".join(str(load.answers) for load in predictions.CALIBRATED)
    return "\n".join(
        [
            HEAD.format(machine=machine, load=figures.load_range(NEEDED)),
            NEEDS,
            results_table(rows(figures, given)),
            "## Where it breaks first\n",
            BREAKS,
            breaks_table(breaks(figures, given)),
            "## What is assumed\n",
            assumptions_table(given),
            "## What was measured\n",
            measured_table(figures),
            MODEL.format(calibrated=calibrated, load=figures.load_range(MODELLED)),
            predictions.table(figures, "sqlite"),
            *(["\nThe same with Redis:\n", predictions.table(figures, "redis")] if _has_redis_model(figures) else []),
            "",
        ]
    )


NEEDS = """## What it needs

Of several Redis shards each gets a part of what a node writes at a time, so the figures at 1,000 tokens a second are
used, where nearly all pipelines have one script; with one shard, those at 5,000.
"""

BREAKS = """Nodes and shards are added as users come; of these there is one. Each is full, to the last, with so many
users as assumed (at the shard with the indexes, all that Redis does for a turn is counted: its core takes more).
"""

MODEL = """## What waiting adds

The tables above are sums. What waiting adds is in a discrete-event model (`bench/scale_model.py`): an event loop that
takes what has come, group commit, the pause of a loop that is nearly full, a Redis that runs one script after another.
Its costs are measured at {calibrated} answers of 50 tokens a second; this is what it predicts at others, and what was
measured there (`python -m bench.predictions`), with
{load}. It knows no other programs: where the machine is
busy, they are what is measured beyond it. One node with SQLite, predicted / measured:
"""


def _command(name: str) -> str:
    """The command that measures a figure."""
    part = name.partition(".")[0]
    if part == "model":
        return predictions.COMMAND
    return f"{cluster.COMMAND} --only {'connections' if part == 'node' else part}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the page; 1 where a figure is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    fields: Mapping[str, Callable[[str], float]] = dict.fromkeys(Assumptions.__dataclass_fields__, float)
    for name, kind in fields.items():
        default = getattr(Assumptions(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"default {default:g}")
    parser.add_argument("--measured", type=Path, default=FILE, help="the figures")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = vars(parser.parse_args(arguments))
    figures, write = Figures.load(options.pop("measured")), options.pop("write")
    if lacking := missing(figures):
        for name in lacking:
            print(f"{name} was not measured: {_command(name)}", file=sys.stderr)
        return 1
    given = Assumptions(**options)
    if write:
        PAGE.write_text(page(figures, given), "utf-8")
    else:
        print(page(figures, given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
