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
