"""The client of redis-py: for everything that is rare."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool
from redis.backoff import NoBackoff

from .cluster_map import ClusterMap
from .redis_url import Address, RedisUrl
from .sentinel_group import SentinelGroup
from .server_connection import CONNECT_SECONDS, REPLY_SECONDS
from .topology import Topology


class RareClient:
    """A client of redis-py.

    Attributes:
        client: The client. It tries nothing again that it has sent: it may have been done.
    """

    def __init__(self, url: RedisUrl, topology: Topology) -> None:
        options = _options(url)
        hosts = [address for address in url.addresses if not isinstance(address, str)]
        self.client: Redis | RedisCluster
        if isinstance(topology, ClusterMap):
            self.client = RedisCluster(startup_nodes=[ClusterNode(*host) for host in hosts], **options)
        elif isinstance(topology, SentinelGroup):
            pool: Any = SentinelConnectionPool  # which has no types
            self.client = Redis.from_pool(pool(topology.service, _PrimaryOf(topology), db=url.database, **options))
        else:
            address = topology.address_of("")
            if isinstance(address, str):
                self.client = Redis(unix_socket_path=address, db=url.database, **options)
            else:
                self.client = Redis(host=address[0], port=address[1], db=url.database, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()


class _PrimaryOf:
    """Tells a pool of redis-py where the primary of a group is.

    The Sentinels of redis-py would name the old one for as long as the new one is not announced, though it may be back
    by then and have lost everything.
    """

    def __init__(self, group: SentinelGroup) -> None:
        self._group = group

    async def discover_master(self, service_name: str) -> Address:
        """Return the primary's address. Raises MasterNotFoundError, which is a ConnectionError of redis-py."""
        address = await self._group.find_primary()
        if address is None:
            raise MasterNotFoundError(f"No primary is known of {service_name}")
        return address


def _options(url: RedisUrl) -> dict[str, Any]:
    """What all clients are given."""
    tls = {
        "ssl": True,
        "ssl_ca_certs": url.ca_file,
        "ssl_certfile": url.certificate_file,
        "ssl_keyfile": url.key_file,
    }
    return {
        "username": url.user or ("default" if url.password else None),  # without it, a server without one refuses
        "password": url.password,
        "client_name": "askbot",
        "protocol": 2,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        **(tls if url.tls is not None else {}),
    }
