"""What was measured, and what it should be: the goals, as ratios to node-ws in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

YARDSTICK = "node-ws"
OURS = "askbot"


def with_idle(connections: int) -> str:
    """The load with so many that only listen."""
    return f"{connections} idle"


def with_past(turns: int) -> str:
    """The load whose sessions had so many turns before."""
    return f"{turns} turns"


@dataclass(slots=True)
class Results:
    """Figures by target and name, one value a round."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    faults: list[str] = field(default_factory=list[str])
    about: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, target: str, load: str, figures: Mapping[str, Any]) -> None:
        """What one run of the load generator said."""
        if figures["errors"]:
            self.faults.append(f"{target}, {load}: {figures['errors']} errors: {figures['faults']}")
        mine = self.values.setdefault(target, {})
        for name, value in figures.items():
            if isinstance(value, int | float):
                mine.setdefault(f"{load}.{name}", []).append(value)

    def drop(self, loads: Collection[str]) -> None:
        """Forget what was measured under these loads: it is measured anew."""
        for figures in self.values.values():
            for name in [name for name in figures if name.partition(".")[0] in loads]:
                del figures[name]

    def get(self, target: str, name: str) -> list[float]:
        """The values of all rounds; none where it was not measured."""
        return self.values.get(target, {}).get(name, [])

    def middle(self, target: str, name: str) -> float | None:
        """The median of the rounds."""
        values = self.get(target, name)
        return statistics.median(values) if values else None

    def ratio(self, name: str, *, target: str = OURS, to: str = YARDSTICK) -> float | None:
        """To another target: round by round where both have as many, so that a slow minute counts for both."""
        return _ratio(self.get(target, name), self.get(to, name))

    def own(self, name: str, *, to: str) -> float | None:
        """Of two of our own figures."""
        return _ratio(self.get(OURS, name), self.get(OURS, to))


def _ratio(ours: list[float], theirs: list[float]) -> float | None:
    if not ours or not theirs or not all(theirs):
        return None
    if len(ours) == len(theirs):
        return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return statistics.median(ours) / statistics.median(theirs)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that must not be worse than one value, and should be as good as another."""

    name: str
    value: Callable[[Results], float | None]
    must: float
    aim: float | None
    unit: str = "x node-ws"
    more_is_better: bool = False

    def met(self, results: Results, limit: float | None, *, slack: float = 0.0) -> bool | None:
        """Whether it is as good as a limit; None where it was not measured."""
        value = self.value(results)
        if value is None or limit is None:
            return None
        return value >= limit / (1 + slack) if self.more_is_better else value <= limit * (1 + slack)

    def verdict(self, results: Results) -> str:
        """In a word."""
        if self.value(results) is None:
            return "not measured"
        if not self.met(results, self.must):
            return "**not met**"
        return "met, and the aim" if self.met(results, self.aim) else "met"


def _further_reader(results: Results) -> float | None:
    ratio = results.own("two readers.cpu_us", to="one reader.cpu_us")
    return None if ratio is None else max(0.0, ratio - 1)


def _client(name: str, *, to: str) -> Callable[[Results], float | None]:
    return lambda results: results.own(f"clients.{name}", to=f"clients.{to}")


GOALS = (
    Goal("CPU per token, `mid`", lambda r: r.ratio("mid.cpu_us"), 0.65, 0.45),
    Goal("CPU per token, `high`", lambda r: r.ratio("high.cpu_us"), 0.65, 0.40),
    Goal("CPU per turn (one-token answers)", lambda r: r.ratio("turns.turn_6_us"), 0.25, 0.15),
    Goal(
        "CPU per turn with 60 messages of history",
        lambda r: r.own("turns.turn_60_us", to="turns.turn_6_us"),
        1.2,
        1.05,
        "x with 6",
    ),
    Goal("added latency, `mid`, p50", lambda r: r.ratio("mid.p50_ms"), 1.2, 0.8),
    Goal("added latency, `mid`, p99", lambda r: r.ratio("mid.p99_ms"), 0.9, 0.6),
    Goal("added latency, `high`, p50", lambda r: r.middle(OURS, "high.p50_ms"), 0.5, 0.2, "ms"),
    Goal("added latency, `high`, p99", lambda r: r.middle(OURS, "high.p99_ms"), 3, 1, "ms"),
    Goal("added time to the first token, `high`, p99", lambda r: r.ratio("high.first_p99_ms"), 1, 0.5),
    Goal("added time to the first token, `low`, p50", lambda r: r.ratio("low.first_p50_ms"), 0.4, 0.3),
    Goal(
        "answers of 50 tokens/s on one core, p99 < 100 ms",
        lambda r: r.ratio("capacity.held"),
        4,
        8,
        more_is_better=True,
    ),
    Goal("tokens/s flat out", lambda r: r.ratio("flat.rate"), 8, 15, more_is_better=True),
    Goal("memory per idle connection", lambda r: r.middle(OURS, "memory.idle_kb"), 25, 15, "KB"),
    Goal("memory more per running answer", lambda r: r.middle(OURS, "memory.running_kb"), 12, 6, "KB"),
    Goal("memory growth with 60 MB unread", lambda r: r.ratio("slow.growth_mb"), 0.1, None),
    Goal("others' p99 meanwhile", lambda r: r.ratio("slow.p99_ms"), 0.2, 0.1),
    Goal("a second reader, CPU per token", _further_reader, 0.35, 0.2, "x the first"),
    Goal(
        "CPU per token with 10,000 idle connections",
        lambda r: r.own(f"{with_idle(10_000)}.cpu_us", to=f"{with_idle(10)}.cpu_us"),
        1.15,
        1.05,
        "x with 10",
    ),
    Goal(
        "CPU per token with 1,000 turns of history",
        lambda r: r.own(f"{with_past(1000)}.cpu_us", to=f"{with_past(1)}.cpu_us"),
        1.15,
        1.05,
        "x with 1",
    ),
    Goal("JavaScript client, CPU per token", _client("js_client_us", to="js_parse_us"), 2.0, 1.5, "x parsing"),
    Goal("Python client, CPU per token", _client("python_client_us", to="python_parse_us"), 3.0, 2.0, "x parsing"),
)
