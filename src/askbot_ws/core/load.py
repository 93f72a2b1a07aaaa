"""Load: from measurements of a server, whether it takes further work."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

SAMPLES = 3  # in a row that are over a threshold: one long pause is no overload
RECOVERY = 0.5  # of a threshold: below it, for `SAMPLES` samples, the load is over
HARD = 2.0  # times a threshold: from there on, connections are refused too


class LoadLevel(IntEnum):
    """What a server still takes."""

    NORMAL = 0
    HIGH = 1  # no new questions
    VERY_HIGH = 2  # no new connections either


@dataclass(slots=True)
class Gauge:
    """One measured value with its threshold, and the level that follows from its last samples.

    The lowest of the last samples counts on the way up, the highest on the way down: in between, the level stays.
    """

    threshold: float | None  # None: it is not limited
    hard: float = HARD  # times the threshold, for the higher level
    recovery: float = RECOVERY  # times the threshold, for the level to fall
    level: LoadLevel = LoadLevel.NORMAL
    samples: deque[float] = field(default_factory=lambda: deque[float](maxlen=SAMPLES))

    def update(self, value: float) -> LoadLevel:
        """Take a sample, and return the new level."""
        if self.threshold is None:
            self.samples.clear()
            self.level = LoadLevel.NORMAL
            return self.level
        self.samples.append(value / self.threshold)
        if len(self.samples) == SAMPLES:
            low, high = min(self.samples), max(self.samples)
            self.level = max(self._reached(low), min(self.level, self._kept(high)))
        return self.level

    def _reached(self, share: float) -> LoadLevel:
        """Return the level that a share of the threshold leads to."""
        return LoadLevel.VERY_HIGH if share >= self.hard else LoadLevel.HIGH if share >= 1 else LoadLevel.NORMAL

    def _kept(self, share: float) -> LoadLevel:
        """Return the highest level that is kept at a share of the threshold."""
        return self._reached(share / self.recovery)
