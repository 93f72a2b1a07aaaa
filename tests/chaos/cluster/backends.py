"""Backends: the servers of Redis that a cluster of nodes uses."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from askbot_ws.nodes.keys import lease_of
from askbot_ws.store.redis.keys import keys_of

from ...ports import free_port
from ...redis_groups import redis_cluster, sentinels, text
from ...redis_server import RedisServer, redis_server
from .redis_groups import ClusteredRedis, WatchedRedis
from .single_redis import Happens, SingleRedis


class Backend(Protocol):
    """Servers of Redis."""

    @property
    def name(self) -> str:
        """For the table."""
        ...

    @property
    def may_lose(self) -> bool:
        """Whether they may lose what they acknowledged."""
        ...

    @property
    def wait(self) -> int:
        """ASKBOT_REDIS_WAIT."""
        ...

    @property
    def port(self) -> int | None:
        """Of the one server, before which a proxy may be put; else nodes find the servers by themselves."""
        ...

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
