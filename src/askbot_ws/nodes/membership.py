"""Membership: this node's lease, the set of sessions that it may own, and which other nodes live."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import structlog

from .. import __version__
from ..errors import StoreError
from ..events import EVENT_TYPES
from ..store.redis.connections import RedisConnections
from .keys import NODES, lease_of, members, run_command, sessions_of

SESSIONS_AT_ONCE = 1000  # in one command

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a node that is not heard of counts as alive, in seconds.

    Attributes:
        lease: How long a lease lasts.
        renewal: Between two renewals, and between two looks at the others' leases.
    """

    lease: float = 10.0
    renewal: float = 3.0


LEASE_TIMES = LeaseTimes()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What others may know of a node.

    Attributes:
        node: Its id: random, and another one after a restart.
        host: The name of its machine.
        pid: Its process there.
        version: That of its program.
        started: When it began, in seconds since 1970.
        events: The types of events that it knows. A later version appends others only once all nodes know them.
    """

    node: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started: float = 0.0
    events: tuple[str, ...] = ()


class Membership:
    """A node among the others. Its lease says who may try to take over; appends check the fence, never the lease."""

    def __init__(
        self,
        connections: RedisConnections,
        node: str,
        *,
        owned: Collection[str] = (),
        times: LeaseTimes | None = None,
        replicas: int = 0,
    ) -> None:
        """`node` is this process's id; `owned` are the sessions that it owns, whenever it is read.

        `replicas`: how many must have what nodes own, or a failover would leave sessions to nobody.
        """
        self._owned = owned
        self._connections = connections
        self._replicas = replicas
        self.times = times or LEASE_TIMES
        self.info = NodeInfo(node, platform.node(), os.getpid(), __version__, time.time(), EVENT_TYPES)
        self._others: dict[str, NodeInfo] = {}
        self._renewed_since: float | None = None  # by the loop's clock; None: the last renewal has failed

    @property
    def node(self) -> str:
        """This process's id."""
        return self.info.node

    def live_nodes(self) -> Collection[NodeInfo]:
        """Return the nodes that had a lease when it was last looked, this one first."""
        return [self.info, *self._others.values()]

    # --- the lease ---------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Become a node. Raises `StoreError`."""
        await self._note_node()
        await self._set_lease()
        self._renewed_since = asyncio.get_running_loop().time()

    async def _note_node(self) -> None:
        await run_command(self._connections, NODES, "SADD", self.node)

    async def _set_lease(self, *extra: str) -> bool:
        """Renew the lease; returns False where `extra` forbids it."""
        value = orjson.dumps(asdict(self.info))
        milliseconds = round(1000 * self.times.lease)
        return (
            await run_command(self._connections, lease_of(self.node), "SET", value, "PX", milliseconds, *extra)
            is not None
        )

    async def keep_lease(self) -> None:
        """Renew the lease, again and again."""
        while True:
            await asyncio.sleep(self.times.renewal)
            try:
                if not await self._set_lease("XX"):
                    log.warning("node_lease_lapsed", node=self.node)
                    await self.join()
                    await self._add_owned()  # Redis may have lost what it had acknowledged
                else:
                    await self._note_node()  # the same: it may be in another server than the lease
                    if self._renewed_since is None:
                        self._renewed_since = asyncio.get_running_loop().time()
            except StoreError as error:
                self._renewed_since = None
                log.warning("node_lease_not_renewed", node=self.node, cause=str(error.__cause__ or error))

    async def leave(self) -> None:
        """Be a node no more. Sessions that it may still own are taken over by others. Raises `StoreError`."""
        await run_command(self._connections, lease_of(self.node), "DEL")
        if not await run_command(self._connections, sessions_of(self.node), "SCARD"):
            await run_command(self._connections, NODES, "SREM", self.node)

    # --- its sessions ------------------------------------------------------------------------------------------------

    async def add_sessions(self, *sessions: str) -> None:
        """Note that this node may own sessions from now on; to be called before it does. Raises `StoreError`."""
        await run_command(self._connections, sessions_of(self.node), "SADD", *sessions, replicas=self._replicas)

    async def _add_owned(self) -> None:
        owned = [*self._owned]
        for start in range(0, len(owned), SESSIONS_AT_ONCE):
            await self.add_sessions(*owned[start : start + SESSIONS_AT_ONCE])

    async def remove_session(self, session: str) -> None:
        """Note that this node owns a session no more; to be called once it does not. Raises `StoreError`."""
        await run_command(self._connections, sessions_of(self.node), "SREM", session)

    # --- the others --------------------------------------------------------------------------------------------------

    async def read_leases(self) -> set[str]:
        """Look at the leases of all nodes; returns the nodes that have none. Raises `StoreError`."""
        others = await members(self._connections, NODES) - {self.node}
        leases = await asyncio.gather(*[run_command(self._connections, lease_of(node), "GET") for node in others])
        found = dict(zip(others, leases, strict=True))
        self._others = {node: _decode_info(node, lease) for node, lease in found.items() if isinstance(lease, bytes)}
        return {node for node, lease in found.items() if lease is None}

    def leases_are_conclusive(self) -> bool:
        """Return whether a node that lives must have renewed its lease since this one can.

        Redis may answer and yet take nothing, as without the replicas that it asks for: then no node can renew.
        """
        since = self._renewed_since
        return since is not None and asyncio.get_running_loop().time() - since >= 2 * self.times.renewal

    async def is_deregistered(self, node: str) -> bool:
        """Return whether a node is known no more: all of its sessions were taken over. Raises `StoreError`."""
        if node == self.node or node in self._others:
            return False
        return not await run_command(self._connections, NODES, "SISMEMBER", node)


def _decode_info(node: str, lease: bytes) -> NodeInfo:
    """Return what a lease says; other versions may say more or less."""
    try:
        fields: dict[str, Any] = orjson.loads(lease)
        host, pid, version, started = (fields[name] for name in ("host", "pid", "version", "started"))
        return NodeInfo(node, host, pid, version, started, tuple(fields.get("events", EVENT_TYPES)))
    except (ValueError, KeyError, TypeError):
        return NodeInfo(node)
