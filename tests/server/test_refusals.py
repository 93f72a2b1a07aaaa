"""Refusals: counted all, logged at a limited rate."""

from __future__ import annotations

from structlog.testing import capture_logs

from askbot_ws.metrics import Metrics
from askbot_ws.server.refusals import LINES_AT_ONCE, LINES_PER_SECOND, RefusalLog


def test_a_thousand_refusals_are_a_few_lines_that_count_the_others() -> None:
    """And each reason has its own lines: a flood of one hides no other."""
    clock, metrics = [1000.0], Metrics()
    refusals = RefusalLog(metrics, now=lambda: clock[0])

    with capture_logs() as lines:
        for _ in range(1000):
            refusals.record("unknown_path", address="192.0.2.1", path="/v2/chat")
        refusals.record("draining", address="192.0.2.2")
        clock[0] += 1 / LINES_PER_SECOND
        refusals.record("unknown_path", address="192.0.2.3", path="/v3/chat")

    assert metrics.refusals == {"unknown_path": 1001, "draining": 1}
    assert [line["reason"] for line in lines] == [*["unknown_path"] * LINES_AT_ONCE, "draining", "unknown_path"]
    assert {line["event"] for line in lines} == {"connection_refused"}
    assert [line["unlogged"] for line in lines] == [0] * (LINES_AT_ONCE + 1) + [1000 - LINES_AT_ONCE]
    assert (lines[-1]["address"], lines[-1]["path"]) == ("192.0.2.3", "/v3/chat")
