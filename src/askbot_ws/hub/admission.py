"""Admission: decides whether a question is taken, by what its client may do and what the server has to do.

A question that is refused costs nothing: all limits are checked before anything is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf

from ..core.allowance import Allowances, Client
from ..core.load import LoadLevel
from ..core.log_tail import wire_size
from ..core.principal import Principal
from ..core.rate_limiter import Amounts, RateLimiter
from ..core.turn import Charge, TurnMachine
from ..errors import Overloaded, QueueFull, QuotaExceeded, RateLimited, Unauthorized
from ..events import Options
from ..store import Store
from .owner import Owner
from .policy import Policy
from .session_counts import SessionCounts
from .token_budgets import TokenBudgets
from .turn_slots import TurnSlots

CHARS_PER_TOKEN = 3  # of a question, before the provider has counted it
OVERLOAD_RETRY_SECONDS = 2.0  # in `retry_after` of `overloaded`
QUEUE_RETRY_SECONDS = 5.0  # the same, where too many questions wait


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is to be admitted."""

    client: Client
    text: str
    options: Options  # with which the model is to be asked
    takes_place: bool = False  # whether it replaces a turn that runs or waits, so that no more turns wait


class Admission:
    """Admits questions, and counts what they use."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        slots: TurnSlots,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, `wall_clock` counts from 1970, both in seconds."""
        self.allowances = Allowances()
        self.load = LoadLevel.NORMAL  # set by whoever measures it, like the next one
        self.load_limit = inf  # turns that may run before further questions are refused
        self.max_waiting = policy.max_queued
        self.is_revoked: Callable[[Principal], bool] = lambda _: False  # set by whoever knows
        self._policy = policy
        self._slots = slots
        self._clock = clock
        self._rates = RateLimiter()
        self.budgets = TokenBudgets(store, wall_clock=wall_clock)
        self.sessions = SessionCounts(store, clock=clock)

    def apply(self, allowances: Allowances, *, max_turns: int | None, max_waiting: int | None) -> None:
        """Change what clients may do, how many turns run, and how many wait; None: any number."""
        self.allowances = allowances
        self._slots.use_allowances(allowances)
        self.max_waiting = sys.maxsize if max_waiting is None else max_waiting
        self._slots.max_running = sys.maxsize if max_turns is None else max_turns

    def client_of(self, principal: Principal, address: str) -> Client:
        """Return who counts as one client with this principal, connected from this IP address."""
        return self.allowances.client_of(principal, address)

    def check_frame(self, client: Client) -> None:
        """Count a frame. Raises `RateLimited`."""
        self._acquire(client, Amounts(frames=1), what="frames")

    async def prepare(self, client: Client, *, new_session: bool) -> None:
        """Read from the store what `admit` needs. Raises `StoreError`."""
        await self.budgets.load(client)
        if new_session:
            await self.sessions.load(client)

    # --- questions ---------------------------------------------------------------------------------------------------

    def admit(self, owner: Owner, principal: Principal, asked: Asked) -> Charge:
        """Count a question of a session. The caller appends it before the next await.

        Raises `Unauthorized` where the principal's credential was revoked since it was checked, `Overloaded`,
        `QueueFull`, `QuotaExceeded` or `RateLimited`; then nothing was counted.
        """
        client, tokens = asked.client, self._estimate(asked)
        if self.is_revoked(principal):
            raise Unauthorized("The credential is not valid any more.")
        self.check_load()
        if not asked.takes_place:
            self._check_queue(owner, client)
        self._check_size(owner, client)
        is_new = owner.is_new
        if is_new:
            self.sessions.check(client)
        self.budgets.check(client, tokens)
        self._acquire(client, Amounts(questions=1, characters=len(asked.text), tokens=tokens), what="questions")
        if is_new:
            self.sessions.add(client)
        return Charge(client, rate_tokens=tokens)

    def admit_fork(self, client: Client) -> None:
        """Count a fork. Raises `Overloaded`, `QuotaExceeded` or `RateLimited`; then nothing was counted."""
        self.check_load()
        self.sessions.check(client)
        self._acquire(client, Amounts(questions=1), what="questions")
        self.sessions.add(client)

    def check_load(self) -> None:
        """Raise `Overloaded` where the server takes no more questions."""
        if self.load > LoadLevel.NORMAL or self._slots.running >= self.load_limit:
            raise Overloaded("The server has too much to do.", retry_after=OVERLOAD_RETRY_SECONDS)

    def _check_queue(self, owner: Owner, client: Client) -> None:
        """Raise `Overloaded` or `QueueFull` where a question would wait, and too many wait."""
        if owner.state.idle and self._slots.has_room(client):
            return
        if self._slots.waiting >= self.max_waiting:
            raise Overloaded("Too many questions are waiting.", retry_after=QUEUE_RETRY_SECONDS)
        limit = client.allowance.waiting_turns
        if limit is not None and self._slots.waiting_of(client) >= limit:
            raise QueueFull("Too many of your questions are waiting.", retry_after=QUEUE_RETRY_SECONDS)

    def _check_size(self, owner: Owner, client: Client) -> None:
        limit = client.allowance.session_bytes
        if limit is None:
            return
        tail = owner.topic.log  # of what is only in the store, the length in code points is known
        if tail.start + sum([wire_size(event) for event in tail.events]) >= limit:
            raise QuotaExceeded("This conversation is as long as it may be; begin another.")

    def _estimate(self, asked: Asked) -> int:
        """Return about how many tokens a question and its answer have, the history not counted."""
        return ceil(len(asked.text) / CHARS_PER_TOKEN) + (asked.options.max_tokens or self._policy.max_tokens)

    def _acquire(self, client: Client, amounts: Amounts, *, what: str) -> None:
        wait = self._rates.acquire(client, amounts, now=self._clock())
        if wait:
            raise RateLimited(
                f"Too many {what} in a short time.", retry_after=ceil(1000 * wait) / 1000
            )  # whole ms on the wire

    # --- turns -------------------------------------------------------------------------------------------------------

    async def reserve(self, turn: TurnMachine, *, prompt_tokens: int, bytes_per_token: float) -> None:
        """Reserve the tokens of a turn, for which the model is asked next. Raises `QuotaExceeded`, `StoreError`.

        `prompt_tokens` is an estimate, by `bytes_per_token`.
        """
        charge = turn.charge
        if charge is None:
            return
        tokens = prompt_tokens + (turn.options.max_tokens or self._policy.max_tokens)
        charge.reserved = await self.budgets.reserve(charge.client, tokens)
        charge.prompt_tokens, charge.bytes_per_token = prompt_tokens, bytes_per_token

    def settle(self, turn: TurnMachine) -> None:
        """Replace what was estimated and reserved for a turn by what it has used; a second call does nothing.

        One that had not started may wait again, where its end can't be stored: it is charged for what it uses then.
        """
        used, charge = turn.tokens_used, turn.charge
        if charge is None:
            return
        self._rates.add_tokens(charge.client, used - charge.rate_tokens, now=self._clock())
        if turn.started_at is None:
            charge.rate_tokens = 0
            return
        turn.charge = None
        self.budgets.settle(charge.client, reserved=charge.reserved, used=used)

    def count_tokens(self, user: str | None, tokens: int) -> None:
        """Count tokens for which no turn is charged: of a title, or of what a server that died had begun."""
        if user is not None and self.allowances.have_budgets:
            self.budgets.add(user, tokens)

    async def close(self) -> None:
        """Store what is not stored yet."""
        await self.budgets.close()
