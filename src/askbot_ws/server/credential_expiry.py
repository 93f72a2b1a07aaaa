"""Credential expiry: reports connections whose credential has ended, at the moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from ..dialects.connection import Connection

MAX_TIMER_SECONDS = 60.0  # after which the time is read again: the clock may have been set, or the machine have slept


class ExpiryMonitor:
    """One timer for all connections."""

    def __init__(self, on_expired: Callable[[Connection], None], *, now: Callable[[], float] = time.time) -> None:
        """`on_expired` is called with each connection; `now` is the time in seconds since 1970."""
        self._on_expired = on_expired
        self._now = now
        self._watched: dict[Connection, float] = {}
        self._heap: list[tuple[float, int, Connection]] = []  # also outdated entries, which are not in `_watched`
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # the first expiry when the timer was set

    @property
    def size(self) -> int:
        """How many entries it holds, outdated ones too."""
        return len(self._heap)

    def watch(self, connection: Connection) -> None:
        """Watch a connection, until its principal expires; call it again when it has another principal."""
        self.forget(connection)
        expires = connection.principal.expires
        if expires is None:
            return
        self._watched[connection] = expires
        heappush(self._heap, (expires, next(self._numbers), connection))
        if self._timer is None or expires < self._timer_at:
            self._schedule()

    def forget(self, connection: Connection) -> None:
        """Stop watching a connection."""
        self._watched.pop(connection, None)
        if len(self._heap) > 2 * len(self._watched) + 64:
            self._heap = [entry for entry in self._heap if self._watched.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def check(self) -> None:
        """Report what has expired by now; the timer calls it."""
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            expires, _, connection = heappop(self._heap)
            if self._watched.get(connection) == expires:
                del self._watched[connection]
                self._on_expired(connection)
        self._schedule()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watched.clear()
        self._heap.clear()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer_at = self._heap[0][0]
            seconds = min(MAX_TIMER_SECONDS, max(0.001, self._timer_at - self._now()))
            self._timer = asyncio.get_running_loop().call_later(seconds, self.check)
