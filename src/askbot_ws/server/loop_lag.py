"""Loop lag: by how much the timers of the event loop are late, which is how long everything waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..metrics import Histogram

FIRST_SECONDS = 0.05  # to the first measurement, and to the next where `on_measured` fails


class LoopLagMonitor:
    """Measures with a timer."""

    def __init__(self, histogram: Histogram, on_measured: Callable[[float, float], float]) -> None:
        """Measurements, in seconds, are added to `histogram`.

        `on_measured` is called with the time of the loop's clock and each measurement, and returns in how many seconds
        the next one is made.
        """
        self._histogram = histogram
        self._on_measured = on_measured
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure until `close`."""
        self._schedule(FIRST_SECONDS)

    def close(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        now = self._loop.time()
        lag = max(0.0, now - self._due)
        self._histogram.observe(lag)
        seconds = FIRST_SECONDS
        try:
            seconds = self._on_measured(now, lag)
        finally:
            self._schedule(seconds)
