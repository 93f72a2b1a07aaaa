"""Group commit: everything that arrives in one tick of the loop, for any session, goes to the store in one write.

Where the store takes its time, what arrives meanwhile makes the next batch: batches grow with the load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..core.log import join
from ..errors import StoreError
from ..frames import Event, Token, encode
from ..store import Store
from .live import Live

OnLost = Callable[[Live, Sequence[Event], StoreError], None]


class Commits:
    """The way of all events into the store, and only then to the readers (PROTOCOL 1, promise 2)."""

    def __init__(self, store: Store, on_lost: OnLost) -> None:
        self._store = store
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._batch: dict[Live, list[Event]] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._due = False  # a flush is scheduled or under way

    def add(self, live: Live, events: Sequence[Event]) -> None:
        """Add events to the batch of this tick."""
        for event in events:
            pending = self._batch.setdefault(live, [])
            last = pending[-1] if pending else None
            if type(event) is Token and type(last) is Token and last.turn == event.turn:
                pending[-1] = join(last, event)
            else:
                pending.append(event)
        if not self._due and self._batch:
            self._due = True
            self._loop.call_soon(self._flush)

    async def landed(self) -> None:
        """Wait until all that was added so far is stored. Raises `StoreError` where it could not be."""
        if not self._due:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _flush(self) -> None:
        """Give the batch to the store. Errors leave by `_land`, like everything else."""
        lives = {live: [(event, encode(event)) for event in live.owed + events] for live, events in self._batch.items()}
        waiters, self._batch, self._waiters = self._waiters, {}, []
        try:
            storing = self._store.append([entry for entries in lives.values() for entry in entries])
        except StoreError as error:
            self._land(lives, waiters, error)
            return
        if storing is None:
            self._land(lives, waiters, None)
        else:
            task = asyncio.ensure_future(storing)
            task.add_done_callback(lambda done: self._land(lives, waiters, _error_of(done)))

    def _land(
        self,
        lives: dict[Live, list[tuple[Event, bytes]]],
        waiters: list[asyncio.Future[None]],
        error: StoreError | None,
    ) -> None:
        self._due = False
        for live, entries in lives.items():
            if error is None:
                self._show(live, entries)
            else:
                lost = [event for event, _ in entries[len(live.owed) :]]
                self._on_lost(live, lost + self._batch.pop(live, []), error)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None) if error is None else waiter.set_exception(error)
        if self._batch or self._waiters:
            self._due = True
            self._loop.call_soon(self._flush)

    def _show(self, live: Live, entries: list[tuple[Event, bytes]]) -> None:
        fresh = entries[len(live.owed) :]
        live.owed.clear()
        live.wake(fresh[0][0].start, fresh)


def _error_of(done: asyncio.Future[None]) -> StoreError | None:
    if done.cancelled():
        return StoreError()
    error = done.exception()
    if error is None or isinstance(error, StoreError):
        return error
    raise error
