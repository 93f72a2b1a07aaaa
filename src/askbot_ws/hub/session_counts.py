"""Session counts: how many sessions each user has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..core.allowance import Client
from ..core.excess import too_many_sessions_error
from ..store import Store
from ..store.session_list import count_sessions

MAX_USERS = 10_000  # whose counts are in memory
RECOUNT_SECONDS = 60.0  # after which a count that reaches the limit is made again: expired sessions are deleted


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

    def is_loaded(self, client: Client) -> bool:
        """Return whether `load` has nothing to count."""
        user, limit = client.user, client.allowance.sessions
        if user is None or limit is None:
            return True
        known = self._counts.get(user)
        return known is not None and known.limit >= limit and (known.sessions < limit or self._is_fresh(known))

    async def load(self, client: Client) -> None:
        """Count a user's sessions, up to the limit, unless the count is known. Raises `StoreError`."""
        user, limit = client.user, client.allowance.sessions
        if user is None or limit is None or self.is_loaded(client):
            return
        known = self._counts.get(user)
        count = _Count(await count_sessions(self._store, user, limit=limit), limit, self._clock())
        if self._counts.get(user) is known:  # else it was counted, and maybe changed, meanwhile
            self._counts[user] = count
        if len(self._counts) > MAX_USERS:
            self._counts.popitem(last=False)

    def _is_fresh(self, count: _Count) -> bool:
        return self._clock() - count.counted_at < RECOUNT_SECONDS

    def check(self, client: Client) -> None:
        """Raise `QuotaExceeded` where a user, which was loaded, may have no further session."""
        user, limit = client.user, client.allowance.sessions
        if user is None or limit is None:
            return
        known = self._counts.get(user)
        if known is not None and known.sessions >= limit:
            raise too_many_sessions_error(limit)

    def add(self, client: Client) -> None:
        """Count a new session."""
        if client.user is not None and (known := self._counts.get(client.user)) is not None:
            known.sessions += 1
            self._counts.move_to_end(client.user)

    def remove(self, user: str | None) -> None:
        """Count a session that was deleted."""
        if user is None or (known := self._counts.get(user)) is None:
            return
        known.sessions -= 1
        if known.sessions + 1 >= known.limit:
            del self._counts[user]  # there may be more than were counted
