"""Deadline: a timer that is moved by an assignment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_LATE_SECONDS = 0.1  # of a timer: later, the process has not run, and has not read what has come meanwhile


class Deadline:
    """Calls `on_expired` once the loop's clock has passed `at`.

    Assigning a later time to `at` moves it: when the timer fires at the old time, it is set again. After a pause of the
    process, or of the machine, it expires a moment later, so that what has come during the pause can move it.
    """

    __slots__ = ("_loop", "_on_expired", "_postponed", "_timer", "at")

    def __init__(self, on_expired: Callable[[], None]) -> None:
        self.at = 0.0
        self._on_expired = on_expired
        self._postponed: float | None = None  # the time `at` for which a late timer was set again
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Expire after so many seconds from now. To move it further away, assigning to `at` is enough."""
        self.at = self._loop.time() + seconds
        if self._timer is None or self.at < self._timer.when():
            self.cancel()
            self._set_timer(self.at)

    def cancel(self) -> None:
        """Do not expire any more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, due: float) -> None:
        self._timer = self._loop.call_at(due, self._check, due)

    def _check(self, due: float) -> None:
        self._timer = None
        now = self._loop.time()
        if now < self.at:
            self._set_timer(self.at)
        elif now - due > MAX_LATE_SECONDS and self._postponed != self.at:  # once, as a busy loop is always late
            self._postponed = self.at
            self._set_timer(now + MAX_LATE_SECONDS)
        else:
            self._on_expired()
