"""Groups of Redis: with replicas, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from askbot_ws.store.redis.keys import keys_of

from ...redis_groups import RedisCluster, Sentinels, slot_of, text
from ...redis_server import RedisServer
from .single_redis import Happens

FAILOVER = 50.0  # seconds that a failover may take: a Sentinel leaves time between two, and tries again later
SETTLING = 2.0  # seconds after a failover, in which a Sentinel may take the new primary for dead: it has just connected


@dataclass
class WatchedRedis:
    """A primary with a replica that a Sentinel watches. `wait`: appends are shown once the replica has them."""

    group: Sentinels
    wait: int
    port: None = None

    @property
    def name(self) -> str:
        """For the table."""
        return f"a primary and a replica that a Sentinel watches, ASKBOT_REDIS_WAIT={self.wait}"

    @property
    def may_lose(self) -> bool:
        """What it acknowledged."""
        return not self.wait

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return self.group.url

    @property
    def faults(self) -> Mapping[str, tuple[int, Happens]]:
        """What may happen."""
        return {
            "primary of Redis killed: failover": (12, self._fail_over),
            "replica stopped for a while": (8, self._stop),
        }

    def server_of(self, key: str) -> RedisServer:
        """The primary, as the Sentinel says: one that has just come back takes itself for it for some seconds."""
        del key
        return self.group.primary if self.group.named_port() == self.group.primary.port else self.group.replica

    async def _fail_over(self, seconds: float, session: str | None) -> bool:
        del session
        primary = self.server_of("")
        replica = self.group.replica if primary is self.group.primary else self.group.primary
        if not await asyncio.to_thread(_until, lambda: _is_in_sync(replica)):
            return False
        if self.may_lose:
            replica.pause()  # what the primary acknowledges now has nobody else
            await asyncio.sleep(min(seconds, 0.8))
        primary.kill()
        replica.resume()
        promoted = await asyncio.to_thread(_until, lambda: self.group.named_port() == replica.port)
        await asyncio.sleep(SETTLING)
        promoted = promoted and await asyncio.to_thread(_until, lambda: self.group.named_port() == replica.port)
        await asyncio.to_thread(self.group.start_as_replica, primary, replica)
        await asyncio.to_thread(_until, lambda: _is_in_sync(primary))
        return promoted

    async def _stop(self, seconds: float, session: str | None) -> bool:
        del session
        replica = self.group.replica if self.server_of("") is self.group.primary else self.group.primary
        if not _is_in_sync(replica):
            return False
        replica.pause()
        await asyncio.sleep(min(seconds, 0.6))  # less than what the Sentinel calls down
        replica.resume()
        return True


@dataclass
class ClusteredRedis:
    """A Cluster of six. Appends are shown once a replica has them."""

    cluster: RedisCluster
    wait: int = 1
    may_lose: bool = False
    port: None = None
    name: str = "a Cluster of six, ASKBOT_REDIS_WAIT=1"

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return self.cluster.url

    @property
    def faults(self) -> Mapping[str, tuple[int, Happens]]:
        """What may happen."""
        return {
            "slot of a session moved": (20, self._move),
            "primary of Redis killed: failover": (10, self._fail_over),
            "primary of Redis stopped for a while": (5, self._stop),
        }

    def server_of(self, key: str) -> RedisServer:
        """The primary that has the key."""
        return self.cluster.primary_of(key)

    async def _move(self, seconds: float, session: str | None) -> bool:
        """Move a session's slot, key by key."""
        if session is None:
            return False
        key = keys_of(session).meta
        source, target = await asyncio.to_thread(self.cluster.begin_move, key)
        while keys := cast("list[bytes]", source.command("CLUSTER", "GETKEYSINSLOT", slot_of(key), 1)):
            await asyncio.to_thread(self.cluster.move_key, text(keys[0]), source, target)
            await asyncio.sleep(seconds / 20)
        await asyncio.to_thread(self.cluster.end_move, key, source, target)
        return True

    async def _fail_over(self, seconds: float, session: str | None) -> bool:
        primary = self.server_of(keys_of(session or "s").meta)
        others = [node for node in self.cluster.nodes if node is not primary]
        replicas = [node for node in others if _is_in_sync(node) and _primary_port(node) == primary.port]
        if not replicas:
            return False
        primary.kill()
        promoted = await asyncio.to_thread(_until, lambda: any(_role(node) == "master" for node in replicas))
        await asyncio.sleep(seconds / 4)
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(_until, lambda: _is_in_sync(primary))
        return promoted

    async def _stop(self, seconds: float, session: str | None) -> bool:
        server = self.server_of(keys_of(session or "s").meta)
        server.pause()
        await asyncio.sleep(min(seconds, 0.7))  # less than what its neighbours call down
        server.resume()
        return True


def _role(server: RedisServer) -> str:
    try:
        found = server.command("ROLE", limit=1)
    except OSError:
        return "away"
    return text(cast("list[bytes]", found)[0]) if isinstance(found, list) else "away"


def _primary_port(replica: RedisServer) -> int:
    found = replica.command("ROLE")
    return cast("tuple[bytes, bytes, int]", found)[2] if isinstance(found, list) else 0


def _is_in_sync(server: RedisServer) -> bool:
    try:
        info = text(server.command("INFO", "replication", limit=1))
    except OSError:
        return False
    return "role:slave" in info and "master_link_status:up" in info


def _until(true: Callable[[], bool]) -> bool:
    """Whether it happens within the time of a failover."""
    deadline = time.monotonic() + FAILOVER
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
