"""Limits as arithmetic on a given time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: `rate` a second in the long run, `burst` at once."""

    rate: float
    burst: float
    level: float = 0.0  # how full: each taking adds one, time drains it
    updated_at: float = 0.0

    def acquire(self, *, now: float) -> float:
        """Take one. Returns 0, or for how many seconds to wait; then nothing was taken."""
        level = max(0.0, self.level - (now - self.updated_at) * self.rate)
        self.updated_at = now
        if level + 1 > self.burst:
            self.level = level
            return (level + 1 - self.burst) / self.rate
        self.level = level + 1
        return 0.0


@dataclass(slots=True)
class PauseController:
    """How long a loop that is nearly out of CPU may pause, so that more is done at once and costs less together.

    Where it uses more than `target` of what it may have, the pause grows with what is missing, up to `most` seconds;
    where it uses less, it shrinks again. So a loop that has time never pauses.
    """

    max_seconds: float
    target: float = 0.85
    gain: float = 0.02  # seconds for each whole share of the CPU that is missing, at each look
    seconds: float = 0.0

    def update(self, *, used_seconds: float, available_seconds: float) -> float:
        """The loop has used so many seconds of CPU since the last look, of so many that it might have had."""
        share = used_seconds / available_seconds if available_seconds > 0 else 1.0
        self.seconds = min(self.max_seconds, max(0.0, self.seconds + (share - self.target) * self.gain))
        return self.seconds
