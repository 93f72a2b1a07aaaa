"""Collector: makes Prometheus metrics of what the server counts and of the state it is in, when somebody reads them.

docs/operations.md lists them. Labels have values from closed sets only: what a client could grow is no label.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..dialects.connection import Connection
from ..errors import UpstreamError
from ..events import Reason
from ..hub import Hub
from ..metrics import Histogram, Metrics, RefusalReason
from .workers.group import ServerGroup
from .workers.totals import Snapshot, Totals, snapshot

CLOSE_CODES = (1000, 1001, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 4404, 4408, 4429)
"""Close codes that have a label of their own; all others, which clients may choose, are `other`."""


class Connections(Protocol):
    """The open connections of a server."""

    @property
    def web_sockets(self) -> Iterable[Connection]:
        """All WebSocket connections."""
        ...

    @property
    def open_count(self) -> int:
        """How many connections are open, HTTP ones included."""
        ...


def upstream_codes() -> list[str]:
    """Return the codes of all errors of upstreams."""
    return sorted({UpstreamError.code, *(kind.code for kind in UpstreamError.__subclasses__())})


class ServerCollector(Collector):
    """The metrics of one server."""

    def __init__(self, metrics: Metrics, hub: Hub, connections: Connections, *, started_at: float) -> None:
        """`started_at` is when the server started, in seconds since 1970."""
        self._metrics = metrics
        self._hub = hub
        self._connections = connections
        self._started_at = started_at

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now (prometheus_client calls this)."""
        python = ".".join(map(str, sys.version_info[:3]))
        yield InfoMetricFamily("askbot_build", "The version that runs.", {"version": __version__, "python": python})
        yield _gauge("start_time_seconds", "When the server started, in seconds since 1970.", self._started_at)
        yield from self._connection_metrics()
        yield from self._turn_metrics()
        yield from self._store_metrics()
        yield _histogram("loop_lag_seconds", "By how much timers of the event loop are late.", self._metrics.loop_lag)

    def _connection_metrics(self) -> Iterator[Metric]:
        metrics = self._metrics
        by_protocol = dict.fromkeys(["askbot.v1"], 0)
        lags = list[int]()
        for connection in self._connections.web_sockets:
            by_protocol[connection.protocol] = by_protocol.get(connection.protocol, 0) + 1
            lags += connection.lags()
        by_protocol["http"] = max(0, self._connections.open_count - sum(by_protocol.values()))
        yield _gauge("connections", "Open connections, by protocol.", by_protocol, "protocol")
        opened = dict.fromkeys(["askbot.v1"], 0) | metrics.connections
        yield _counter("connections_opened", "WebSocket connections that were accepted.", opened, "protocol")
        codes = closed_set(metrics.closes, [*map(str, CLOSE_CODES), "other"])  # clients choose codes, too
        yield _counter("connections_closed", "WebSocket connections that were closed, by close code.", codes, "code")
        refusals = closed_set(metrics.refusals, get_args(RefusalReason))
        yield _counter("refusals", "Connections, handshakes and requests that were refused.", refusals, "reason")
        yield _gauge("cursors", "Sessions that are read, each as often as it is.", len(lags))
        behind = [lag for lag in lags if lag > 0]
        yield _gauge("cursors_behind", "Cursors that are behind the head of their log.", len(behind))
        yield _gauge("cursor_lag", "Positions that all cursors together are behind.", sum(behind))
        yield _gauge("cursor_lag_max", "Positions that the slowest cursor is behind.", max(behind, default=0))

    def _turn_metrics(self) -> Iterator[Metric]:
        metrics, hub = self._metrics, self._hub
        yield _gauge("sessions", "Sessions in memory.", hub.session_count)
        yield _gauge("turns_running", "Turns that are being answered.", hub.turns_running)
        yield _gauge("turns_waiting", "Questions that wait for an answer to begin.", hub.turns_waiting)
        yield _gauge("draining", "Whether new turns are refused, as the server stops: 0 or 1.", int(hub.draining))
        turns = closed_set(metrics.turns, get_args(Reason))
        yield _counter("turns", "Turns that ended, by reason.", turns, "reason")
        tokens = {"input": metrics.input_tokens, "output": metrics.output_tokens}
        yield _counter("tokens", "Tokens of turns that ended, as providers counted them.", tokens, "direction")
        codes = closed_set(metrics.upstream_errors, upstream_codes())
        yield _counter("upstream_errors", "Failures of the model that ended a turn, by code.", codes, "code")
        yield _histogram("first_token_seconds", "From a question's arrival to its first token.", metrics.first_token)
        yield _histogram("token_gap_seconds", "Between two pieces of an answer from the model.", metrics.token_gap)

    def _store_metrics(self) -> Iterator[Metric]:
        metrics, store = self._metrics, self._hub.store.statistics()
        yield _histogram("commit_seconds", "From writing a batch of events until readers have it.", metrics.commit)
        yield _histogram("commit_events", "Events of all sessions in one batch.", metrics.commit_events)
        yield _gauge(
            "unstored_ends", "Ends of turns that were shown and are still to be stored.", self._hub.unstored_end_count
        )
        yield _gauge("journal_bytes", "Bytes in the journal.", store.journal_bytes)
        yield _gauge("unflushed_bytes", "Bytes of events that are not in the tables yet.", store.unflushed_bytes)
        yield _gauge("unflushed_sessions", "Sessions that are to be moved to the tables now.", store.due_sessions)
        yield _gauge("pending_deletions", "Deleted sessions that are still in the tables.", store.pending_deletions)
        if store.flush_age is not None:
            yield _gauge("flush_age_seconds", "Time since the last flush to the tables.", store.flush_age)


class MetricsPage:
    """The metrics of a server as text, with those of its process; of a group of processes, those of all."""

    def __init__(self, collector: ServerCollector, group: ServerGroup | None = None) -> None:
        self._group = group
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def snapshot(self) -> Snapshot:
        """Return the metrics of this process."""
        return snapshot(self._registry)

    async def render(self, accept: str) -> tuple[bytes, str] | None:
        """Return the metrics and their content type; `accept` is the request's `Accept` header.

        None where those of the other processes can't be had now.
        """
        registry = self._registry
        if self._group is not None:
            metrics = await self._group.metrics()
            if metrics is None:
                return None
            registry = CollectorRegistry()
            registry.register(Totals(metrics))
        encode: Callable[[CollectorRegistry], bytes]
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


# --- families --------------------------------------------------------------------------------------------------------


def closed_set(counts: Mapping[Any, int], names: Iterable[str]) -> dict[str, int]:
    """Return the counts of these names, 0 where there is none, and what others have together as `other`."""
    known = {name: counts.get(name, 0) for name in names}
    others = sum(counts.values()) - sum(known.values())
    return known | ({"other": others} if others else {})


def _gauge(name: str, help: str, values: float | Mapping[str, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"askbot_{name}", help, labels=labels)
    for label, value in values.items() if isinstance(values, Mapping) else [(None, values)]:
        family.add_metric([] if label is None else [label], value)
    return family


def _counter(name: str, help: str, values: Mapping[str, float], label: str) -> Metric:
    family = CounterMetricFamily(f"askbot_{name}", help, labels=[label])
    for value_of_label, value in values.items():
        family.add_metric([value_of_label], value)
    return family


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    total, buckets = 0, list[tuple[str, float]]()
    for bound, count in zip([*map(str, map(float, histogram.bounds)), "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    family = HistogramMetricFamily(f"askbot_{name}", help)
    family.add_metric([], buckets, sum_value=histogram.sum)
    return family
