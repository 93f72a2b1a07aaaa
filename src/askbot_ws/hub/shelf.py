"""Shelf: the sessions that are in memory. Those that nobody needs stay as long as there is room."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from weakref import WeakValueDictionary

from ..core.context import Context
from ..core.session import Session
from ..errors import SessionNotFound
from ..store import Store
from .live import Live
from .policy import Policy

LOOKED_AT = 50  # of the newest turns, when a session is loaded, for the ids of their questions


class Shelf:
    """Live sessions by their ids."""

    def __init__(self, store: Store, policy: Policy, *, needed: Callable[[Live], bool]) -> None:
        """`needed` says of a session that rests whether somebody still writes it."""
        self._store = store
        self._policy = policy
        self._needed = needed
        self._live: dict[str, Live] = {}
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._resting: dict[str, int] = {}  # session -> weight, the one that has rested longest first
        self._bytes = 0  # that those weigh

    def __len__(self) -> int:
        return len(self._live)

    def all(self) -> tuple[Live, ...]:
        """Every one, at this moment."""
        return tuple(self._live.values())

    def has(self, live: Live) -> bool:
        """Whether this is still the one by its id: it may have been forgotten."""
        return self._live.get(live.id) is live

    def create(self) -> Live:
        """A new session. It costs the store nothing until its first question."""
        id = secrets.token_urlsafe(16)
        live = self._live[id] = Live(self._session(id, context=Context()), self._store.create(id))
        live.session.all_asked = True
        return live

    async def open(self, session: str) -> Live:
        """A session that exists; take it at once, or it may leave again. Raises `SessionNotFound`, `StoreError`."""
        live = self._live.get(session)
        if live is not None:
            return live
        lock = self._opening.setdefault(session, asyncio.Lock())
        async with lock:  # two connections that come at once get the same one
            return self._live.get(session) or await self._load(session)

    async def _load(self, id: str) -> Live:
        found = await self._store.load(id)
        session = self._session(id, head=found.head)
        turns = await self._store.turns(id, limit=LOOKED_AT)
        for turn in turns:
            if turn.id is not None:
                session.remember(turn.id, turn.text)
        session.all_asked = len(turns) < LOOKED_AT
        live = self._live[id] = Live(session, found)
        return live

    def _session(self, id: str, *, head: int = 0, context: Context | None = None) -> Session:
        policy = self._policy
        return Session(id, head, max_waiting=policy.max_waiting, window=4 * policy.context_tokens, context=context)

    def take(self, live: Live) -> None:
        """Somebody needs it."""
        self._bytes -= self._resting.pop(live.id, 0)

    def rest(self, live: Live) -> None:
        """It may go, if nobody needs it, once there is no room."""
        if not live.resting or self._needed(live) or not self.has(live):
            return
        self.take(live)
        if live.log.head == 0:  # nobody can miss what has no event
            self._evict(live)
            return
        self._resting[live.id] = live.weight
        self._bytes += live.weight
        while self._bytes > self._policy.memory:
            self._evict(self._live[next(iter(self._resting))])

    def _evict(self, live: Live) -> None:
        self.remove(live)
        self._store.release(live.id)

    def remove(self, live: Live) -> None:
        """It is gone."""
        self.take(live)
        self._live.pop(live.id, None)


class Alone:
    """Commands of a session that have to wait for something come one at a time.

    Entering raises `SessionNotFound` if it was forgotten meanwhile. A class, as a generator would cost each question
    as much as its journal does.
    """

    __slots__ = ("_live", "_shelf")

    def __init__(self, live: Live, shelf: Shelf) -> None:
        self._live = live
        self._shelf = shelf

    async def __aenter__(self) -> None:
        await self._live.lock.acquire()
        if not self._shelf.has(self._live):
            self._live.lock.release()
            raise SessionNotFound

    async def __aexit__(self, *_: object) -> None:
        self._live.lock.release()
        self._shelf.rest(self._live)
