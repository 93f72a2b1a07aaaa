"""Rate limiter: token buckets of all clients, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import astuple, dataclass
from typing import NamedTuple

from .allowance import Client, Rates
from .limits import TokenBucket

MAX_CLIENTS = 50_000  # whose buckets are in memory: about 25 MB
CHECKS_PER_CLIENT = 4  # buckets that are looked at for removal when a client comes that has none


class Amounts(NamedTuple):
    """What a client wants to do, as in `Rates`."""

    frames: int = 0
    questions: int = 0
    characters: int = 0
    tokens: int = 0


class Demand(NamedTuple):
    """What a question or a fork needs.

    Attributes:
        amounts: Of the client's rates; the tokens have to fit into its day too.
        new_session: Whether the user has one session more then.
        starts: Whether its turn is to start at once, as far as this process knows.
    """

    amounts: Amounts
    new_session: bool = False
    starts: bool = False


@dataclass(slots=True)
class _Buckets:
    """The buckets of one client; None: no limit."""

    rates: Rates
    buckets: tuple[TokenBucket | None, ...]


class RateLimiter:
    """Limits what each client does per minute. Buckets that are in use are never dropped.

    Where there is no room for those of one more client, that client waits.
    """

    def __init__(self, *, max_clients: int = MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        self._clients: OrderedDict[str, _Buckets] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._clients)

    def acquire(self, client: Client, amounts: Amounts, *, now: float) -> float:
        """Acquire all amounts and return 0.0; or acquire nothing and return how many seconds to wait."""
        if client.allowance.rates == _UNLIMITED:
            return 0.0
        found = self._find(client, now=now)
        if found is None:
            return 1.0
        pairs = [(bucket, amount) for bucket, amount in zip(found.buckets, amounts, strict=True) if bucket and amount]
        wait = max((bucket.wait(now=now, amount=amount) for bucket, amount in pairs), default=0.0)
        if not wait:
            for bucket, amount in pairs:
                bucket.level += amount
        return wait

    def refund(self, client: Client, amounts: Amounts, *, now: float) -> None:
        """Undo an acquisition."""
        found = self._clients.get(client.key)
        for bucket, amount in zip(found.buckets if found else (), amounts, strict=False):
            if bucket is not None:
                bucket.charge(-amount, now=now)

    def charge_tokens(self, client: Client, tokens: int, *, now: float) -> None:
        """Count tokens that were used without being acquired; a negative number gives back."""
        found = self._clients.get(client.key)
        if found is not None and (bucket := found.buckets[Amounts._fields.index("tokens")]) is not None:
            bucket.charge(tokens, now=now)

    def _find(self, client: Client, *, now: float) -> _Buckets | None:
        """Return a client's buckets, which are made where there are none; None where there is no room."""
        found, rates = self._clients.get(client.key), client.allowance.rates
        if found is None:
            self._drop_unused(now)
            if len(self._clients) >= self._max_clients:
                return None
        if found is None or found.rates != rates:
            had = found.buckets if found is not None else (None,) * len(Amounts._fields)
            made = (_bucket(limit, bucket, now=now) for limit, bucket in zip(astuple(rates), had, strict=True))
            found = self._clients[client.key] = _Buckets(rates, tuple(made))
        self._clients.move_to_end(client.key)
        return found

    def _drop_unused(self, now: float) -> None:
        """Look at the least recently used buckets: drop those that no acquisition is in, and keep the others."""
        for _ in range(min(CHECKS_PER_CLIENT, len(self._clients))):
            key, found = self._clients.popitem(last=False)
            if not all(bucket is None or bucket.is_unused(now=now) for bucket in found.buckets):
                self._clients[key] = found


_UNLIMITED = Rates()


def _bucket(limit: int | None, before: TokenBucket | None, *, now: float) -> TokenBucket | None:
    """Return a bucket for so many a minute, with what is in the one `before`."""
    if limit is None:
        return None
    bucket = TokenBucket(rate=limit / 60, burst=limit)
    if before is not None:
        before.charge(0, now=now)
        bucket.level, bucket.updated_at = before.level, now
    return bucket
