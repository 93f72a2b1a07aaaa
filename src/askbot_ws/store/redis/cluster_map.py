"""ClusterMap: which node of a Cluster has a slot."""

from __future__ import annotations

import random
from collections.abc import Sequence

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from .failures import ServerRefusedError
from .redis_url import Address, endpoint
from .server_connection import Reply, ServerConnection
from .servers import Servers
from .topology import Refreshing


class ClusterMap(Refreshing):
    """The slots of a Cluster and their primaries, as its nodes tell (CLUSTER SLOTS, MOVED).

    Attributes:
        only_address: None: there are several servers.
        primaries: The primaries that have slots.
        replicas: Their replicas.
        missing: How many slots have no primary.
    """

    only_address: Address | None = None

    def __init__(self, servers: Servers, seeds: Sequence[Address]) -> None:
        super().__init__()
        self._servers = servers
        self._seeds = seeds
        self._slots: list[Address] = [seeds[0]] * REDIS_CLUSTER_HASH_SLOTS
        self.primaries: set[Address] = set()
        self.replicas: set[Address] = set()
        self.missing = REDIS_CLUSTER_HASH_SLOTS

    def address_of(self, key: str) -> Address:
        """The address of the primary that has a key, or a channel."""
        return self._slots[key_slot(key.encode())]

    def moved(self, slot: int, address: Address) -> None:
        """A node says that another one has a slot: others may have moved too."""
        self._slots[slot] = address
        self.refresh_soon()

    async def read(self, address: Address, connection: ServerConnection) -> None:
        """Take the map that a node has. Raises `ServerRefusedError` and OSError."""
        ranges = await connection.command("CLUSTER", "SLOTS")
        self.primaries, self.replicas, self.missing = set(), set(), REDIS_CLUSTER_HASH_SLOTS
        for item in ranges if isinstance(ranges, list) else []:
            match item:
                case [int(first), int(last), [*primary], *replicas]:
                    node = _address(primary, address)
                    self._slots[first : last + 1] = [node] * (last + 1 - first)
                    self.primaries.add(node)
                    self.replicas.update(_address(replica, address) for replica in replicas)
                    self.missing -= last + 1 - first
                case _:
                    pass

    async def _find_out(self) -> None:
        """Ask nodes until one tells, those first to which there is a connection."""
        nodes = list({*self.primaries, *self.replicas, *self._seeds})
        random.shuffle(nodes)
        for node in sorted(nodes, key=lambda address: self._servers.get(address) is None):
            try:
                await self.read(node, self._servers.get(node) or await self._servers.connect(node))
            except (OSError, ServerRefusedError):
                continue
            return


def _address(node: Reply, said_by: Address) -> Address:
    match node:
        case [host, int(port), *_]:
            return endpoint(host.decode() if isinstance(host, bytes) else "", port, said_by)
        case _:
            return said_by
