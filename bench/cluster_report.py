"""Many nodes, as docs/performance.md tells it, from measured.json: `python -m bench.cluster_report` prints it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .measured import Figures
from .targets import ROOT

PAGE = ROOT / "docs" / "performance.md"

HEAD = """## Many nodes

Nodes on one Redis (`python -m bench.cluster`), {date}, on
{machine}, with {load}: read ratios.
The nodes have one core; Redis, with an append-only file that is synced each second, has the other, with the provider
and the load generator. The medians of the rounds, and of the waits for a dead owner the longest. A follower is a reader
on another node than the one that writes: how much later it has each token than the reader there; less than 0 is
earlier. A command is acknowledged by its event. Of two workers each has half of the load, so fewer tokens share a
wake-up and an append.
"""

NEEDED = (
    *(f"owner.{store}.{rate}.cpu_us" for store in ("sqlite", "redis") for rate in (1000, 5000)),
    *(f"owner.redis.{rate}.redis_us" for rate in (1000, 5000)),
    *(f"follower.{rate}.behind_{name}_ms" for rate in (1000, 5000) for name in ("p50", "p99")),
    *(f"memory.{name}_bytes" for name in ("session", "turn", "answer")),
    *("command.local_p50_ms", "command.forwarded_p50_ms", "command.dead_reply_s", "command.dead_accepted_s"),
    *(f"workers.{count}.{rate}.cpu_us" for count in (1, 2) for rate in (1000, 5000)),
)
"""The figures that the section needs."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table; `must` is the most that it may be."""

    name: str
    value: Callable[[Figures], float]
    unit: str
    must: float | None = None

    def told(self, figures: Figures) -> str:
        """Return the line in Markdown."""
        value = self.value(figures)
        must = "" if self.must is None else f"≤ {self.must:g}"
        verdict = "" if self.must is None else "met" if value <= self.must else "**not met**"
        return f"| {self.name} | **{_number(value)}** {self.unit} | {must} | {verdict} |"


def _ratio(one: str, other: str) -> Callable[[Figures], float]:
    return lambda figures: figures[one] / figures[other]


def _one(name: str) -> Callable[[Figures], float]:
    return lambda figures: figures[name]


def _at(rate: int) -> Sequence[Line]:
    return (
        Line(
            f"CPU per token on the owner with Redis, {rate:,} tokens/s",
            _ratio(f"owner.redis.{rate}.cpu_us", f"owner.sqlite.{rate}.cpu_us"),
            "x with SQLite",
            1.5,
        ),
        Line("the same", _one(f"owner.redis.{rate}.cpu_us"), "µs"),
        Line("Redis' own CPU per token", _one(f"owner.redis.{rate}.redis_us"), "µs"),
        Line("a follower is behind, p50", _one(f"follower.{rate}.behind_p50_ms"), "ms", 3.0),
        Line("the same, p99", _one(f"follower.{rate}.behind_p99_ms"), "ms"),
        Line(
            "CPU per token of two workers together",
            _ratio(f"workers.2.{rate}.cpu_us", f"workers.1.{rate}.cpu_us"),
            "x one process",
            1.18,
        ),
    )


LINES: Sequence[Line] = (
    *_at(1000),
    *_at(5000),
    Line("Redis' memory of a session without turns", _one("memory.session_bytes"), "bytes"),
    Line("of a turn that has ended", _one("memory.turn_bytes"), "bytes"),
    Line("of these its answer's text", _one("memory.answer_bytes"), "bytes"),
    Line(
        "a forwarded command adds, p50",
        lambda figures: figures["command.forwarded_p50_ms"] - figures["command.local_p50_ms"],
        "ms",
    ),
    Line("whose owner was killed: the longest wait for an answer", _one("command.dead_reply_s"), "s"),
    Line("the longest until a question was taken", _one("command.dead_accepted_s"), "s"),
)


def measured(figures: Figures) -> bool:
    """Whether there is something of everything."""
    return all(figures.get(name) for name in NEEDED)


def section(figures: Figures) -> str:
    """Return the section; nothing where something was not measured."""
    first = figures.get(NEEDED[0])
    if first is None or not measured(figures):
        return ""
    head = HEAD.format(date=first.date, machine=first.machine, load=figures.load_range(NEEDED))
    lines = "\n".join(line.told(figures) for line in LINES)
    return f"{head}\n| figure | measured | must | |\n| --- | --- | --- | --- |\n{lines}\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def written(page: str, figures: Figures) -> str:
    """Return a page with the section as its last, in place of the one that it has."""
    before, _, _ = page.partition("## Many nodes\n")
    told = section(figures)
    return f"{before.rstrip()}\n\n{told}" if told else f"{before.rstrip()}\n"


def main() -> int:
    """Print or write the section; 1 where a figure is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster_report", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    write = parser.parse_args().write
    figures = Figures.load()
    for name in NEEDED:
        if figures.get(name) is None:
            print(f"{name} was not measured", file=sys.stderr)
    if write and measured(figures):
        PAGE.write_text(written(PAGE.read_text("utf-8"), figures), "utf-8")
    else:
        print(section(figures), end="")
    return 0 if measured(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
