"""Reaper: takes over the sessions of nodes that have died, and those that a draining node has handed over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import Protocol

import structlog

from ..errors import AskbotError, SessionNotFound, StoreError
from ..hub.placement import OwnedElsewhere
from ..store.redis.connections import RedisConnections
from .keys import HANDOVERS, NODES, members, reaper_of, run_command, sessions_of, texts
from .membership import Membership

MAX_TAKEOVERS = 32  # at the same time
REAPER_SECONDS = 30.0  # for which a node alone may take over from a dead one, unless it says that it goes on
MAX_HANDOVERS_AT_ONCE = 100  # sessions


class EnsureOwner(Protocol):
    """Own a session, or have its owner go on with it (`Placement.ensure_owner`)."""

    def __call__(self, session: str, *, instead_of: str | None = None) -> Awaitable[None]:
        """As `Placement.ensure_owner`."""
        ...


log = structlog.get_logger(__name__)


class Reaper:
    """Looks at the leases of all nodes; a node whose lease is gone twice has died.

    After Redis was away, leases are gone of nodes that live: all of them have as long as a lease lasts to come back.
    """

    def __init__(self, connections: RedisConnections, membership: Membership, ensure_owner: EnsureOwner) -> None:
        """`ensure_owner` owns a session, in place of a node that has died or of nobody (`Placement.ensure_owner`)."""
        self._connections = connections
        self._membership = membership
        self._ensure_owner = ensure_owner
        self._gone: set[str] = set()  # nodes that had no lease at the last look
        self._trusted_from = 0.0  # when a lease that is gone tells something again, by the loop's clock
        self._handover_queued = asyncio.Event()

    def look_at_handovers(self) -> None:
        """Look at the sessions that were handed over, now."""
        self._handover_queued.set()

    async def watch_nodes(self) -> None:
        """Take over from nodes that die, again and again."""
        times, now = self._membership.times, asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(times.renewal)
            try:
                gone = await self._membership.read_leases()
                if now() < self._trusted_from or not self._membership.leases_are_conclusive():
                    self._gone = set()
                    continue
                for node in gone & self._gone:
                    await self._take_over_all(node)
                self._gone = gone
            except StoreError as error:
                self._gone, self._trusted_from = set(), now() + times.lease
                log.warning("node_watch_failed", cause=str(error.__cause__ or error))

    async def watch_handovers(self) -> None:
        """Take the sessions that draining nodes hand over, again and again."""
        while True:
            try:
                async with asyncio.timeout(self._membership.times.renewal):
                    await self._handover_queued.wait()
            except TimeoutError:
                pass
            self._handover_queued.clear()
            try:
                while await self._take_handovers():
                    pass
            except StoreError as error:
                log.warning("node_watch_failed", cause=str(error.__cause__ or error))

    # --- nodes that have died ----------------------------------------------------------------------------------------

    async def _take_over_all(self, node: str) -> None:
        """Take over all sessions of a node that has died, unless another node does. Raises `StoreError`."""
        lock, milliseconds = reaper_of(node), round(1000 * REAPER_SECONDS)
        if await run_command(self._connections, lock, "SET", self._membership.node, "NX", "PX", milliseconds) is None:
            return
        sessions = [*await members(self._connections, sessions_of(node))]
        log.warning("node_died", node=node, sessions=len(sessions))
        failed = 0
        for start in range(0, len(sessions), MAX_TAKEOVERS):
            some = sessions[start : start + MAX_TAKEOVERS]
            taken = await asyncio.gather(*[self._take_over_one(session, node) for session in some])
            failed += taken.count(False)
            await run_command(self._connections, lock, "SET", self._membership.node, "XX", "PX", milliseconds)
        if not failed and not await run_command(self._connections, sessions_of(node), "SCARD"):
            await run_command(self._connections, NODES, "SREM", node)
        await run_command(self._connections, lock, "DEL")  # what has failed is tried at the next look

    async def _take_over_one(self, session: str, node: str) -> bool:
        """Take over a session; returns whether it is the dead node's no more."""
        try:
            await self._ensure_owner(session, instead_of=node)
        except (SessionNotFound, OwnedElsewhere):
            pass  # deleted, or another node was faster
        except AskbotError as error:
            log.warning("session_takeover_failed", session=session, cause=str(error.__cause__ or error))
            return False
        except Exception:  # a fault in one session must not keep the others from being taken over
            log.exception("session_takeover_crashed", session=session)
            return False
        await run_command(self._connections, sessions_of(node), "SREM", session)
        return True

    # --- nodes that drain --------------------------------------------------------------------------------------------

    async def _take_handovers(self) -> bool:
        """Take some of the sessions that were handed over; returns whether there may be more. Raises `StoreError`."""
        found = [*texts(await run_command(self._connections, HANDOVERS, "LRANGE", 0, MAX_HANDOVERS_AT_ONCE - 1))]
        random.shuffle(found)  # so that several nodes share them
        taken = False
        for session in found:
            try:
                await self._ensure_owner(session)
            except SessionNotFound:
                pass
            except AskbotError as error:
                log.warning("session_takeover_failed", session=session, cause=str(error.__cause__ or error))
                continue
            await run_command(self._connections, HANDOVERS, "LREM", 0, session)
            taken = True
        return taken
