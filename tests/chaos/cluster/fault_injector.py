"""Fault injector: causes the faults of a cluster's schedule, those of nodes where an answer is written."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ..checking_client import CheckingClient
from ..environment import listens
from ..fault_injector import work_off
from ..proxy import Proxy
from ..results import BrokenError, Results
from .environment import LEASE_SECONDS, ClusterEnvironment, Node
from .faults import (
    ALL_RESTARTED,
    FOLLOWER_KILLED,
    OWNER_CUT_OFF,
    OWNER_KILLED,
    OWNER_STOPPED,
    PROVIDER_KILLED,
    TOLD_TO_END,
    Fault,
)

ENDING = 30.0  # seconds that a node may take to end when it is told to; its drain is 3
TAKEOVER = LEASE_SECONDS + 1.5  # seconds without a sign of life, after which a node's sessions are another's


class ClusterFaultInjector:
    """Causes faults in the network, the nodes and Redis."""

    def __init__(self, environment: ClusterEnvironment, clients: Sequence[CheckingClient], results: Results) -> None:
        self._environment = environment
        self._clients = clients
        self._results = results
        self._redis = asyncio.Lock()
        self._ending = asyncio.Lock()
        self._stopped: set[int] = set()  # pids

    async def inject(self, faults: Sequence[Fault]) -> None:
        """Cause each fault at its time; returns when the last is over and everything works again."""
        await work_off(faults, network=self._network, machine=self._machine)
        for proxy in self._environment.proxies:
            proxy.heal()
        await self._environment.up()

    def _network(self, fault: Fault) -> None:
        environment, order = self._environment, fault.order
        assert order
        links = [node.link for node in environment.nodes if node.link is not None]
        proxy: Proxy
        match fault.name:
            case "clients":
                proxy = environment.front
            case "provider":
                proxy = environment.back
            case _:
                proxy = links[int(fault.pick * len(links))]
        if proxy.waits_to_hurt and proxy is not environment.front:
            return  # few connections are made: they must not all go wrong, one after the other
        if fault.beginning:
            proxy.hurt_next(order)
        else:
            proxy.hurt(order, fault.pick)

    async def _machine(self, fault: Fault) -> None:
        session = self._answering(fault.pick)
        happens: dict[str, Callable[[], Awaitable[bool]]] = {
            OWNER_KILLED: lambda: self._kill(session, fault.pick, owner=True),
            FOLLOWER_KILLED: lambda: self._kill(session, fault.pick, owner=False),
            OWNER_STOPPED: lambda: self._stop(session, TAKEOVER + fault.seconds),
            OWNER_CUT_OFF: lambda: self._cut_off(session, TAKEOVER + fault.seconds),
            TOLD_TO_END: lambda: self._end(self._environment.nodes[int(fault.pick * len(self._environment.nodes))]),
            ALL_RESTARTED: self._restart_all,
            PROVIDER_KILLED: self._kill_provider,
        }
        if await (happens.get(fault.name) or (lambda: self._of_redis(fault, session)))():
            self._results.fault(fault.name)

    def _answering(self, pick: float) -> str | None:
        """A session in which an answer runs."""
        found = [
            client.story.session
            for client in self._clients
            if not client.broken and client.hears and any(not turn.done for turn in client.story.turns.values())
        ]
        return found[int(pick * len(found))] if found else None

    async def _owner(self, session: str | None) -> Node | None:
        return None if session is None else await self._environment.owner_of(session)

    async def _kill(self, session: str | None, pick: float, *, owner: bool) -> bool:
        node = await self._owner(session)
        if node is None:
            return False
        if not owner:
            others = [other for other in self._environment.nodes if other is not node]
            node = others[int(pick * len(others))]
        return node.process.signal(signal.SIGKILL)

    async def _stop(self, session: str | None, seconds: float) -> bool:
        """Stop an owner. When it goes on it has text of the provider's to write, and its sessions are another's."""
        node = await self._owner(session)
        pid = node.process.pid if node is not None else None
        if pid is None or pid in self._stopped:
            return False
        self._stopped.add(pid)
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            self._stopped.discard(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return True

    async def _cut_off(self, session: str | None, seconds: float) -> bool:
        node = await self._owner(session)
        if node is None or node.link is None:
            return False
        await node.link.cut_off(seconds)
        return True

    async def _end(self, node: Node) -> bool:
        async with self._ending:
            if not node.process.signal(signal.SIGTERM):
                return False
            if await node.process.ended(ENDING) is None:
                self._results.breaks(BrokenError("stuck", "a node does not end when it is told to"))
                node.process.signal(signal.SIGKILL)
        return True

    async def _restart_all(self) -> bool:
        for node in self._environment.nodes:
            await self._end(node)
            await listens(node.port)
        return True

    async def _kill_provider(self) -> bool:
        return self._environment.provider.signal(signal.SIGKILL)

    async def _of_redis(self, fault: Fault, session: str | None) -> bool:
        async with self._redis:
            _, happens = self._environment.backend.faults[fault.name]
            return await happens(fault.seconds, session)
