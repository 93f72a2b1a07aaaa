"""Session counts: how many sessions each user has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..core.allowance import Client
from ..errors import QuotaExceeded
from ..store import SessionQuery, Store

MAX_USERS = 10_000  # whose counts are in memory
RECOUNT_SECONDS = 60.0  # after which a count that reaches the limit is made again: expired sessions are deleted
PAGE_SESSIONS = 100


@dataclass(slots=True)
class _Count:
    """The sessions of one user."""

    sessions: int
    limit: int  # up to which they were counted
    counted_at: float


class SessionCounts:
    """Counts the sessions of users whose allowance limits them; those of anonymous clients are nobody's."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._store = store
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()  # least recently used first

    async def load(self, client: Client) -> None:
        """Count a user's sessions, up to the limit, unless the count is known. Raises `StoreError`."""
        user, limit = client.user, client.allowance.sessions
        if user is None or limit is None:
            return
        known = self._counts.get(user)
        if known is not None and known.limit >= limit and (known.sessions < limit or self._is_fresh(known)):
            self._counts.move_to_end(user)
            return
        count = _Count(await self._count(user, limit), limit, self._clock())
        if self._counts.get(user) is known:  # else it was counted, and maybe changed, meanwhile
            self._counts[user] = count
        if len(self._counts) > MAX_USERS:
            self._counts.popitem(last=False)

    def _is_fresh(self, count: _Count) -> bool:
        return self._clock() - count.counted_at < RECOUNT_SECONDS

    async def _count(self, user: str, limit: int) -> int:
        """Return how many sessions a user has, at most `limit`."""
        count, before = 0, None
        while count < limit:
            page = await self._store.list_sessions(SessionQuery(user=user), before=before, limit=PAGE_SESSIONS)
            count += len(page.sessions)
            before = page.more
            if before is None:
                break
        return min(count, limit)

    def check(self, client: Client) -> None:
        """Raise `QuotaExceeded` where a user, which was loaded, may have no further session."""
        user, limit = client.user, client.allowance.sessions
        if user is None or limit is None:
            return
        known = self._counts.get(user)
        if known is not None and known.sessions >= limit:
            raise QuotaExceeded(f"{limit} conversations are the most; delete one to begin another.")

    def add(self, client: Client) -> None:
        """Count a new session."""
        if client.user is not None and (known := self._counts.get(client.user)) is not None:
            known.sessions += 1

    def remove(self, user: str | None) -> None:
        """Count a session that was deleted."""
        if user is None or (known := self._counts.get(user)) is None:
            return
        known.sessions -= 1
        if known.sessions + 1 >= known.limit:
            del self._counts[user]  # there may be more than were counted
