"""Totals: the metrics of several processes added up, as one server's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypedDict

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

GAUGES: dict[str, Callable[[float, float], float]] = {
    "askbot_start_time_seconds": min,
    "askbot_cursor_lag_max": max,
    "askbot_draining": min,  # while others take questions, the server does not stop
    "askbot_flush_age_seconds": max,
    "process_start_time_seconds": min,
}
"""How the gauges of two processes make one; those that are not here are added."""


class Family(TypedDict):
    """One metric as plain data: its samples are a name, labels and a value."""

    name: str
    type: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


Snapshot: TypeAlias = list[Family]
"""All metrics of a process at one moment."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """Return all metrics of a registry as they are now."""
    return [
        Family(
            name=metric.name,
            type=metric.type,
            help=metric.documentation,
            samples=[(sample.name, dict(sample.labels), sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]


def lasting(metrics: Iterable[Family]) -> Snapshot:
    """Return what still counts when a process has ended: counters and histograms."""
    return [family for family in metrics if family["type"] in ("counter", "histogram")]


def add_up(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return the metrics of all processes together, in the order of the first that has each."""
    families = dict[str, Family]()
    values = dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]()
    for family in (each for metrics in snapshots for each in metrics):
        name = family["name"]
        families.setdefault(name, family)
        totals = values.setdefault(name, {})
        for sample, labels, value in family["samples"]:
            key = (sample, tuple(sorted(labels.items())))
            totals[key] = _combine(family, totals[key], value) if key in totals else value
    return [
        Family(
            name=name,
            type=family["type"],
            help=family["help"],
            samples=[(sample, dict(labels), value) for (sample, labels), value in values[name].items()],
        )
        for name, family in families.items()
    ]


def _combine(family: Family, one: float, other: float) -> float:
    if family["type"] in ("counter", "histogram"):
        return one + other
    if family["type"] == "info":
        return other
    combine = GAUGES.get(family["name"])
    return combine(one, other) if combine else one + other


class Totals(Collector):
    """A collector of metrics that are plain data."""

    def __init__(self, metrics: Iterable[Family]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics (prometheus_client calls this)."""
        for family in self._metrics:
            metric = Metric(family["name"], family["help"], family["type"])
            for name, labels, value in family["samples"]:
                metric.add_sample(name, labels, value)
            yield metric
