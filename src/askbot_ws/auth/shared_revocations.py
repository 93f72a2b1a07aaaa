"""Shared revocations: a key that is revoked on one node of a cluster is refused on all of them.

Each node has its own key file. What travels is which keys are revoked, nothing else of the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol, Self

import structlog

from ..errors import StoreError
from .authenticator import Authenticator

INTERVAL_SECONDS = 1.0  # between two looks at the key file and at the list

log = structlog.get_logger(__name__)


class RevocationList(Protocol):
    """Keeps the list for all nodes."""

    async def read(self, *, known_version: str) -> tuple[str, frozenset[str]] | None:
        """Return the list's version, another one after each change, and the keys, as `Principal.credential`.

        None where it has the version that is known. Raises `StoreError`.
        """
        ...

    async def change(self, *, revoked: Collection[str], restored: Collection[str]) -> None:
        """Add the first and remove the others, which may be there or not. Raises `StoreError`."""


class SharedRevocations:
    """Reports keys that are removed from this node's file, and refuses those that were removed from another's.

    A key that is added to the file of a running node again is accepted again, by all that have it. What can't be
    reported is reported later. An async context manager: it does so in the block.
    """

    def __init__(
        self, authenticator: Authenticator, revocations: RevocationList, *, interval: float = INTERVAL_SECONDS
    ) -> None:
        """`interval` is in seconds."""
        self._authenticator = authenticator
        self._revocations = revocations
        self._interval = interval
        self._version = ""
        self._revoked: set[str] = set()  # that are to be reported
        self._restored: set[str] = set()  # the same
        self._failing = False
        self._task: asyncio.Task[None] | None = None
        authenticator.on_keys_changed = self._note_change

    async def __aenter__(self) -> Self:
        await self._exchange()
        self._task = asyncio.create_task(self._exchange_again_and_again())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._authenticator.on_keys_changed = None

    def _note_change(self, removed: frozenset[str], added: frozenset[str]) -> None:
        self._revoked = (self._revoked | removed) - added
        self._restored = (self._restored | (added & self._authenticator.refused)) - removed

    async def _exchange_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self._authenticator.reload_keys_if_changed()
            await self._exchange()

    async def _exchange(self) -> None:
        try:
            revoked, restored = frozenset(self._revoked), frozenset(self._restored)
            if revoked or restored:
                await self._revocations.change(revoked=revoked, restored=restored)
                self._revoked -= revoked
                self._restored -= restored
            found = await self._revocations.read(known_version=self._version)
        except StoreError as error:
            if not self._failing:
                log.warning("revocations_not_shared", unreported=len(self._revoked), exc_info=error)
            self._failing = True
        else:
            self._failing = False
            if found is not None:
                self._version, credentials = found
                self._authenticator.set_refused(credentials)
