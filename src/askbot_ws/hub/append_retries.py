"""Append retries: keeps what a store of several nodes can't take just now, and gives it the same again.

Meanwhile answers go on in memory, and readers wait: nobody is shown what the store does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import structlog

from ..errors import LogMoved
from ..events import Event, TextSlice
from ..store import Entry, Failures
from .owner import Owner

RETRY_SECONDS = 60.0  # for which events are kept
RETRY_DELAY_SECONDS = 0.25  # between two attempts
MAX_HELD_CHARS = 16 * 2**20  # code points that all sessions may add meanwhile

log = structlog.get_logger(__name__)

Waiter: TypeAlias = tuple[Owner | None, asyncio.Future[None]]  # None: it waits for all sessions


class AppendRetries:
    """The entries that are to be given to the store again, unchanged: it may have taken them already."""

    def __init__(self, *, max_seconds: float, on_due: Callable[[], None]) -> None:
        """`max_seconds` is for how long entries are kept, 0: not at all; `on_due` is called when to try again."""
        self.entries: dict[Owner, Entry] = {}
        self.is_due = False
        self.since: dict[Owner, float] = {}  # when it began, by the loop's clock; also of what is in flight again
        self._max_seconds = max_seconds
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()

    def discard(self, owner: Owner) -> None:
        """Forget what is kept of an owner."""
        self.entries.pop(owner, None)
        self.since.pop(owner, None)

    def note_stored(self, owners: Collection[Owner]) -> None:
        """Note that the store has taken what these owners appended."""
        for owner in owners:
            self.since.pop(owner, None)

    def keep(
        self, in_flight: Mapping[Owner, Entry], failures: Failures, held: Mapping[Owner, Sequence[Event]]
    ) -> Mapping[Owner, Entry]:
        """Keep the entries that failed, and return them; `held` has what the sessions have added since.

        Not kept is what had its time, and that of a session that has another owner.
        """
        if not self._max_seconds:
            return {}
        now, is_full = self._loop.time(), self._held_chars(held) > MAX_HELD_CHARS
        kept: dict[Owner, Entry] = {}
        for owner, entry in in_flight.items():
            error = failures.get(owner.session)
            if error is None or isinstance(error, LogMoved) or owner.closed is not None:
                continue
            if is_full or now - self.since.setdefault(owner, now) >= self._max_seconds:
                del self.since[owner]
            else:
                kept[owner] = entry
        if kept and not self.entries:
            first = next(iter(kept))
            log.warning("store_append_retried", sessions=len(kept), exc_info=failures[first.session])
            self._loop.call_later(RETRY_DELAY_SECONDS, self._become_due)
        self.entries |= kept
        return kept

    def _held_chars(self, held: Mapping[Owner, Sequence[Event]]) -> int:
        events = (event for owner in self.since for event in held.get(owner, ()))
        return sum(len(event.text) for event in events if isinstance(event, TextSlice))

    def _become_due(self) -> None:
        if self.entries:
            self.is_due = True
            self._on_due()

    def hold_back(self, batch: dict[Owner, list[Event]]) -> dict[Owner, list[Event]]:
        """Take from a batch, and return, what follows entries that are to be stored first."""
        return {owner: batch.pop(owner) for owner in self.entries if owner in batch}

    def take_due(self) -> dict[Owner, Entry]:
        """Return the entries where they are to be tried now."""
        if not self.is_due:
            return {}
        self.is_due = False
        entries, self.entries = self.entries, {}
        return entries

    def delays(self, waiter: Waiter) -> bool:
        """Return whether what somebody waits for comes after entries that are kept."""
        return waiter[0] is None or waiter[0] in self.entries
