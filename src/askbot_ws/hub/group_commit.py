"""Group commit: everything that arrives in one tick of the loop, for any session, goes to the store in one write.

Where the store takes its time, what arrives meanwhile makes the next batch: batches grow with the load. What goes
wrong with one session, in encoding, storing or showing, costs that session its events and no other anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import structlog

from ..core.log_tail import MAX_TOKEN_CHARS, join_tokens
from ..errors import LogMoved, StoreError
from ..events import Done, Event, Token, encode_event
from ..store import Entry, Failures, Store
from .owner import Owner

MIN_EVENTS_FOR_THROTTLE = 50  # events that are no reason to look at the clock
UNSTORED_RETRY_SECONDS = 1.0  # seconds between two attempts to store the ends that the store did not take
MAX_BATCH_SESSIONS = 128  # sessions with something to write: then their memory is in the processor's caches still

log = structlog.get_logger(__name__)

Waiter: TypeAlias = tuple[Owner | None, asyncio.Future[None]]  # None: it waits for all sessions


class Throttle(Protocol):
    """Lets the loop pause after a commit, so that more is done at once."""

    pause: float  # seconds; 0: there is no need

    def after_commit(self) -> None:
        """Events were written, and nobody waits for what follows."""


class GroupCommit:
    """The way of all events into the store, and only then to the readers (docs/protocol.md, promise 2)."""

    def __init__(
        self,
        store: Store,
        *,
        on_failed: Callable[[Owner, Sequence[Event], StoreError], None],
        on_stored: Callable[[Owner], None],
        on_broken: Callable[[Owner, Exception], None],
        throttle: Throttle | None = None,
    ) -> None:
        """`on_failed` undoes what the store did not take; `on_stored` is told when an owner's batch is done with.

        `on_broken` gets an owner in which a fault of ours came up: nobody knows any more what its state is.
        """
        self._store = store
        self._on_failed = on_failed
        self._on_stored = on_stored
        self._on_broken = on_broken
        self._throttle = throttle
        self._loop = asyncio.get_running_loop()
        self._batch: dict[Owner, list[Event]] = {}
        self._in_flight: Mapping[Owner, Entry] = {}  # what the store is writing
        self._unencodable: dict[Owner, StoreError] = {}  # of those
        self._owners_with_unstored: dict[
            Owner, None
        ] = {}  # owners with ends that were shown and are still to be stored
        self._retry_at = 0.0  # when those are tried again, though their sessions have nothing new
        self._waiters: list[Waiter] = []
        self._scheduled = False  # a flush is scheduled or under way
        self._events_since_throttle = 0  # events, since the throttle was told
        self._skip_throttle = False  # whoever waited for this tick's commits has a turn to begin: no pause before that

    def add(self, owner: Owner, events: Sequence[Event]) -> None:
        """Add events to the batch of this tick."""
        pending = self._batch.get(owner)
        if pending is None:
            self._batch[owner] = [*events]
        else:
            for event in events:
                last = pending[-1] if pending else None
                if type(event) is Token and type(last) is Token and _fit_one_frame(last, event):
                    pending[-1] = join_tokens(last, event)
                else:
                    pending.append(event)
        self._schedule()

    def add_text(self, owner: Owner, events: list[Event]) -> None:
        """Add events from which nothing follows; the list is ours now. Of many sessions, not for the tick's end."""
        if owner in self._batch:
            self.add(owner, events)
            return
        self._batch[owner] = events
        if not self._scheduled:  # as in `_schedule`; each token passes here
            self._scheduled = True
            self._loop.call_soon(self._flush)
        elif len(self._batch) >= MAX_BATCH_SESSIONS and not self._in_flight:
            self._write()
            self._scheduled = True  # the flush that is scheduled is still to come

    def is_pending(self, owner: Owner) -> bool:
        """Whether some of this session is not stored yet."""
        return owner in self._batch or owner in self._in_flight or owner in self._owners_with_unstored

    def discard(self, owner: Owner) -> None:
        """Nothing more of this owner is to be stored. Whoever waits for that gets a `StoreError`."""
        self._batch.pop(owner, None)
        self._owners_with_unstored.pop(owner, None)
        owner.unstored.clear()
        waiting = [waiter for other, waiter in self._waiters if other is owner and not waiter.done()]
        self._waiters = [each for each in self._waiters if each[0] is not owner]
        for waiter in waiting:
            waiter.set_exception(StoreError())

    async def wait_stored(self, owner: Owner) -> None:
        """Wait until all that was added so far is stored. Raises `StoreError` where this session lost any of it."""
        if self._scheduled:
            await self._add_waiter(owner)

    async def wait_all_stored(self) -> None:
        """Wait until all there is, of all sessions, is stored, unstored ends too. Raises `StoreError`."""
        for owner in self._owners_with_unstored:
            self._batch.setdefault(owner, [])
        if self._batch:
            self._schedule()
        if self._scheduled:
            await self._add_waiter(None)

    def _add_waiter(self, owner: Owner | None) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((owner, waiter))
        return waiter

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """The end of a tick."""
        if self._in_flight:
            return  # a part of it is still being written; `_finish` comes back
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

    def _write(self) -> None:
        """Give the batch to the store, with the ends that it did not take before."""
        batch, self._batch = self._batch, {}
        waiters: Sequence[Waiter] = ()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            self._skip_throttle = True
        if (
            self._owners_with_unstored and self._loop.time() >= self._retry_at
        ):  # a full disk is not to be asked at each token
            self._retry_at = self._loop.time() + UNSTORED_RETRY_SECONDS
            for owner in self._owners_with_unstored:
                batch.setdefault(owner, [])
        in_flight: dict[Owner, Entry] = {}
        entries: dict[str, Entry] = {}
        for owner, events in batch.items():
            frames: list[bytes] = []
            try:
                for event in events:
                    frames.append(encode_event(event))  # noqa: PERF401  a comprehension is a call, and `map` is worse
            except Exception as error:  # noqa: BLE001 - a fault in what we let in is that session's
                self._unencodable[owner] = _as_store_error(error)
            in_flight[owner] = entries[owner.session] = (events, frames)
            self._events_since_throttle += len(events)
            if owner.unstored or not events or owner in self._unencodable:
                self._replace_entry(owner, entries)
        self._in_flight = in_flight
        try:
            outcome = self._store.append(entries) if entries else {}  # of nothing, it would not be known as under way
        except Exception as error:  # noqa: BLE001 - it does not; if it did, the next tick must come all the same
            outcome = dict.fromkeys(entries, _as_store_error(error))
        if isinstance(outcome, dict):
            self._finish(waiters, outcome)
        else:
            asyncio.ensure_future(outcome).add_done_callback(
                lambda done: self._finish(waiters, _failures_of(done, entries))
            )

    def _replace_entry(self, owner: Owner, entries: dict[str, Entry]) -> None:
        """What is written is not what is new: ends are still to be stored, or what is new can't be encoded."""
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
        """The store is done: show what it took, undo what it did not take, and go on."""
        in_flight, self._in_flight = self._in_flight, {}
        self._scheduled = False
        if failures or self._unencodable:
            in_flight, waiters = self._handle_failures(in_flight, failures, waiters)
        for owner, (events, frames) in in_flight.items():
            try:
                if owner.unstored or owner in self._owners_with_unstored:
                    owner.unstored.clear()
                    self._owners_with_unstored.pop(owner, None)
                if events:
                    owner.state.mark_stored(events[-1].seq)
                    owner.topic.wake(events, frames)
                if not owner.topic.readers or not events or type(events[-1]) is Done:  # else it can't be idle now
                    self._on_stored(owner)
            except Exception as error:  # noqa: BLE001 - a fault in one session is that session's
                self._on_broken(owner, error)
        for _, waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._batch or self._waiters:
            self._schedule()

    # --- failing -----------------------------------------------------------------------------------------------------

    def _handle_failures(
        self, in_flight: Mapping[Owner, Entry], failures: Failures, waiters: Sequence[Waiter]
    ) -> tuple[Mapping[Owner, Entry], Sequence[Waiter]]:
        """Undo what was lost, with what came after it; returns what was not, and who waits for something else."""
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
                self._owners_with_unstored[owner] = None
        waiters = self._notify_waiters(waiters, failures)
        for owner, _, _ in failed:
            self._on_stored(owner)
        return {owner: entry for owner, entry in in_flight.items() if owner.session not in failures}, waiters

    def _notify_waiters(self, waiters: Sequence[Waiter], failures: Failures) -> list[Waiter]:
        """Tell those who wait for what was lost, or came after it; returns the others."""
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


def _fit_one_frame(one: Token, other: Token) -> bool:
    return one.turn == other.turn and len(one.text) + len(other.text) <= MAX_TOKEN_CHARS


def _failures_of(done: asyncio.Future[Failures], entries: Mapping[str, Entry]) -> Failures:
    """What an append that took its time has come to. It does not raise; if it did, all of it has failed."""
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    return done.result() if error is None else dict.fromkeys(entries, _as_store_error(error))


def _as_store_error(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    failure = StoreError()
    failure.__cause__ = error
    log.error("append_failed", exc_info=error)
    return failure
