"""Client limits in Redis: what clients use on all nodes of a cluster together."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from itertools import count
from weakref import WeakSet

import structlog

from ...core.allowance import Client, Rates
from ...core.rate_limiter import Amounts, Demand
from ...core.token_budget import day_of, day_of_number, number_of_day
from ...core.turn import Charge
from ...errors import Overloaded, StoreError
from .. import Store
from ..session_list import count_sessions
from ..usage_writer import UsageWriter
from .connections import RedisConnections
from .limit_calls import limit_call, optional, rate_arguments, refusal_of, shared_rates
from .scripts import ScriptCall
from .server_connection import Argument

LEASE_SECONDS = 45.0  # after which a running turn that its node does not renew counts no more
START_RETRY_SECONDS = 0.5  # between two attempts to start a turn whose client has too many on all nodes
RETRY_AFTER_SECONDS = 2.0  # in `retry_after` of `overloaded`, where questions can't be counted
MAX_READS = 4  # of the store, for one question
RENEWED_TURNS = 500  # of one client in a call
RENEWED_CLIENTS = 100  # in a pipeline

NOTHING = Amounts()

log = structlog.get_logger(__name__)


class RedisLimits:
    """Counts in Redis what clients use. The form of `ClientLimits` for several nodes.

    A question costs one round trip, a turn's end one that nobody waits for; with tokens per day, a turn waits for one
    more before the model is asked. Nothing is sent for a token.

    A running turn is an entry that expires unless its node renews it, and so are its reserved tokens: what a node that
    died had begun ends by itself. Moments are those of the Redis server's clock.
    """

    def __init__(
        self,
        store: Store,
        connections: Callable[[], RedisConnections],
        *,
        wall_clock: Callable[[], float] = time.time,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """Make it; `open` starts it.

        Args:
            store: Has the tokens of each day and the lists of sessions.
            connections: Returns those of the store, once that is open.
            wall_clock: Counts seconds from 1970; names the day on which tokens were used.
            lease: For how many seconds a running turn counts that is not renewed.
        """
        self._store = store
        self._connections = connections
        self._wall_clock = wall_clock
        self._lease = lease
        self._lease_ms = round(1000 * lease)
        self._writer = UsageWriter(store, on_stored=self._on_stored)
        self._node = secrets.token_hex(8)
        self._numbers = count(1)
        self._held: WeakSet[Charge] = WeakSet()  # of turns that run; one whose turn is gone is not renewed any more
        self._settled: dict[str, list[str]] = {}  # turns by client, whose reserved tokens end once their use is stored
        self._unsent: list[ScriptCall] = []  # in this tick
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._renews = True  # whether the last renewal succeeded

    async def open(self) -> None:
        """Renew running turns from now on."""
        self._renewing = asyncio.create_task(self._renew_again_and_again())

    async def close(self) -> None:
        """Store the counts that are not stored yet; where the store fails, they are lost."""
        if self._renewing is not None:
            self._renewing.cancel()
        await self._writer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- questions ---------------------------------------------------------------------------------------------------

    def acquire(self, charge: Charge, demand: Demand) -> Awaitable[None] | None:
        """See `ClientLimits.acquire`."""
        allowance = charge.client.allowance
        limits = shared_rates(allowance.rates)
        sessions = allowance.sessions if demand.new_session and charge.client.user is not None else None
        turns = allowance.turns if demand.starts else None
        tokens_per_day = allowance.tokens_per_day if demand.amounts.tokens else None
        if limits == shared_rates(Rates()) and sessions is None and turns is None and tokens_per_day is None:
            return None
        return self._acquire(charge, demand, (tokens_per_day, sessions, turns))

    async def _acquire(self, charge: Charge, demand: Demand, limits: tuple[int | None, int | None, int | None]) -> None:
        client, entry = charge.client, self._new_entry()
        tokens_per_day, sessions, turns = map(optional, limits)
        rates = rate_arguments(client, demand.amounts)
        try:
            started = await self._take(client, "acquire", *rates, tokens_per_day, sessions, entry, turns)
        except StoreError as error:
            raise Overloaded("No questions can be taken at the moment.", retry_after=RETRY_AFTER_SECONDS) from error
        except asyncio.CancelledError:
            charge.entry = entry  # it may have been counted
            self._end_entry(charge, NOTHING)
            raise
        if started:
            charge.entry = entry
            self._held.add(charge)

    def refund(self, charge: Charge, demand: Demand) -> None:
        """See `ClientLimits.refund`."""
        amounts = Amounts(*[-amount for amount in demand.amounts])
        self._end_entry(charge, amounts, sessions=-1 if demand.new_session else 0)

    # --- turns -------------------------------------------------------------------------------------------------------

    def may_start(self, charge: Charge) -> bool:
        """See `ClientLimits.may_start`."""
        return bool(charge.entry) or charge.client.allowance.turns is None

    async def wait_to_start(self, charge: Charge) -> None:
        """See `ClientLimits.wait_to_start`; while Redis can't be reached, nothing starts."""
        entry, limit = self._new_entry(), optional(charge.client.allowance.turns)
        try:
            while True:
                if await self._start(charge.client.key, entry, limit):
                    break
                await asyncio.sleep(START_RETRY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - not for security
        except BaseException:
            charge.entry = entry  # it may have been counted
            self._end_entry(charge, NOTHING)
            raise
        charge.entry = entry
        self._held.add(charge)

    async def _start(self, key: str, entry: str, limit: Argument) -> bool:
        try:
            return await self._run(key, "start", entry, limit, self._lease_ms) == [b"taken", 1]
        except StoreError:
            return False

    async def reserve(self, charge: Charge, tokens: int) -> None:
        """See `ClientLimits.reserve`."""
        client = charge.client
        if client.allowance.tokens_per_day is None:
            return
        charge.entry = charge.entry or self._new_entry()
        await self._take(client, "reserve", optional(client.allowance.tokens_per_day), charge.entry, tokens)
        charge.reserved = tokens
        self._held.add(charge)

    def settle(self, charge: Charge, *, used: int, started: bool) -> None:
        """See `ClientLimits.settle`."""
        key, entry = charge.client.key, charge.entry
        self._end_entry(charge, Amounts(tokens=used - charge.rate_tokens))
        if not started or charge.client.allowance.tokens_per_day is None:
            return
        day = day_of(self._wall_clock())
        if used:
            self._settled.setdefault(key, []).append(entry)
            self._writer.add(key, day, used)
        elif entry:
            self._send(key, "used", number_of_day(day), 0, entry)

    def _end_entry(self, charge: Charge, amounts: Amounts, *, sessions: int = 0) -> None:
        """Count a turn as running no more, and change the rates and the number of sessions by so many."""
        client, entry = charge.client, charge.entry
        charge.entry, charge.reserved = "", 0
        self._held.discard(charge)
        if entry or any(amounts) or sessions:
            self._send(client.key, "settle", entry, *rate_arguments(client, amounts), sessions)

    # --- tokens of the day, and sessions -----------------------------------------------------------------------------

    async def _used_on(self, client: Client, day: int) -> int:
        """Return the tokens of a client on a day. Raises `StoreError`."""
        name = day_of_number(day)
        return await self._store.add_usage(client.key, name, 0) + self._writer.unstored(client.key, name)

    def _on_stored(self, key: str, day: str, count: int) -> None:
        self._send(key, "used", number_of_day(day), count, *self._settled.pop(key, ()))

    def count_tokens(self, key: str, tokens: int) -> None:
        """See `ClientLimits.count_tokens`."""
        self._writer.add(key, day_of(self._wall_clock()), tokens)

    async def usage(self, key: str) -> Mapping[str, int]:
        """See `ClientLimits.usage`."""
        await self._writer.wait_written()
        return await self._store.usage(key)

    async def forget_usage(self, key: str) -> None:
        """See `ClientLimits.forget_usage`."""
        await self._writer.wait_written()
        await self._store.forget_usage(key)
        await self._run(key, "forget")

    def session_deleted(self, user: str | None) -> None:
        """See `ClientLimits.session_deleted`."""
        if user is not None:
            self._send(user, "settle", "", *rate_arguments(Client(user), NOTHING), -1)

    # --- renewal -----------------------------------------------------------------------------------------------------

    async def _renew_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            await self._renew()

    async def _renew(self) -> None:
        """Renew the entries of all turns that run here; also those that Redis has lost."""
        turns: dict[str, list[Argument]] = {}
        for charge in self._held:
            counts = int(charge.client.allowance.turns is not None)
            turns.setdefault(charge.client.key, []).extend((charge.entry, counts, charge.reserved))
        calls = [
            limit_call(key, "renew", self._lease_ms, *found[start : start + 3 * RENEWED_TURNS])
            for key, found in turns.items()
            for start in range(0, len(found), 3 * RENEWED_TURNS)
        ]
        failed: StoreError | None = None
        for start in range(0, len(calls), RENEWED_CLIENTS):
            for outcome in await self._connections().run_all(calls[start : start + RENEWED_CLIENTS]):
                failed = outcome if isinstance(outcome, StoreError) else failed
        if failed is not None and self._renews:
            log.warning("limits_not_renewed", turns=len(self._held), exc_info=failed)
        self._renews = failed is None

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _take(self, client: Client, action: str, *args: Argument) -> int:
        """Make a call that takes something, and return its number; what it asks for is read from the store.

        Raises `RateLimited`, `QuotaExceeded` or `StoreError`; then nothing was taken.
        """
        used_day: Argument = ""
        used: Argument = ""
        counted: Argument = ""
        for _ in range(MAX_READS):
            match await self._run(client.key, action, self._lease_ms, used_day, used, counted, *args):
                case [b"taken", int(number)]:
                    return number
                case [b"count_sessions", int(limit)]:
                    counted = await count_sessions(self._store, client.user or "", limit=limit)
                case [b"read_usage", int(day)]:
                    used_day, used = day, await self._used_on(client, day)
                case [bytes(reason), int(number)]:
                    raise refusal_of(reason, number)
                case _:
                    break
        raise StoreError

    def _new_entry(self) -> str:
        return f"{self._node}:{next(self._numbers)}"

    async def _run(self, key: str, *args: Argument) -> object:
        (outcome,) = await self._connections().run_all((limit_call(key, *args),))
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def _send(self, key: str, *args: Argument) -> None:
        """Make a call for which nobody waits, with the others of this tick.

        Where it fails, it is not made again: entries expire, and rates forget within a minute.
        """
        self._unsent.append(limit_call(key, *args))
        if len(self._unsent) == 1:
            self._spawn(self._send_all())

    async def _send_all(self) -> None:
        calls, self._unsent = self._unsent, []
        with suppress(StoreError):
            await self._connections().run_all(calls)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
