"""Loop lag: by how much the timers of the event loop are late, which is how long everything waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..metrics import Histogram

INTERVAL_SECONDS = 0.05  # between two measurements


class LoopLagMonitor:
    """Measures with a timer."""

    def __init__(self, histogram: Histogram, on_measured: Callable[[float, float], None]) -> None:
        """Measurements, in seconds, are added to `histogram`.

        `on_measured` is called with each, and before it the time of the loop's clock.
        """
        self._histogram = histogram
        self._on_measured = on_measured
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure until `close`."""
        self._due = self._loop.time() + INTERVAL_SECONDS
        self._timer = self._loop.call_at(self._due, self._measure)

    def close(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self) -> None:
        now = self._loop.time()
        lag = max(0.0, now - self._due)
        self.start()  # first: whatever follows may raise
        self._histogram.observe(lag)
        self._on_measured(now, lag)
