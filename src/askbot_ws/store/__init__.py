"""Stores: where the logs are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from ..core.log import Log
from ..events import Event, TurnRecord


class Store(Protocol):
    """Keeps the logs of all sessions.

    The newest part of each loaded log is in memory, as the `Log` that `create` and `load` hand out: one object a
    session, which `append` adds to once the events are durable. Whatever a driver raises arrives as `StoreError`.
    """

    async def open(self) -> Sequence[str]:
        """Begin; returns the sessions in which a turn has a `question` but no `done`: their server died.

        Raises `ConfigError`, with the fix, where the store can't be used.
        """
        ...

    def create(self, session: str) -> Log:
        """A new, empty log. It costs nothing and is nowhere until its first event."""
        ...

    async def load(self, session: str) -> Log:
        """The log of a session. Raises `SessionNotFound`."""
        ...

    def release(self, session: str) -> None:
        """Nobody reads or writes this log now: it may leave the memory. `load` brings it back."""

    def append(self, events: Sequence[Event], frames: Sequence[bytes]) -> Awaitable[None] | None:
        """Add events of any sessions, all or none; `frames` has them encoded, in the same order.

        Returns None when they are durable and in their logs already, else something that is done once they are.
        Raises, at once or from the awaitable, `StoreError`; then nothing was added. One call at a time: the next
        comes after this one is done. An event that is in its log already (it was shown although it could not be
        stored then) is only stored. Raises ValueError, at once and for a fault of the caller's only: an event that
        does not follow its log's head, or a session that is neither created nor loaded.
        """
        ...

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a place, as `core.log.merge` gives them; for what the log in memory no longer holds.

        Empty at the head only. Like `turns` and `asked` it needs no `load`, and raises `SessionNotFound`.
        """
        ...

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        """The newest `limit` turns whose question has a `seq` less than `before`, oldest first."""
        ...

    async def asked(self, session: str, id: str) -> str | None:
        """The turn whose question was asked with this id, the first of them, or None."""
        ...

    async def forget(self, session: str) -> None:
        """Delete a session and all it holds, everywhere. Unknown sessions are no error."""

    async def sweep(self, *, before: float) -> int:
        """Delete the sessions to which nothing was added since `before` (seconds since 1970); says how many.

        Sessions whose log is in use (loaded and not released) stay.
        """
        ...

    async def ping(self) -> None:
        """Raises `StoreError` where the store can't be read and written."""

    async def close(self) -> None:
        """Write what is still to be written, and let go."""
