"""Discrete-event simulation: a clock of events, and processors that do one thing after the other.

Times are seconds of the simulated clock; nothing here waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Simulation:
    """Runs callbacks in the order of their times; those of one time in the order in which they were scheduled."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._scheduled = 0

    def at(self, time: float, callback: Callable[[], object]) -> None:
        """Call `callback` at `time`; a time that has passed is now."""
        self._scheduled += 1
        heapq.heappush(self._events, (max(time, self.now), self._scheduled, callback))

    def run(self, until: float) -> None:
        """Run all events up to a time."""
        while self._events and self._events[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._events)
            callback()
        self.now = until


class Processor:
    """A core that does what it is given, first come, first served."""

    def __init__(self, simulation: Simulation) -> None:
        self.used = 0.0  # seconds for which it worked, or will have worked once its queue is empty
        self._simulation = simulation
        self._free_at = 0.0

    def do(self, cost: float, then: Callable[[], object] | None = None) -> float:
        """Queue work that takes `cost` seconds, and call `then` at its end; returns when the work begins."""
        start = max(self._simulation.now, self._free_at)
        self._free_at = start + cost
        self.used += cost
        if then is not None:
            self._simulation.at(self._free_at, then)
        return start
