"""Local limits: those of a server that is the only one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..core.excess import too_fast_error
from ..core.rate_limiter import Demand, RateLimiter
from ..core.turn import Charge
from ..store import Store
from .session_counts import SessionCounts
from .token_budgets import TokenBudgets


class LocalLimits:
    """Counts in memory what clients use; tokens per day in the store too. The form of `ClientLimits` for one node.

    Running turns are counted by `TurnSlots`, where they wait for one.
    """

    def __init__(
        self, store: Store, rates: RateLimiter, *, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        """`clock` is monotonic, `wall_clock` counts from 1970, both in seconds."""
        self.budgets = TokenBudgets(store, wall_clock=wall_clock)
        self.sessions = SessionCounts(store, clock=clock)
        self._rates = rates
        self._clock = clock

    async def open(self) -> None:
        """Nothing is to be started."""

    def acquire(self, charge: Charge, demand: Demand) -> Awaitable[None] | None:
        """See `ClientLimits.acquire`; what is in the store is read first, where it is not known."""
        client = charge.client
        if self.budgets.is_loaded(client) and (not demand.new_session or self.sessions.is_loaded(client)):
            self._acquire(charge, demand)
            return None
        return self._load_and_acquire(charge, demand)

    async def _load_and_acquire(self, charge: Charge, demand: Demand) -> None:
        await self.budgets.load(charge.client)
        if demand.new_session:
            await self.sessions.load(charge.client)
        self._acquire(charge, demand)

    def _acquire(self, charge: Charge, demand: Demand) -> None:
        client = charge.client
        if demand.new_session:
            self.sessions.check(client)
        if demand.amounts.tokens:
            self.budgets.check(client, demand.amounts.tokens)
        wait = self._rates.acquire(client, demand.amounts, now=self._clock())
        if wait:
            raise too_fast_error("questions", seconds=wait)
        if demand.new_session:
            self.sessions.add(client)

    def refund(self, charge: Charge, demand: Demand) -> None:
        """See `ClientLimits.refund`."""
        self._rates.refund(charge.client, demand.amounts, now=self._clock())
        if demand.new_session:
            self.sessions.remove(charge.client.user)

    def may_start(self, charge: Charge) -> bool:  # noqa: ARG002 - `TurnSlots` decides
        """Return True: a turn that may not start waits in `TurnSlots`."""
        return True

    async def wait_to_start(self, charge: Charge) -> None:
        """Nothing is to be waited for."""

    async def reserve(self, charge: Charge, tokens: int) -> None:
        """See `ClientLimits.reserve`."""
        charge.reserved = await self.budgets.reserve(charge.client, tokens)

    def settle(self, charge: Charge, *, used: int, started: bool) -> None:
        """See `ClientLimits.settle`."""
        self._rates.charge_tokens(charge.client, used - charge.rate_tokens, now=self._clock())
        if started:
            self.budgets.settle(charge.client, reserved=charge.reserved, used=used)

    def count_tokens(self, key: str, tokens: int) -> None:
        """See `ClientLimits.count_tokens`."""
        self.budgets.add(key, tokens)

    def session_deleted(self, user: str | None) -> None:
        """See `ClientLimits.session_deleted`."""
        self.sessions.remove(user)

    async def usage(self, key: str) -> Mapping[str, int]:
        """See `ClientLimits.usage`."""
        return await self.budgets.usage(key)

    async def forget_usage(self, key: str) -> None:
        """See `ClientLimits.forget_usage`."""
        await self.budgets.forget(key)

    async def close(self) -> None:
        """Store the counts that are not stored yet."""
        await self.budgets.close()
