"""Backends: the servers of Redis that a cluster of nodes uses, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from askbot_ws.nodes.keys import lease_of
from askbot_ws.store.redis.keys import keys_of

from ...redis_groups import RedisCluster, Sentinels, redis_cluster, sentinels, slot_of, text
from ...redis_server import RedisServer, free_port, redis_server

FAILOVER = 20.0  # seconds that a failover may take

Happens = Callable[[float, str | None], Awaitable[bool]]
"""A fault that lasts for so many seconds, best where a session is; returns whether it took effect."""


class Backend(Protocol):
    """Servers of Redis."""

    name: str
    may_lose: bool  # what they acknowledged
    wait: int  # ASKBOT_REDIS_WAIT
    port: int | None  # of the one server, before which a proxy may be put; else nodes find the servers by themselves

    @property
    def url(self) -> str:
        """For ASKBOT_STORE, without a proxy."""
        ...

    @property
    def faults(self) -> Mapping[str, tuple[int, Happens]]:
        """What may happen, how likely, and how it is done."""
        ...

    def server_of(self, key: str) -> RedisServer:
        """The server that has a key."""
        ...


def owner_of(backend: Backend, session: str) -> str | None:
    """The id of the node that owns a session; None: nobody, or it is not to be found out."""
    keys = keys_of(session)
    try:
        fence = backend.server_of(keys.meta).command("HGET", keys.meta, "fence", limit=1)
    except (OSError, AssertionError):
        return None
    return text(fence).partition(":")[2] or None if isinstance(fence, bytes) else None


def lease(backend: Backend, node: str) -> bytes | None:
    """What a node's lease says; None: it has none, or it is not to be found out."""
    try:
        found = backend.server_of(lease_of(node)).command("GET", lease_of(node), limit=1)
    except (OSError, AssertionError):
        return None
    return found if isinstance(found, bytes) else None


@dataclass
class SingleRedis:
    """One server with an append-only file. `loses_a_second`: each time it is killed the newest second is gone."""

    server: RedisServer
    loses_a_second: bool = False
    wait: int = 0
    _sizes: list[tuple[float, dict[Path, int]]] = field(default_factory=list[tuple[float, dict[Path, int]]])

    @property
    def name(self) -> str:
        """For the table."""
        return "one server, a second is lost at each kill" if self.loses_a_second else "one server, appendfsync always"

    @property
    def may_lose(self) -> bool:
        """What it acknowledged."""
        return self.loses_a_second

    @property
    def port(self) -> int:
        """Its port."""
        return self.server.port

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return self.server.url

    @property
    def faults(self) -> Mapping[str, tuple[int, Happens]]:
        """What may happen."""
        killed = "Redis killed, and its newest second lost" if self.loses_a_second else "Redis killed"
        return {killed: (12, self._kill), "Redis stopped for a while": (8, self._stop)}

    def server_of(self, key: str) -> RedisServer:
        """The server."""
        del key
        return self.server

    async def _kill(self, seconds: float, session: str | None) -> bool:
        del session
        sizes = self._files()
        if self.loses_a_second:
            await asyncio.sleep(min(seconds, 1.0))
        self.server.kill()
        if self.loses_a_second:
            for file, size in sizes.items():
                with file.open("ab") as opened:
                    opened.truncate(size)
        await asyncio.sleep(seconds / 4)
        await asyncio.to_thread(self.server.start)
        return True

    def _files(self) -> dict[Path, int]:
        """The append-only files that grow, and their sizes."""
        folder = self.server.folder / "appendonlydir"
        return {file: file.stat().st_size for file in folder.glob("*.incr.aof")}

    async def _stop(self, seconds: float, session: str | None) -> bool:
        del session
        self.server.pause()
        await asyncio.sleep(seconds)
        self.server.resume()
        return True


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
        """The primary."""
        del key
        return self.group.primary if _role(self.group.primary) == "master" else self.group.replica

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
        promoted = await asyncio.to_thread(_until, lambda: _role(replica) == "master")
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(_until, lambda: _is_in_sync(primary))
        return promoted

    async def _stop(self, seconds: float, session: str | None) -> bool:
        del session
        replica = self.group.replica if self.server_of("") is self.group.primary else self.group.primary
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
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot_of(key), 1):
            assert isinstance(keys, list)
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
    return text(found[0]) if isinstance(found, list) else "away"


def _primary_port(replica: RedisServer) -> int:
    found = replica.command("ROLE")
    return int(found[2]) if isinstance(found, list) else 0


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


@contextmanager
def _single(*, loses_a_second: bool) -> Generator[SingleRedis]:
    flags = ("--appendonly", "yes", "--appendfsync", "everysec" if loses_a_second else "always")
    with redis_server(*flags, "--auto-aof-rewrite-percentage", "0", port=free_port()) as server:
        yield SingleRedis(server, loses_a_second=loses_a_second)


@contextmanager
def _watched(wait: int) -> Generator[WatchedRedis]:
    with sentinels() as group:
        yield WatchedRedis(group, wait)


@contextmanager
def _clustered() -> Generator[ClusteredRedis]:
    with redis_cluster() as cluster:
        yield ClusteredRedis(cluster)


BACKENDS: dict[str, Callable[[], AbstractContextManager[Backend]]] = {
    "single": lambda: _single(loses_a_second=False),
    "losing": lambda: _single(loses_a_second=True),
    "sentinel": lambda: _watched(1),
    "sentinel-losing": lambda: _watched(0),
    "cluster": _clustered,
}
