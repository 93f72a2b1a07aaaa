"""Accounts: names that were spent, and the tokens that users used."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from .. import SPENT_SECONDS, USAGE_DAYS, first_day_of_usage
from .connections import RedisConnections
from .failures import translated
from .keys import spent_key, usage_call_key, usage_key
from .repeated import as_values, run_repeated
from .scripts import ScriptCall, load_script

USAGE_SECONDS = (USAGE_DAYS + 1) * 86_400  # after which all of a user's counts are gone


class Accounts:
    """The methods of `Store` about what is used up."""

    def __init__(self, connections: RedisConnections, *, wall_clock: Callable[[], float]) -> None:
        self._connections = connections
        self._wall_clock = wall_clock

    async def spend(self, name: str, *, expires: float) -> bool:
        """As `Store.spend`."""
        args = (secrets.token_hex(8), repr(expires + SPENT_SECONDS), repr(self._wall_clock()))
        return await run_repeated(self._connections, ScriptCall(load_script("spend"), (spent_key(name),), args)) == 1

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        """As `Store.add_usage`."""
        return (await self._usage(user, day, tokens)).get(day, 0)

    async def usage(self, user: str) -> dict[str, int]:
        """As `Store.usage`."""
        return dict(sorted((await self._usage(user, "", 0)).items()))

    async def _usage(self, user: str, day: str, tokens: int) -> dict[str, int]:
        keys = (usage_key(user), usage_call_key(user, secrets.token_hex(8)))
        args = (first_day_of_usage(self._wall_clock()), USAGE_SECONDS, day, tokens)
        found = as_values(await run_repeated(self._connections, ScriptCall(load_script("usage"), keys, args)))
        return {name.decode(): int(count) for name, count in zip(found[::2], found[1::2], strict=True)}

    async def forget_usage(self, user: str) -> None:
        """As `Store.forget_usage`."""
        with translated():
            await self._connections.client.delete(usage_key(user))
