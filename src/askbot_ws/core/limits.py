"""Limits: a token bucket and a pause controller, as arithmetic on a time that is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """A rate limit: `burst` acquisitions at once, `rate` a second in the long run."""

    rate: float
    burst: float
    level: float = 0.0  # each acquisition adds its amount, time subtracts
    updated_at: float = 0.0

    def acquire(self, *, now: float, amount: float = 1.0) -> float:
        """Acquire an amount and return 0.0; or acquire nothing and return how many seconds to wait."""
        wait = self.wait(now=now, amount=amount)
        if not wait:
            self.level += amount
        return wait

    def wait(self, *, now: float, amount: float = 1.0) -> float:
        """Return how many seconds to wait for an amount; one of more than `burst` waits until the bucket is unused."""
        self._drain(now)
        return max(0.0, self.level + min(amount, self.burst) - self.burst) / self.rate

    def charge(self, amount: float, *, now: float) -> None:
        """Count what was used without being acquired; a negative amount gives back."""
        self._drain(now)
        self.level = max(0.0, self.level + amount)

    def _drain(self, now: float) -> None:
        self.level = max(0.0, self.level - (now - self.updated_at) * self.rate)
        self.updated_at = now

    def is_unused(self, *, now: float) -> bool:
        """Return whether all acquisitions have expired: then it is no different from a new one."""
        return self.level <= (now - self.updated_at) * self.rate


@dataclass(slots=True)
class LoopPauseController:
    """How long an event loop pauses after a commit, by its use of the CPU: later commits are larger and cost less.

    Above `target` (a share of the available CPU) the pause grows with the difference, up to `max_seconds`; below, it
    shrinks to 0.
    """

    max_seconds: float
    target: float = 0.85
    gain: float = 0.02  # seconds by which the pause changes for a difference of one whole CPU, at each update
    seconds: float = 0.0  # the current pause

    def update(self, *, used_seconds: float, available_seconds: float) -> float:
        """Return the new pause in seconds, from the CPU time used and available since the last update."""
        share = used_seconds / available_seconds if available_seconds > 0 else 1.0
        self.seconds = min(self.max_seconds, max(0.0, self.seconds + (share - self.target) * self.gain))
        return self.seconds
