"""Nodes in this process: hubs that share one Redis, as `askbot serve` makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.hub import Hub, Policy
from askbot_ws.nodes.membership import LeaseTimes
from askbot_ws.nodes.placement import NodePlacement
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.testing import ScriptedUpstream
from tests.hub.fakes import CheckedReader, attach_reader
from tests.redis_server import RedisServer

TIMES = LeaseTimes(lease=0.5, renewal=0.1)


@dataclass
class Node:
    """A hub, with what it answers."""

    hub: Hub
    placement: NodePlacement
    upstream: ScriptedUpstream
    store: RedisStore

    async def attached(self, session: str) -> CheckedReader:
        """A reader of a session, from its newest event on."""
        return attach_reader(self.hub, await self.hub.open(ANONYMOUS, session))

    def owns(self, session: str) -> bool:
        """Whether it writes a session."""
        return session in self.hub._registry.owners  # pyright: ignore[reportPrivateUsage]


@asynccontextmanager
async def node(
    redis: RedisServer,
    *scripts: list[str | asyncio.Event],
    forward_seconds: float = 5.0,
    policy: Policy | None = None,
) -> AsyncGenerator[Node]:
    """A node; it drains at the end."""
    store, upstream = RedisStore(redis.url), ScriptedUpstream(*scripts)
    placement = NodePlacement(store, times=TIMES, forward_seconds=forward_seconds)
    async with Hub(store, upstream, policy or Policy(), placement=placement) as hub:
        yield Node(hub, placement, upstream, store)


async def soon(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells us of."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
