"""Group commit: writes the events of one tick of the event loop, of all sessions, to the store in one call.

While the store is busy, events collect for the next batch: batches grow with the load. A fault in encoding, storing
or showing events of one session makes that session lose events, and no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog

from ..core.log_tail import MAX_TOKEN_CHARS, join_slices
from ..errors import LogMoved, StoreError
from ..events import Done, Event, Thinking, Token, encode_event
from ..metrics import Metrics
from ..store import Entry, Failures, Store
from .owner import Owner

MIN_EVENTS_FOR_THROTTLE = 50  # committed events before the throttle is called: it reads clocks
UNSTORED_RETRY_SECONDS = 1.0  # between two attempts to store ends that the store did not accept
STALL_SECONDS = 1.0  # of an append, after which the store counts as away
MAX_BATCH_SESSIONS = 128  # in one batch: so that what it touches stays in the processor's caches

log = structlog.get_logger(__name__)

Waiter: TypeAlias = tuple[Owner | None, asyncio.Future[None]]  # None: it waits for all sessions


@dataclass(frozen=True, slots=True)
class AppendInterval:
    """How long events wait for others after an append, so that they share the next one; all in seconds.

    Attributes:
        shortest: Between two appends, whatever waits.
        longest: Between two appends while fewer than `enough` sessions have events.
        enough: Sessions whose events are worth an append of their own.
    """

    shortest: float
    longest: float
    enough: int


SHARED_INTERVAL = AppendInterval(0.002, 0.020, 12)
"""For a store over a network, where an append costs as much as several tokens (docs/decisions/0015)."""


class Throttle(Protocol):
    """Pauses the event loop after commits, so that later commits are larger."""

    pause: float  # the current pause in seconds; 0: none

    def after_commit(self) -> None:
        """Called after events were written, unless someone waits for what comes next."""


class GroupCommit:
    """Stores all events, and notifies readers once they are stored (docs/protocol.md, promise 2)."""

    def __init__(
        self,
        store: Store,
        *,
        on_failed: Callable[[Owner, Sequence[Event], StoreError], None],
        on_stored: Callable[[Owner], None],
        on_broken: Callable[[Owner, Exception], None],
        throttle: Throttle | None = None,
        metrics: Metrics | None = None,
        interval: AppendInterval | None = None,
    ) -> None:
        """`interval`: how long events wait after an append, unless a command waits for them; None: not at all.

        `on_failed` undoes events that the store did not accept; `on_stored` is called after each batch of an owner.

        `on_broken` is called with an owner whose state is unknown, as a callback raised.
        """
        self._store = store
        self._on_failed = on_failed
        self._on_stored = on_stored
        self._on_broken = on_broken
        self._throttle = throttle
        self._metrics = metrics or Metrics()
        self._interval = interval
        self._enough = MAX_BATCH_SESSIONS if interval is None else interval.enough
        self._appended_at = 0.0  # by the loop's clock, where there is an interval
        self._more_awaited: asyncio.TimerHandle | None = None  # a flush, unless there is enough for one before
        self._write_started_at = 0.0  # of the batch in flight, by `time.perf_counter`
        self._loop = asyncio.get_running_loop()
        self._batch: dict[Owner, list[Event]] = {}
        self._in_flight: Mapping[Owner, Entry] = {}  # what the store is writing
        self._unencodable: dict[Owner, StoreError] = {}  # owners in flight whose events can't be encoded
        self._unstored_owners: dict[Owner, None] = {}  # their ends were shown and are still to be stored
        self._retry_at = 0.0  # when those are tried again without new events of their sessions
        self._waiters: list[Waiter] = []
        self.append_started_at: float | None = None  # of an append that takes longer; by the loop's clock
        self._scheduled = False  # a flush is scheduled or in progress
        self._events_since_throttle = 0
        self._skip_throttle = False  # a waiter of this tick has a turn to start: no pause before that

    def add(self, owner: Owner, events: Sequence[Event]) -> None:
        """Add events to the batch of this tick."""
        pending = self._batch.get(owner)
        if pending is None:
            self._batch[owner] = [*events]
        else:
            for event in events:
                joined = _join_in_one_frame(pending[-1], event) if pending else None
                if joined is None:
                    pending.append(event)
                else:
                    pending[-1] = joined
        self._schedule()

    def add_text(self, owner: Owner, events: list[Event]) -> None:
        """Add text events, and keep the list. With `MAX_BATCH_SESSIONS` they are written before the tick's end."""
        if owner in self._batch:
            self.add(owner, events)
            return
        self._batch[owner] = events
        if not self._scheduled:  # as in `_schedule`, without its call for each token
            self._scheduled = True
            self._loop.call_soon(self._flush)
        elif len(self._batch) >= self._enough:
            self._on_enough()

    def _on_enough(self) -> None:
        if self._more_awaited is not None:
            self._await_no_more()
        elif len(self._batch) >= MAX_BATCH_SESSIONS and not self._in_flight:
            self._write()
            self._scheduled = True  # the scheduled flush is still to come

    def is_pending(self, owner: Owner) -> bool:
        """Return whether events of this owner are not stored yet."""
        return owner in self._batch or owner in self._in_flight or owner in self._unstored_owners

    @property
    def is_stalled(self) -> bool:
        """Whether the store has not taken an append for a while; what comes after it waits in memory."""
        return self.append_started_at is not None and self._loop.time() - self.append_started_at > STALL_SECONDS

    def discard(self, owner: Owner) -> None:
        """Drop the events of this owner. Its waiters get a `StoreError`."""
        self._batch.pop(owner, None)
        self._unstored_owners.pop(owner, None)
        owner.unstored.clear()
        waiting = [waiter for other, waiter in self._waiters if other is owner and not waiter.done()]
        self._waiters = [each for each in self._waiters if each[0] is not owner]
        for waiter in waiting:
            waiter.set_exception(StoreError())

    async def wait_stored(self, owner: Owner) -> None:
        """Wait until all events added so far are stored. Raises `StoreError` where this owner lost any."""
        if self._scheduled:
            await self._add_waiter(owner)

    async def wait_all_stored(self) -> None:
        """Wait until all events of all owners are stored, unstored ends too. Raises `StoreError`."""
        for owner in self._unstored_owners:
            self._batch.setdefault(owner, [])
        if self._batch:
            self._schedule()
        if self._scheduled:
            await self._add_waiter(None)

    def _add_waiter(self, owner: Owner | None) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((owner, waiter))
        self._await_no_more()
        return waiter

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write the batch at the end of a tick, then call the throttle."""
        if self._in_flight:
            return  # a write is in progress; `_finish` schedules the next
        if self._interval is not None and not self._waiters and self._waits(self._interval):
            return
        self._write()
        throttle = self._throttle
        if (
            throttle is not None
            and (self._events_since_throttle >= MIN_EVENTS_FOR_THROTTLE or throttle.pause)
            and not (self._skip_throttle or self._in_flight)
        ):
            throttle.after_commit()
            self._events_since_throttle = 0
        self._skip_throttle = False

    def _waits(self, interval: AppendInterval) -> bool:
        """Return whether this flush comes too soon after the last append; then there is a later one."""
        self._more_awaited = None
        now = self._loop.time()
        if now < self._appended_at + interval.shortest:
            self._loop.call_at(self._appended_at + interval.shortest, self._flush)
            return True
        if len(self._batch) < interval.enough and now < self._appended_at + interval.longest:
            self._more_awaited = self._loop.call_at(self._appended_at + interval.longest, self._flush)
            return True
        self._appended_at = now
        return False

    def _await_no_more(self) -> None:
        """Flush at the end of this tick, where that waits for more events."""
        if self._more_awaited is not None:
            self._more_awaited.cancel()
            self._more_awaited = None
            self._loop.call_soon(self._flush)

    def _write(self) -> None:
        """Give the batch to the store, with the ends that it did not accept before."""
        self._write_started_at = time.perf_counter()
        event_count = 0
        batch, self._batch = self._batch, {}
        waiters: Sequence[Waiter] = ()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            self._skip_throttle = True
        if self._unstored_owners and self._loop.time() >= self._retry_at:  # not at each token while a disk is full
            self._retry_at = self._loop.time() + UNSTORED_RETRY_SECONDS
            for owner in self._unstored_owners:
                batch.setdefault(owner, [])
        in_flight: dict[Owner, Entry] = {}
        entries: dict[str, Entry] = {}
        for owner, events in batch.items():
            frames: list[bytes] = []
            try:
                for event in events:
                    frames.append(encode_event(event))  # noqa: PERF401  a comprehension is a call, and `map` is worse
            except Exception as error:  # noqa: BLE001 - a fault in one session must not end another
                self._unencodable[owner] = _as_store_error(error)
            in_flight[owner] = entries[owner.session] = (events, frames)
            event_count += len(events)
            if owner.unstored or not events or owner in self._unencodable:
                self._replace_entry(owner, entries)
        self._in_flight = in_flight
        self._events_since_throttle += event_count
        self._metrics.commit_events.observe(event_count)
        try:
            outcome = self._store.append(entries) if entries else {}
        except Exception as error:  # noqa: BLE001 - a store does not raise; if one did, later ticks must come
            outcome = dict.fromkeys(entries, _as_store_error(error))
        if isinstance(outcome, dict):
            self._finish(waiters, outcome)
        else:
            self.append_started_at = self._loop.time()
            asyncio.ensure_future(outcome).add_done_callback(
                lambda done: self._finish(waiters, _failures_of(done, entries))
            )

    def _replace_entry(self, owner: Owner, entries: dict[str, Entry]) -> None:
        """Put unstored ends before an owner's new events, and leave out events that can't be encoded."""
        new = entries.pop(owner.session)
        events: list[Event] = [*owner.unstored]
        try:
            frames = [*map(encode_event, owner.unstored)]
        except Exception as error:  # noqa: BLE001 - as in `_write`
            self._unencodable[owner] = _as_store_error(error)
            owner.unstored.clear()
            return
        if owner not in self._unencodable:
            events += new[0]
            frames += new[1]
        if events:
            entries[owner.session] = events, frames

    def _finish(self, waiters: Sequence[Waiter], failures: Failures) -> None:
        """Handle the store's outcome: show what it stored, undo what it did not store, schedule the next batch."""
        in_flight, self._in_flight = self._in_flight, {}
        self._scheduled = False
        self.append_started_at = None
        if failures or self._unencodable:
            in_flight, waiters = self._handle_failures(in_flight, failures, waiters)
        for owner, (events, frames) in in_flight.items():
            try:
                if owner.unstored or owner in self._unstored_owners:
                    owner.unstored.clear()
                    self._unstored_owners.pop(owner, None)
                if events:
                    owner.state.mark_stored(events[-1].seq)
                    owner.topic.notify(events, frames)
                if not owner.topic.readers or not events or type(events[-1]) is Done:  # else it is not idle
                    self._on_stored(owner)
            except Exception as error:  # noqa: BLE001 - a fault in one session must not end another
                self._on_broken(owner, error)
        for _, waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._metrics.commit.observe(time.perf_counter() - self._write_started_at)
        if self._batch or self._waiters:
            self._schedule()

    # --- failing -----------------------------------------------------------------------------------------------------

    def _handle_failures(
        self, in_flight: Mapping[Owner, Entry], failures: Failures, waiters: Sequence[Waiter]
    ) -> tuple[Mapping[Owner, Entry], Sequence[Waiter]]:
        """Undo lost events and those after them; returns the entries that were stored, and their waiters."""
        unencodable, self._unencodable = self._unencodable, {}
        failures = failures | {owner.session: error for owner, error in unencodable.items()}
        failed = [
            (owner, events, error) for owner, (events, _) in in_flight.items() if (error := failures.get(owner.session))
        ]
        for owner, events, error in failed:
            lost = [*events, *self._batch.pop(owner, [])]
            try:
                if lost or isinstance(error, LogMoved):
                    self._on_failed(owner, lost, error)
            except Exception as fault:  # noqa: BLE001 - as in `_finish`
                self._on_broken(owner, fault)
            if owner.unstored:
                self._unstored_owners[owner] = None
        waiters = self._notify_waiters(waiters, failures)
        for owner, _, _ in failed:
            self._on_stored(owner)
        return {owner: entry for owner, entry in in_flight.items() if owner.session not in failures}, waiters

    def _notify_waiters(self, waiters: Sequence[Waiter], failures: Failures) -> list[Waiter]:
        """Fail the waiters of sessions that lost events; returns the other waiters."""
        later = [(owner, waiter) for owner, waiter in self._waiters if owner and owner.session in failures]
        self._waiters = [each for each in self._waiters if each not in later]
        others: list[Waiter] = []
        for owner, waiter in (*waiters, *later):
            error = next(iter(failures.values())) if owner is None else failures.get(owner.session)
            if error is None:
                others.append((owner, waiter))
            elif not waiter.done():
                waiter.set_exception(error)
        return others


def _join_in_one_frame(one: Event, other: Event) -> Event | None:
    """Join two slices of one type and turn; None where they are something else, or do not fit into one frame."""
    if (type(one) is Token and type(other) is Token) or (type(one) is Thinking and type(other) is Thinking):
        fit = one.turn == other.turn and len(one.text) + len(other.text) <= MAX_TOKEN_CHARS
        return join_slices(one, other) if fit else None
    return None


def _failures_of(done: asyncio.Future[Failures], entries: Mapping[str, Entry]) -> Failures:
    """Return the outcome of an asynchronous append. It does not raise; if it did, all entries have failed."""
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    return done.result() if error is None else dict.fromkeys(entries, _as_store_error(error))


def _as_store_error(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    failure = StoreError()
    failure.__cause__ = error
    log.error("commit_failed", exc_info=error)
    return failure
