"""The metrics are listed in docs/operations.md, and the dashboard and the alerts ask for metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric

from askbot_ws.events import Reason
from askbot_ws.metrics import RefusalReason
from askbot_ws.server.collector import CLOSE_CODES, ServerCollector, upstream_codes
from askbot_ws.server.workers.supervisor import worker_metrics
from askbot_ws.server.workers.totals import Totals
from askbot_ws.testing import ScriptedUpstream, serving

from .process import ROOT

PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
FOLDER = ROOT / "deploy"
FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile", "absent", "by", "and"}
OF_PROMETHEUS = {"instance", "le"}  # labels that it adds
VALUES: dict[tuple[str, str], set[str]] = {  # of labels that are compared with texts
    ("askbot_turns_total", "reason"): {*get_args(Reason)},
    ("askbot_refusals_total", "reason"): {*get_args(RefusalReason)},
    ("askbot_upstream_errors_total", "code"): {*upstream_codes()},
    ("askbot_connections_closed_total", "code"): {*map(str, CLOSE_CODES)},
    ("askbot_workers", "state"): {"answering", "silent"},
}


@pytest.fixture
async def families(tmp_path: Any) -> list[Metric]:
    """All metrics of a server that has flushed once."""
    async with serving(ScriptedUpstream(), store=f"sqlite:///{tmp_path / 'a.db'}") as server:
        server.hub.store.flusher.flushed_at = 0.0  # type: ignore[attr-defined]
        own = [*ServerCollector(server.metrics, server.hub, server, started_at=0.0).collect()]
        return [*own, *Totals(worker_metrics(1, 0, 0)).collect()]


def exposed(families: list[Metric]) -> dict[str, tuple[str, set[str]]]:
    """By the name as it is documented: the type and the labels."""
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffixes.get(family.type, ""): (
            "gauge" if family.type == "info" else family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in families
    }


async def test_every_metric_is_listed_with_its_labels(families: list[Metric]) -> None:
    """And no other is."""
    rows = re.findall(r"^\| `(askbot_\w+)` \| (\w+) \|([^|]*)\|[^|]+\. \|$", PAGE, flags=re.MULTILINE)

    assert len(rows) > 20
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == exposed(families)


def expressions() -> Iterator[tuple[str, str]]:
    """Those of the alerts and of the dashboard, each with where it is."""
    alerts: Any = yaml.safe_load((FOLDER / "prometheus/alerts.yml").read_text("utf-8"))
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert rule["annotations"]["summary"].endswith(".")
            yield rule["alert"], rule["expr"]
    dashboard: Any = json.loads((FOLDER / "grafana/askbot.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


async def test_the_dashboard_and_the_alerts_ask_for_what_exists(families: list[Metric]) -> None:
    """Names, labels and the values that they are compared with; and the dashboard shows all that there is."""
    known = exposed(families) | {
        name: ("gauge", set[str]()) for name in ("process_resident_memory_bytes", "process_cpu_seconds_total")
    }
    assert {sample.name for family in ProcessCollector(registry=None).collect() for sample in family.samples} >= {
        name for name in known if name.startswith("process_")
    }
    shown = set[str]()
    for place, expression in expressions():
        assert expression.count("(") == expression.count(")"), place
        for name, matchers in re.findall(r"\b((?:askbot|process)_\w+)(?:\{([^}]*)\})?", expression):
            base = re.sub("_bucket$", "", name)
            assert base in known, f"{place}: {name}"
            assert (name != base) == (known[base][0] == "histogram"), f"{place}: {name}"
            shown.add(base)
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                assert label in known[base][1] | OF_PROMETHEUS, f"{place}: {label}"
                assert label in OF_PROMETHEUS or set(value.split("|")) <= VALUES[base, label], f"{place}: {value}"
            grouped = re.findall(r"by \(([^)]*)\)", expression)
            for label in [each.strip() for group in grouped for each in group.split(",")]:
                assert label in known[base][1] | OF_PROMETHEUS, f"{place}: {label}"
        words = set(re.findall(r"[a-z_]+(?= ?\()", expression))
        assert words <= FUNCTIONS, f"{place}: {words - FUNCTIONS}"
    assert shown >= set(known)
