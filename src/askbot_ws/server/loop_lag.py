"""Loop lag: by how much the timers of the event loop are late, which is how long everything waits."""

from __future__ import annotations

import asyncio

from ..metrics import Histogram

INTERVAL_SECONDS = 0.25  # between two measurements


class LoopLagMonitor:
    """Measures with a timer; `lag` is the newest measurement."""

    def __init__(self, histogram: Histogram) -> None:
        """Measurements are added to `histogram`, in seconds."""
        self.lag = 0.0  # seconds
        self._histogram = histogram
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
        self.lag = max(0.0, self._loop.time() - self._due)
        self._histogram.observe(self.lag)
        self.start()
