"""Load: from measurements of a server, whether it takes further work, and how much it does at the same time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

SAMPLES = 3  # in a row that are over a threshold: one long pause is no overload
RECOVERY = 0.5  # of a threshold: below it, for `SAMPLES` samples, the load is over
MIN_LIMIT = 64  # turns that may always run: a loop that is late with fewer is so for another reason
DECREASE = (0.5, 0.9)  # times the turns that run, where they are too many: the less, the longer the lag is
INCREASE = 0.005  # of the limit, at each update at which it could be higher
USED_SHARE = 0.8  # of the limit: with fewer turns, nothing is known of whether it could be higher
HARD = 2.0  # times a threshold: from there on, connections are refused too


class LoadLevel(IntEnum):
    """What a server still takes."""

    NORMAL = 0
    HIGH = 1  # no new questions
    VERY_HIGH = 2  # no new connections either


@dataclass(slots=True)
class LoadGauge:
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

    @property
    def is_low(self) -> bool:
        """Whether the last sample, where there is one, is so low that the level would fall."""
        return not self.samples or self._kept(self.samples[-1]) is LoadLevel.NORMAL

    def _reached(self, share: float) -> LoadLevel:
        """Return the level that a share of the threshold leads to."""
        return LoadLevel.VERY_HIGH if share >= self.hard else LoadLevel.HIGH if share >= 1 else LoadLevel.NORMAL

    def _kept(self, share: float) -> LoadLevel:
        """Return the highest level that is kept at a share of the threshold."""
        return self._reached(share / self.recovery)


@dataclass(slots=True)
class AdaptiveLimit:
    """How many turns run at the same time without a lag above a target: found by additive increase.

    Without a limit until the lag is too long for the first time; then the limit is a part of what runs, and grows
    slowly while the lag is short. It falls again only once no more than that run: what runs takes its time to end, and
    the lag until then says nothing of the new limit.
    """

    target: float | None  # seconds of lag; None: there is no limit
    limit: float = math.inf
    late: int = 0  # updates in a row with a lag above the target, and turns enough to be its reason

    def update(self, lag: float, *, running: int) -> float:
        """Return the new limit, from the lag that was measured and the turns that run."""
        if self.target is None:
            self.limit, self.late = math.inf, 0
        elif lag > self.target:
            self.late = self.late + 1 if running >= MIN_LIMIT else 0
            if self.late >= SAMPLES and running <= self.limit:
                self.late = 0
                least, most = DECREASE
                self.limit = max(MIN_LIMIT, running * min(most, max(least, self.target / lag)))
        else:
            self.late = 0
            if lag < RECOVERY * self.target and running >= USED_SHARE * self.limit:
                self.limit += max(1.0, INCREASE * self.limit)
        return self.limit
