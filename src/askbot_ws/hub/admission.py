"""Admission: decides whether a question is taken, by what its client may do and what the server has to do.

A question that is refused costs nothing: all limits are checked before anything is counted, or it is given back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf

from ..core.allowance import Allowances, Client
from ..core.excess import too_fast_error
from ..core.load import LoadLevel
from ..core.log_tail import wire_size
from ..core.principal import Principal
from ..core.rate_limiter import Amounts, Demand, RateLimiter
from ..core.turn import Charge, TurnMachine
from ..errors import AskbotError, Overloaded, QueueFull, QuotaExceeded, Unauthorized
from ..events import Options
from ..store import Store
from .client_limits import ClientLimits
from .local_limits import LocalLimits
from .owner import Owner
from .policy import Policy
from .turn_slots import TurnSlots

CHARS_PER_TOKEN = 3  # of a question, before the provider has counted it
OVERLOAD_RETRY_SECONDS = 2.0  # in `retry_after` of `overloaded`
QUEUE_RETRY_SECONDS = 5.0  # the same, where too many questions wait


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A question that is to be admitted."""

    client: Client
    text: str
    options: Options  # with which the model is to be asked


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
        limits: ClientLimits | None = None,
    ) -> None:
        """`clock` is monotonic, `wall_clock` counts from 1970, both in seconds; `limits`: None: those of one node."""
        self.allowances = Allowances()
        self.load = LoadLevel.NORMAL  # set by whoever measures it, like the next one
        self.load_limit = inf  # turns that may run before further questions are refused
        self.starts_left = inf  # questions that are admitted until whoever measures the load sets both again
        self.max_queued = policy.max_queued
        self.is_revoked: Callable[[Principal], bool] = lambda _: False  # set by whoever knows
        self._policy = policy
        self._slots = slots
        self._clock = clock
        self._rates = RateLimiter()
        self.limits = limits or LocalLimits(store, self._rates, clock=clock, wall_clock=wall_clock)

    def apply(self, allowances: Allowances, *, max_turns: int | None, max_queued: int | None) -> None:
        """Change what clients may do, how many turns run, and how many wait; None: any number."""
        self.allowances = allowances
        self._slots.use_allowances(allowances)
        self.max_queued = sys.maxsize if max_queued is None else max_queued
        self._slots.max_running = sys.maxsize if max_turns is None else max_turns

    def client_of(self, principal: Principal, address: str) -> Client:
        """Return who counts as one client with this principal, connected from this IP address."""
        return self.allowances.client_of(principal, address)

    def check_frame(self, client: Client) -> None:
        """Count a frame. Raises `RateLimited`."""
        wait = self._rates.acquire(client, Amounts(frames=1), now=self._clock())
        if wait:
            raise too_fast_error("frames", seconds=wait)

    # --- questions ---------------------------------------------------------------------------------------------------

    async def admit(
        self, owner: Owner, principal: Principal, request: AdmissionRequest, *, check: Callable[[], bool]
    ) -> Charge:
        """Count a question of a session. The caller appends it before the next await.

        `check` raises where the session takes no such question now, and returns whether it replaces a turn that runs or
        waits, so that no more turns wait.

        Raises what `check` raises, `Unauthorized` where the principal's credential was revoked since it was checked,
        `Overloaded`, `QueueFull`, `QuotaExceeded`, `RateLimited` or `StoreError`; then nothing was counted.
        """
        starts = self._check(owner, principal, request, check)
        tokens = self._estimate(request)
        charge = Charge(request.client, rate_tokens=tokens)
        demand = Demand(Amounts(0, 1, len(request.text), tokens), owner.is_new, starts)
        pending = self.limits.acquire(charge, demand)
        if pending is not None:
            await pending
            try:
                self._check(owner, principal, request, check)  # much may have changed meanwhile
            except AskbotError:
                self.limits.refund(charge, demand)
                raise
        self.starts_left -= 1
        return charge

    async def admit_fork(self, client: Client, *, check: Callable[[], None]) -> None:
        """Count a fork. `check` raises where it can't be made now; the caller appends it before the next await.

        Raises what `check` raises, `Overloaded`, `QuotaExceeded`, `RateLimited` or `StoreError`; then nothing was
        counted.
        """
        self.check_load()
        check()
        charge, demand = Charge(client), Demand(Amounts(questions=1), new_session=True)
        pending = self.limits.acquire(charge, demand)
        if pending is not None:
            await pending
            try:
                check()
            except AskbotError:
                self.limits.refund(charge, demand)
                raise

    def _check(self, owner: Owner, principal: Principal, request: AdmissionRequest, check: Callable[[], bool]) -> bool:
        """Raise where a question can't be taken; returns whether its turn would start at once."""
        takes_place = check()
        if self.is_revoked(principal):
            raise Unauthorized("The credential is not valid any more.")
        self.check_load()
        starts = owner.state.idle and self._slots.would_start(request.client)
        if not starts and not takes_place:
            self._check_queue(request.client)
        self._check_size(owner, request.client)
        return starts

    def check_load(self) -> None:
        """Raise `Overloaded` where the server takes no more questions."""
        if self.load > LoadLevel.NORMAL or self._slots.running >= self.load_limit or self.starts_left < 1:
            raise Overloaded("The server has too much to do.", retry_after=OVERLOAD_RETRY_SECONDS)

    def _check_queue(self, client: Client) -> None:
        """Raise `Overloaded` or `QueueFull` where too many questions wait."""
        if self._slots.waiting >= self.max_queued:
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

    def _estimate(self, request: AdmissionRequest) -> int:
        """Return about how many tokens a question and its answer have, the history not counted."""
        return ceil(len(request.text) / CHARS_PER_TOKEN) + (request.options.max_tokens or self._policy.max_tokens)

    # --- turns -------------------------------------------------------------------------------------------------------

    async def reserve(self, turn: TurnMachine, *, prompt_tokens: int, bytes_per_token: float) -> None:
        """Reserve the tokens of a turn, for which the model is asked next. Raises `QuotaExceeded`, `StoreError`.

        `prompt_tokens` is an estimate, by `bytes_per_token`.
        """
        charge = turn.charge
        if charge is None:
            return
        tokens = prompt_tokens + (turn.options.max_tokens or self._policy.max_tokens)
        await self.limits.reserve(charge, tokens)
        charge.prompt_tokens, charge.bytes_per_token = prompt_tokens, bytes_per_token

    def settle(self, turn: TurnMachine) -> None:
        """Replace what was estimated and reserved for a turn by what it has used; a second call does nothing.

        One that had not started may wait again, where its end can't be stored: it is charged for what it uses then.
        """
        used, charge = turn.tokens_used, turn.charge
        if charge is None:
            return
        started = turn.started_at is not None
        self.limits.settle(charge, used=used, started=started)
        if started:
            turn.charge = None
        else:
            charge.rate_tokens = 0

    def count_tokens(self, user: str | None, tokens: int) -> None:
        """Count tokens for which no turn is charged: of a title, or of what a server that died had begun."""
        if user is not None and self.allowances.have_budgets:
            self.limits.count_tokens(user, tokens)
