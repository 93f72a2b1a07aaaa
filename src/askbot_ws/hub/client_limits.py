"""Client limits: what a client may do wherever it is connected. `ClientLimits` is the protocol of their forms."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from ..core.rate_limiter import Demand
from ..core.turn import Charge

__all__ = ["ClientLimits"]


class ClientLimits(Protocol):
    """Counts what clients use of their rates, their tokens per day, their sessions and their running turns.

    `LocalLimits` counts what is used in this process; other forms, what is used on all nodes of a cluster. Frames,
    connections and waiting turns are limited in each process by itself.
    """

    async def open(self) -> None:
        """Start. Called once, when the store is open."""

    def acquire(self, charge: Charge, demand: Demand) -> Awaitable[None] | None:
        """Count a question or a fork: all that it demands, or nothing.

        Args:
            charge: Whose it is; what is kept of it until the turn has ended is noted there.
            demand: How much it is.

        Returns:
            None where it is counted on return; otherwise what has to be awaited, which may raise the same errors.

        Raises:
            RateLimited: It is too much in a short time.
            QuotaExceeded: The user has too many sessions, or the tokens of the day are used up.
            Overloaded: It can't be counted now.
            StoreError: The store can't be read.
        """
        ...

    def refund(self, charge: Charge, demand: Demand) -> None:
        """Undo an `acquire`."""

    def may_start(self, charge: Charge) -> bool:
        """Return whether a turn may start as far as it is known; otherwise it waits in `wait_to_start`."""
        ...

    async def wait_to_start(self, charge: Charge) -> None:
        """Wait until the client has fewer running turns than its allowance says, and count one more."""

    async def reserve(self, charge: Charge, tokens: int) -> None:
        """Reserve tokens of the day for a turn, where they are limited. Raises `QuotaExceeded`, `StoreError`."""

    def settle(self, charge: Charge, *, used: int, started: bool) -> None:
        """Replace what was estimated and reserved for a turn by the tokens that it used.

        A turn that had not `started` has used nothing of the day, and may start later.
        """

    def count_tokens(self, key: str, tokens: int) -> None:
        """Count tokens of the day that a client, by its key, has used without a turn."""

    def session_deleted(self, user: str | None) -> None:
        """Count a user's session as deleted."""

    async def usage(self, key: str) -> Mapping[str, int]:
        """Return the tokens that a client, by its key, has used, by day. Raises `StoreError`."""
        ...

    async def forget_usage(self, key: str) -> None:
        """Delete the counts of a client, by its key, whose day begins anew then. Raises `StoreError`."""

    async def close(self) -> None:
        """Store what is not stored yet, and stop. Called once, before the store is closed."""
