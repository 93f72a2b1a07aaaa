"""Token budgets: the tokens that clients use per day, counted in the store.

What is reserved is in memory only: a reservation ends with its process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from ..core.allowance import Client
from ..core.token_budget import TokenBudget, day_of
from ..store import Store
from ..store.usage_writer import UsageWriter

MAX_CLIENTS = 10_000  # that are kept in memory without a turn; others are read from the store again


class TokenBudgets:
    """The budgets of the clients whose allowance has `tokens_per_day`; of others, nothing is counted."""

    def __init__(self, store: Store, *, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` counts seconds from 1970."""
        self._store = store
        self._wall_clock = wall_clock
        self._budgets: OrderedDict[str, TokenBudget] = OrderedDict()  # by client, least recently used first
        self._writer = UsageWriter(store)

    def is_loaded(self, client: Client) -> bool:
        """Return whether `load` has nothing to read."""
        return client.allowance.tokens_per_day is None or client.key in self._budgets

    async def load(self, client: Client) -> None:
        """Read what a client has used today, unless it is known. Raises `StoreError`."""
        if client.allowance.tokens_per_day is None:
            return
        if client.key in self._budgets:
            self._budgets.move_to_end(client.key)
            return
        day = day_of(self._wall_clock())
        used = await self._store.add_usage(client.key, day, 0)
        if client.key not in self._budgets:  # it may have been loaded, and used, meanwhile
            self._budgets[client.key] = TokenBudget(day, used + self._writer.unstored(client.key, day))
            self._drop_oldest()

    def check(self, client: Client, tokens: int) -> None:
        """Raise `QuotaExceeded` where so many tokens are more than a client, which was loaded, has left today."""
        limit, budget = client.allowance.tokens_per_day, self._budgets.get(client.key)
        if limit is not None and budget is not None:
            budget.check(tokens, limit=limit, now=self._wall_clock())

    async def reserve(self, client: Client, tokens: int) -> int:
        """Reserve tokens, and return how many: 0 without a budget. Raises `QuotaExceeded`, `StoreError`."""
        await self.load(client)
        limit, budget = client.allowance.tokens_per_day, self._budgets.get(client.key)
        if limit is None or budget is None:
            return 0
        budget.reserve(tokens, limit=limit, now=self._wall_clock())
        return tokens

    def settle(self, client: Client, *, reserved: int, used: int) -> None:
        """Replace what was reserved by what was used, which is stored soon."""
        if client.allowance.tokens_per_day is None:
            return
        now = self._wall_clock()
        if (budget := self._budgets.get(client.key)) is not None:
            budget.settle(reserved=reserved, used=used, now=now)
        self._writer.add(client.key, day_of(now), used)

    def add(self, key: str, tokens: int) -> None:
        """Count tokens that a client, by its key, has used without a reservation."""
        now = self._wall_clock()
        if (budget := self._budgets.get(key)) is not None:
            budget.settle(reserved=0, used=tokens, now=now)
        self._writer.add(key, day_of(now), tokens)

    async def usage(self, key: str) -> Mapping[str, int]:
        """Return the tokens that a client, by its key, has used, by day. Raises `StoreError`."""
        await self._writer.wait_written()
        return await self._store.usage(key)

    async def forget(self, key: str) -> None:
        """Delete the counts of a client, by its key, whose budget is whole then. Raises `StoreError`."""
        await self._writer.wait_written()
        await self._store.forget_usage(key)
        if (budget := self._budgets.get(key)) is not None:
            budget.used = 0

    async def close(self) -> None:
        """Store the counts that are not stored yet; where the store fails, they are lost."""
        await self._writer.close()

    def _drop_oldest(self) -> None:
        """Keep at most `MAX_CLIENTS` budgets in which nothing is reserved or to be stored."""
        for _ in range(2):
            if len(self._budgets) <= MAX_CLIENTS:
                return
            key, budget = self._budgets.popitem(last=False)
            if budget.reserved or self._writer.unstored(key, budget.day):
                self._budgets[key] = budget
