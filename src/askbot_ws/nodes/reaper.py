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
from .keys import NODES, TODO, members, reaper_of, run, sessions_of, texts
from .membership import Membership

MAX_TAKEOVERS = 32  # at the same time
REAPER_SECONDS = 30.0  # for which a node alone may take over from a dead one, unless it says that it goes on
TODO_SESSIONS = 100  # looked at, at once


class TakeOver(Protocol):
    """Own a session, or have its owner go on with it (`Placement.take_over`)."""

    def __call__(self, session: str, *, instead_of: str | None = None) -> Awaitable[None]:
        """As `Placement.take_over`."""
        ...


log = structlog.get_logger(__name__)


class Reaper:
    """Looks at the leases of all nodes; a node whose lease is gone twice has died.

    After Redis was away, leases are gone of nodes that live: all of them have as long as a lease lasts to come back.
    """

    def __init__(self, connections: RedisConnections, membership: Membership, take_over: TakeOver) -> None:
        """`take_over` owns a session, in place of a node that has died or of nobody (`Sessions.take_over`)."""
        self._connections = connections
        self._membership = membership
        self._take_over = take_over
        self._gone: set[str] = set()  # nodes that had no lease at the last look
        self._trusted_from = 0.0  # when a lease that is gone tells something again, by the loop's clock
        self._todo_added = asyncio.Event()

    def look_at_todo(self) -> None:
        """Look at the sessions that were handed over, now."""
        self._todo_added.set()

    async def watch_nodes(self) -> None:
        """Take over from nodes that die, again and again."""
        times, now = self._membership.times, asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(times.renewal)
            try:
                gone = await self._membership.look()
                if now() < self._trusted_from or not self._membership.could_renew():
                    self._gone = set()
                    continue
                for node in gone & self._gone:
                    await self._take_over_all(node)
                self._gone = gone
            except StoreError as error:
                self._gone, self._trusted_from = set(), now() + times.lease
                log.warning("node_watch_failed", cause=str(error.__cause__ or error))

    async def watch_todo(self) -> None:
        """Take the sessions that draining nodes hand over, again and again."""
        while True:
            try:
                async with asyncio.timeout(self._membership.times.renewal):
                    await self._todo_added.wait()
            except TimeoutError:
                pass
            self._todo_added.clear()
            try:
                while await self._take_todo():
                    pass
            except StoreError as error:
                log.warning("node_watch_failed", cause=str(error.__cause__ or error))

    # --- nodes that have died ----------------------------------------------------------------------------------------

    async def _take_over_all(self, node: str) -> None:
        """Take over all sessions of a node that has died, unless another node does. Raises `StoreError`."""
        lock, milliseconds = reaper_of(node), round(1000 * REAPER_SECONDS)
        if await run(self._connections, lock, "SET", self._membership.node, "NX", "PX", milliseconds) is None:
            return
        sessions = [*await members(self._connections, sessions_of(node))]
        log.warning("node_died", node=node, sessions=len(sessions))
        failed = 0
        for start in range(0, len(sessions), MAX_TAKEOVERS):
            some = sessions[start : start + MAX_TAKEOVERS]
            taken = await asyncio.gather(*[self._take_over_one(session, node) for session in some])
            failed += taken.count(False)
            await run(self._connections, lock, "SET", self._membership.node, "XX", "PX", milliseconds)
        if not failed and not await run(self._connections, sessions_of(node), "SCARD"):
            await run(self._connections, NODES, "SREM", node)
        await run(self._connections, lock, "DEL")  # what has failed is tried at the next look

    async def _take_over_one(self, session: str, node: str) -> bool:
        """Take over a session; returns whether it is the dead node's no more."""
        try:
            await self._take_over(session, instead_of=node)
        except (SessionNotFound, OwnedElsewhere):
            pass  # deleted, or another node was faster
        except AskbotError as error:
            log.warning("session_takeover_failed", session=session, cause=str(error.__cause__ or error))
            return False
        except Exception:  # a fault in one session must not keep the others from being taken over
            log.exception("session_takeover_crashed", session=session)
            return False
        await run(self._connections, sessions_of(node), "SREM", session)
        return True

    # --- nodes that drain --------------------------------------------------------------------------------------------

    async def _take_todo(self) -> bool:
        """Take some of the sessions that were handed over; returns whether there may be more. Raises `StoreError`."""
        found = [*texts(await run(self._connections, TODO, "LRANGE", 0, TODO_SESSIONS - 1))]
        random.shuffle(found)  # so that several nodes share them
        taken = False
        for session in found:
            try:
                await self._take_over(session)
            except SessionNotFound:
                pass
            except AskbotError as error:
                log.warning("session_takeover_failed", session=session, cause=str(error.__cause__ or error))
                continue
            await run(self._connections, TODO, "LREM", 0, session)
            taken = True
        return taken
