"""The reaper: whom it takes for dead."""

from __future__ import annotations

import asyncio

from askbot_ws.nodes.membership import LeaseTimes, Membership
from askbot_ws.nodes.reaper import Reaper
from askbot_ws.store.redis.connections import RedisConnections
from tests.redis_server import redis_server

from .nodes import soon

TIMES = LeaseTimes(lease=1.0, renewal=0.05)


async def test_nodes_may_come_back_after_redis_was_away() -> None:
    """Nobody could renew a lease meanwhile; who renews none in a lease's time has died."""
    taken = dict[str, list[str | None]]()

    async def take_over(session: str, *, instead_of: str | None = None) -> None:
        taken.setdefault(session, []).append(instead_of)

    with redis_server("--appendonly", "yes", "--appendfsync", "always") as redis:  # `everysec` may lose some at a kill
        connections = await RedisConnections.open(redis.url)
        watcher, slow, dead = (Membership(connections, name, times=TIMES) for name in ("watcher", "slow", "dead"))
        for each in (watcher, slow, dead):
            await each.join()
            await each.add_sessions(f"session-of-{each.node}")
        watching = asyncio.create_task(Reaper(connections, watcher, take_over).watch_nodes())
        redis.kill()
        await asyncio.sleep(TIMES.lease)
        redis.start()
        await asyncio.sleep(0.5 * TIMES.lease)
        await slow.join()
        keeping = asyncio.create_task(slow.keep_lease())
        await soon(lambda: bool(taken))

        watching.cancel()
        keeping.cancel()
        await connections.close()
    assert taken == {"session-of-dead": ["dead"]}
