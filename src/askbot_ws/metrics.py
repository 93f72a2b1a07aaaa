"""Metrics: what a server counts, as plain numbers.

They are made into Prometheus metrics only when somebody reads them (`server/collector.py`). What another object knows
already, such as how many connections are open, is not counted here: it is read there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

from .events import Done

RefusalReason: TypeAlias = Literal[
    "host_not_allowed",
    "origin_not_allowed",
    "unknown_path",
    "invalid_handshake",
    "draining",
    "unauthorized",
    "authentication_unavailable",
    "server_connection_limit",
    "address_connection_limit",
    "invalid_request",
    "request_too_large",
    "request_timeout",
    "pipeline_limit",
]
"""Why a connection, a handshake or a request was refused: a closed set, as it is the label of a metric."""

# Upper bounds of the buckets, in seconds or in events. One more bucket has what is above the last.
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 60.0)
TOKEN_GAP_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
COMMIT_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LOOP_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Histogram:
    """How many observations fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper bounds of the buckets, ascending."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """The counters of one server, all of them from its start."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()  # WebSockets that were accepted, by protocol
        self.refusals: Counter[RefusalReason] = Counter()
        self.turns: Counter[str] = Counter()  # that ended, by reason
        self.upstream_errors: Counter[str] = Counter()  # that ended a turn, by code
        self.input_tokens = 0  # as providers counted them
        self.output_tokens = 0
        self.first_token = Histogram(FIRST_TOKEN_SECONDS)  # from a question's arrival
        self.token_gap = Histogram(TOKEN_GAP_SECONDS)  # between two pieces of an answer, as they came from upstream
        self.commit = Histogram(COMMIT_SECONDS)  # from giving a batch to the store until its readers were notified
        self.commit_events = Histogram(COMMIT_EVENTS)
        self.loop_lag = Histogram(LOOP_LAG_SECONDS)

    def count_turn(self, done: Done) -> None:
        """Count a turn that ended."""
        self.turns[done.reason] += 1
        if done.usage is not None:
            self.input_tokens += done.usage.input_tokens
            self.output_tokens += done.usage.output_tokens
        if done.timing.first_token is not None:
            self.first_token.observe(done.timing.first_token)
