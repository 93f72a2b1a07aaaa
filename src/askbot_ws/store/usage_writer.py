"""Usage writer: adds counts of tokens to the store, again and again where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from ..errors import StoreError
from . import Store

RETRY_SECONDS = 5.0  # between two attempts to store a count

log = structlog.get_logger(__name__)


class UsageWriter:
    """Keeps what is still to be added to `Store.add_usage`, and adds it."""

    def __init__(self, store: Store, *, on_stored: Callable[[str, str, int], None] | None = None) -> None:
        """`on_stored` is called with a client's key, a day and the count that the store has then."""
        self._store = store
        self._on_stored = on_stored
        self._unstored: dict[tuple[str, str], int] = {}  # tokens by client and day
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def unstored(self, key: str, day: str) -> int:
        """Return the tokens of a client on a day that are not stored yet."""
        return self._unstored.get((key, day), 0)

    def add(self, key: str, day: str, tokens: int) -> None:
        """Let tokens of a client be added soon."""
        if tokens:
            self._unstored[key, day] = self._unstored.get((key, day), 0) + tokens
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write())

    async def wait_written(self) -> None:
        """Wait until the counts are stored, for `RETRY_SECONDS` at most: where the store fails, reading it does too."""
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=RETRY_SECONDS)

    async def close(self) -> None:
        """Store the counts that are not stored yet; where the store fails, they are lost."""
        self._closing.set()
        await self.wait_written()

    async def _write(self) -> None:
        """Store all counts; where that fails, again and again until `close`."""
        while self._unstored:
            (key, day), tokens = next(iter(self._unstored.items()))
            try:
                count = await self._store.add_usage(key, day, tokens)
            except StoreError as error:
                log.warning("usage_write_failed", clients=len(self._unstored), exc_info=error)
                if self._closing.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), RETRY_SECONDS)
            else:
                self._unstored[key, day] -= tokens
                if not self._unstored[key, day]:
                    del self._unstored[key, day]
                if self._on_stored is not None:
                    self._on_stored(key, day, count)
