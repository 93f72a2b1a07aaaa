"""Nodes: several stores on one server, and what they are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from askbot_ws.events import Event
from askbot_ws.store import Store
from askbot_ws.store.redis.store import RedisStore
from tests.redis_server import RedisServer

from ..event_factory import Clock, EventFactory, append


class Observer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self.told: list[tuple[str, str]] = []
        self.changed = asyncio.Event()

    def appended(self, session: str, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        assert len(events) == len(frames)
        self.events.setdefault(session, []).extend(events)
        self.changed.set()

    def replaced(self, session: str) -> None:
        self._note("replaced", session)

    def history_changed(self, session: str) -> None:
        self._note("history_changed", session)

    def deleted(self, session: str) -> None:
        self._note("deleted", session)

    def fenced(self, session: str) -> None:
        self._note("fenced", session)

    def unowned(self, session: str) -> None:
        self._note("unowned", session)

    def _note(self, what: str, session: str) -> None:
        self.told.append((what, session))
        self.changed.set()

    def head(self, session: str = "s") -> int:
        """The `seq` of the last event that it was told; 0: none."""
        return self.events[session][-1].seq if session in self.events else 0

    async def wait_for_head(self, head: int, session: str = "s") -> None:
        async with asyncio.timeout(10):
            while self.head(session) < head:
                self.changed.clear()
                await self.changed.wait()

    async def wait_for(self, what: str, session: str = "s") -> None:
        async with asyncio.timeout(10):
            while (what, session) not in self.told:
                self.changed.clear()
                await self.changed.wait()


class Node:
    """A store with its observer."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.observer = store.observer = Observer()
        self.name = store.node


@asynccontextmanager
async def nodes(
    redis: RedisServer, *names: str, clock: Clock | None = None, replicas: int = 0
) -> AsyncGenerator[list[Node]]:
    """A store for each of the names, which are their ids; closed in the end."""
    async with AsyncExitStack() as stack:
        made: list[Node] = []
        for name in names:
            store = RedisStore(redis.url, node=name, clock=clock or time.monotonic, replicas=replicas)
            await store.open()
            stack.push_async_callback(store.close)
            made.append(Node(store))
        yield made


async def begin(store: Store, session: str = "s", *, user: str | None = None) -> EventFactory:
    """Make a session with a turn that has ended, and one that runs."""
    store.create(session, user=user)
    factory = EventFactory(session)
    await append(store, *factory.turn("t1", "one ", "answer", id="a1"))
    await append(store, factory.question("t2", id="a2"), factory.token("t2", "half "))
    return factory
