"""Limits as arithmetic on a given time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """A token bucket: `rate` a second in the long run, `burst` at once."""

    rate: float
    burst: float
    level: float = 0.0  # how full: each taking adds one, time drains it
    at: float = 0.0

    def take(self, *, now: float) -> float:
        """Take one. Returns 0, or for how many seconds to wait; then nothing was taken."""
        level = max(0.0, self.level - (now - self.at) * self.rate)
        self.at = now
        if level + 1 > self.burst:
            self.level = level
            return (level + 1 - self.burst) / self.rate
        self.level = level + 1
        return 0.0


@dataclass(slots=True)
class Pace:
    """How long work may wait to be done together with more of it: the more there is, the longer.

    Nothing waits up to `free` things a second; each one more adds `step` seconds, up to `most`.
    """

    free: float
    step: float
    most: float
    window: float = 0.1
    pause: float = 0.0  # seconds
    count: int = 0
    since: float = 0.0

    def add(self, count: int, *, now: float) -> None:
        """So many were done now."""
        self.count += count
        passed = now - self.since
        if passed >= self.window:
            self.pause = min(self.most, max(0.0, self.count / passed - self.free) * self.step)
            self.count, self.since = 0, now
