"""What a page's thread was at work for, from a trace of the browser."""

from __future__ import annotations

import json
from typing import Any


def task_times(trace: bytes) -> list[float]:
    """How long the page's main thread was at work for each of its tasks, in milliseconds of its own processor time."""
    events: list[dict[str, Any]] = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return sorted(
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask") and "tdur" in event and (event["pid"], event["tid"]) in mains
    )
