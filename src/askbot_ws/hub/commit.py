"""Group commit: everything that arrives in one tick of the loop, for any session, goes to the store in one write.

Where the store takes its time, what arrives meanwhile makes the next batch: batches grow with the load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import structlog

from ..core.limits import Pace
from ..core.log import PIECE, join
from ..errors import StoreError
from ..events import Event, Token, encode_event
from ..store import Store
from .live import Live

FEW = 50  # events that are no reason to look at the clock
MANY = 128  # sessions with something to write: then their memory is in the processor's caches still

log = structlog.get_logger(__name__)

OnLost: TypeAlias = Callable[[Live, Sequence[Event], StoreError], None]
Written: TypeAlias = tuple[Sequence[Event], Sequence[bytes]]  # what is new, and its frames
Waiter: TypeAlias = tuple[Live | None, asyncio.Future[None]]  # None: it waits for all sessions


class Commits:
    """The way of all events into the store, and only then to the readers (PROTOCOL 1, promise 2)."""

    def __init__(
        self,
        store: Store,
        *,
        on_lost: OnLost,
        on_landed: Callable[[Live], None],
        nap: Callable[[float], None] | None = None,
    ) -> None:
        """`on_lost` undoes what the store did not take; `on_landed` is told that a session's batch is done with.

        `nap` stops the whole loop for so many seconds, where it may be stopped.
        """
        self._store = store
        self._on_lost = on_lost
        self._on_landed = on_landed
        self._loop = asyncio.get_running_loop()
        self._batch: dict[Live, list[Event]] = {}
        self._flying: Mapping[Live, Written] = {}  # what the store is writing
        self._owing: dict[Live, None] = {}  # those with events that were shown and are still to be stored
        self._waiters: list[Waiter] = []
        self._due = False  # a flush is scheduled or under way
        self._nap = nap
        self._pace = Pace(free=2_000, step=3e-6, most=0.04)  # events a second; docs/decisions/0006
        self._woke = 0.0  # from the last nap
        self._written = 0  # events, since then
        self._hurried = False  # whoever waited for this tick's commits has a turn to begin: no nap before that

    def add(self, live: Live, events: Sequence[Event]) -> None:
        """Add events to the batch of this tick."""
        pending = self._batch.get(live)
        if pending is None:
            self._batch[live] = [*events]
        else:
            for event in events:
                last = pending[-1] if pending else None
                if type(event) is Token and type(last) is Token and _one_frame(last, event):
                    pending[-1] = join(last, event)
                else:
                    pending.append(event)
        self._flush_soon()

    def add_text(self, live: Live, events: list[Event]) -> None:
        """Add events from which nothing follows; the list is ours now. Of many sessions, not for the tick's end."""
        if live in self._batch:
            self.add(live, events)
            return
        self._batch[live] = events
        if not self._due:  # as in `_flush_soon`; each token passes here
            self._due = True
            self._loop.call_soon(self._flush)
        elif len(self._batch) >= MANY and not self._flying:
            self._write()
            self._due = True  # the flush that is scheduled is still to come

    def hold(self, live: Live) -> bool:
        """Whether some of this session is not stored yet."""
        return live in self._batch or live in self._flying or live in self._owing

    def waive(self, live: Live) -> None:
        """What is owed to this session need not be stored any more."""
        self._owing.pop(live, None)
        live.owed.clear()

    async def landed(self, live: Live) -> None:
        """Wait until all that was added so far is stored. Raises `StoreError` where this session lost any of it."""
        if self._due:
            await self._wait(live)

    async def settled(self) -> None:
        """Wait until all there is, of all sessions, is stored, with what is owed. Raises `StoreError`."""
        for live in self._owing:
            self._batch.setdefault(live, [])
        if self._batch:
            self._flush_soon()
        if self._due:
            await self._wait(None)

    def _wait(self, live: Live | None) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((live, waiter))
        return waiter

    def _flush_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """The end of a tick."""
        if self._flying:
            return  # what was hurried is still on its way; `_land` comes back
        self._write()
        if (self._pace.pause or self._written >= FEW) and not (self._hurried or self._flying):
            self._rest()
        self._hurried = False

    def _write(self) -> None:
        """Give the batch to the store, with what is owed. Errors leave by `_land`, like everything else."""
        batch, self._batch = self._batch, {}
        waiters: Sequence[Waiter] = ()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            self._hurried = True
        flying: dict[Live, Written] = {}
        events: list[Event] = []
        frames: list[bytes] = []
        for live in self._owing:
            events += live.owed
            frames += map(encode_event, live.owed)
            batch.setdefault(live, [])
        for live, mine in batch.items():
            encoded: list[bytes] = []
            for event in mine:
                encoded.append(encode_event(event))  # noqa: PERF401  a comprehension is a call, and `map` is worse
            flying[live] = mine, encoded
            events += mine
            frames += encoded
        self._flying = flying
        self._written += len(events)
        try:
            storing = self._store.append(events, frames)
        except StoreError as error:
            self._land(waiters, error)
            return
        except Exception as error:  # a fault of ours: it may cost these turns, but not all that come
            log.exception("append_failed")
            self._land(waiters, _as_store_error(error))
            return
        if storing is None:
            self._land(waiters, None)
        else:
            task = asyncio.ensure_future(storing)
            task.add_done_callback(lambda done: self._land(waiters, _error_of(done)))

    def _rest(self) -> None:
        """Where there is much to do, let more of it come before the next look: it costs less together."""
        now = time.monotonic()
        pause = self._woke + self._pace.pause - now
        if pause > 0 and self._nap is not None:
            self._nap(pause)
            now = time.monotonic()
        self._woke = now
        self._pace.add(self._written, now=now)
        self._written = 0

    def _land(self, waiters: Sequence[Waiter], error: StoreError | None) -> None:
        landed, self._flying = self._flying, {}
        self._due = False
        if error is None:
            for live, (events, frames) in landed.items():
                if live.owed:
                    self.waive(live)
                if events:
                    live.session.stored(events[-1].seq)
                    live.wake(events, frames)
                if not live.readers:  # whoever is read is not at rest
                    self._on_landed(live)
        else:
            for live, (events, _) in landed.items():
                self._lose(live, events, error)
            later = [waiter for waiter in self._waiters if waiter[0] in landed]  # what they wait for is lost as well
            self._waiters = [waiter for waiter in self._waiters if waiter[0] not in landed]
            _tell([waiter for waiter in (*waiters, *later) if waiter[0] is None or waiter[0] in landed], error)
            for live in landed:
                self._on_landed(live)
        if waiters:
            _tell(waiters, None)
        if self._batch or self._waiters:
            self._flush_soon()

    def _lose(self, live: Live, events: Sequence[Event], error: StoreError) -> None:
        lost = [*events, *self._batch.pop(live, [])]
        if lost:
            self._on_lost(live, lost, error)
        if live.owed:
            self._owing[live] = None


def _one_frame(one: Token, other: Token) -> bool:
    return one.turn == other.turn and len(one.text) + len(other.text) <= PIECE


def _tell(waiters: Sequence[Waiter], error: StoreError | None) -> None:
    for _, waiter in waiters:
        if not waiter.done():
            waiter.set_result(None) if error is None else waiter.set_exception(error)


def _error_of(done: asyncio.Future[None]) -> StoreError | None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    return None if error is None else _as_store_error(error)


def _as_store_error(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    failure = StoreError()
    failure.__cause__ = error
    return failure
