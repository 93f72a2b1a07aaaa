"""NodePlacement: a session is written by the node that owns it; the others forward their commands to it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine

import structlog

from ..errors import LogMoved, Overloaded, StoreError
from ..hub.placement import ForwardedCommand, OwnedElsewhere, PriorState, Sessions
from ..store.redis.keys import keys_of
from ..store.redis.scripts import ScriptCall, load_script
from ..store.redis.store import RedisStore
from .codec import Executed, Failed, HandoverQueued, NotOwner, Request, ResumeRequest, is_repeatable
from .inbox import Inbox
from .keys import HANDOVERS, run_command
from .membership import LeaseTimes, Membership, NodeInfo
from .reaper import Reaper

FORWARD_SECONDS = 20.0  # for which a command waits for an owner: a dead one is taken over from after up to 16 s
RETRY_SECONDS = 0.25  # between two attempts to find an owner that answers

log = structlog.get_logger(__name__)


class NodePlacement:
    """This process as a node of a cluster (`Placement`)."""

    shared = True

    def __init__(
        self,
        store: RedisStore,
        *,
        times: LeaseTimes | None = None,
        forward_seconds: float = FORWARD_SECONDS,
    ) -> None:
        """`store` is not open yet; a command waits `forward_seconds` for an owner."""
        self._store = store
        self._times = times
        self._forward_seconds = forward_seconds
        self._draining = False
        self._owned: set[str] = set()  # claimed, or maybe, and not given back
        self._giving_back: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def live_nodes(self) -> Collection[NodeInfo]:
        """Return the nodes that live, this one first; before `open`, none."""
        return self._membership.live_nodes() if self._tasks else ()

    async def open(self, sessions: Sessions) -> None:
        """Become a node (`Placement.open`)."""
        self._sessions = sessions
        self._connections = self._store.connections
        self._membership = Membership(
            self._connections,
            self._store.node,
            owned=self._owned,
            times=self._times,
            replicas=self._store.replicas,
        )
        self._reaper = Reaper(self._connections, self._membership, self.ensure_owner)
        self._inbox = Inbox(self._connections, self._store.node, sessions, self._reaper.look_at_handovers)
        await self._membership.join()
        await self._inbox.open()
        self._spawn(self._membership.keep_lease())
        self._spawn(self._reaper.watch_nodes())
        self._spawn(self._reaper.watch_handovers())
        log.info("node_joined", node=self._store.node)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(work))

    # --- owning ------------------------------------------------------------------------------------------------------

    async def claim(self, session: str, *, is_new: bool, instead_of: str | None) -> PriorState:
        """Become the owner of a session (`Placement.claim`)."""
        if (giving_back := self._giving_back.get(session)) is not None:
            await asyncio.wait([giving_back])
        was_owned = session in self._owned
        if self._draining and not was_owned:
            raise Overloaded("The server is about to restart.", retry_after=1.0)
        await self._membership.add_sessions(session)
        if is_new:
            self._owned.add(session)
            return PriorState.NEW
        try:
            other = await self._store.claim(session, instead_of=instead_of)
            if other is not None and other != instead_of and await self._membership.is_deregistered(other):
                instead_of = other
                other = await self._store.claim(session, instead_of=other)
        except StoreError:
            self._owned.add(session)  # maybe: then the store names this node, and no longer the one whose turns may run
            raise
        if other is not None:
            self._owned.discard(session)
            await self._membership.remove_session(session)
            raise OwnedElsewhere(other)
        self._owned.add(session)
        return PriorState.ORPHANED if was_owned or instead_of is not None else PriorState.FREE

    async def confirm(self, session: str) -> None:
        """Raise `LogMoved` unless the store names this node as a session's owner (`Placement.confirm`)."""
        await self._store.catch_up(session)
        if not self._store.owns(session):
            raise LogMoved

    async def ensure_owner(self, session: str, *, instead_of: str | None = None, orphaned: bool = False) -> None:
        """Have a session owned, here or by the node that the store names (`Placement.ensure_owner`)."""
        if orphaned and instead_of is None:
            instead_of = self._store.node  # whose turns may have run, though it knows nothing of that
        try:
            await self._sessions.take_over(session, instead_of=instead_of)
        except OwnedElsewhere as elsewhere:  # which may not know: Redis may have lost that it is the owner no more
            request = ResumeRequest(secrets.token_urlsafe(12), self._store.node, session)
            match (await self._inbox.request(elsewhere.node, request))[0]:
                case Executed():
                    pass
                case Failed() as failed:
                    raise failed.error from elsewhere
                case NotOwner() | None:
                    raise

    def release(self, session: str) -> None:
        """Begin to give a session back (`Placement.release`)."""
        self._owned.discard(session)
        before = self._giving_back.get(session)
        task = self._giving_back[session] = asyncio.create_task(self._give_back_after(before, session))
        task.add_done_callback(lambda done: self._note_given_back(session, done))

    def _note_given_back(self, session: str, task: asyncio.Task[None]) -> None:
        if self._giving_back.get(session) is task:
            del self._giving_back[session]

    async def _give_back_after(self, before: asyncio.Task[None] | None, session: str) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._give_back(session, has_waiting=False)

    async def hand_over(self, session: str, *, has_waiting: bool) -> None:
        """Give a session back, and have its turns asked by another node (`Placement.hand_over`)."""
        self._owned.discard(session)
        await self._give_back(session, has_waiting=has_waiting)

    async def _give_back(self, session: str, *, has_waiting: bool) -> None:
        try:
            await self._store.give_back(session)
            if has_waiting:
                await run_command(self._connections, HANDOVERS, "RPUSH", session, replicas=self._store.replicas)
                await self._announce_handover()
            await self._membership.remove_session(session)
        except StoreError as error:  # it stays in this node's set, and is taken over once this node has ended
            log.warning("session_give_back_failed", session=session, cause=str(error.__cause__ or error))

    async def _announce_handover(self) -> None:
        others = [info.node for info in self._membership.live_nodes() if info.node != self._store.node]
        if others:
            await self._inbox.send(secrets.choice(others), HandoverQueued())

    async def is_followed(self, session: str) -> bool:
        """Return whether other nodes have a session in memory (`Placement.is_followed`)."""
        channel = keys_of(session).followers
        return bool(await self._connections.run(ScriptCall(load_script("followers"), (), (channel,), channel)))

    # --- forwarding --------------------------------------------------------------------------------------------------

    async def forward(
        self, forwarded: ForwardedCommand, error: OwnedElsewhere | LogMoved, run_here: Callable[[], Awaitable[int]]
    ) -> int:
        """Have a command executed by the session's owner (`Placement.forward`)."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._forward_seconds
        node = error.node if isinstance(error, OwnedElsewhere) else None
        id = secrets.token_urlsafe(12)
        may_be_done = False  # by a node whose answer has not come
        while True:
            if node is not None:
                seq, executed = await self._request(node, id, forwarded)
                if seq is not None:
                    return seq
                may_be_done = may_be_done if executed is None else executed
            if loop.time() >= until:
                log.warning("command_not_forwarded", session=forwarded.session, node=node)
                raise Overloaded("The conversation is being moved to another server.", retry_after=2.0)
            if not may_be_done or is_repeatable(forwarded.command):  # else that node alone knows whether it was done
                try:
                    return await run_here()
                except OwnedElsewhere as elsewhere:
                    node = elsewhere.node
                except LogMoved:
                    node = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _request(self, node: str, id: str, forwarded: ForwardedCommand) -> tuple[int | None, bool | None]:
        """Have a command executed by a node; raises what it raises there, and `StoreError`.

        Returns its `seq`, or None, and whether it may have been executed; None: the node was not reached.
        """
        result, was_sent = await self._inbox.request(node, Request(id, self._store.node, forwarded))
        match result:
            case Executed():
                return result.seq, True
            case Failed():
                raise result.error
            case NotOwner():
                return None, False
            case None:
                return None, True if was_sent else None

    # --- ending ------------------------------------------------------------------------------------------------------

    def stop_claiming(self) -> None:
        """Claim no session any more (`Placement.stop_claiming`)."""
        self._draining = True

    async def close(self) -> None:
        """Be a node no more (`Placement.close`)."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._giving_back:
            await asyncio.wait(self._giving_back.values())
        await self._inbox.close()
        try:
            await self._membership.leave()
        except StoreError as error:
            log.warning("node_leave_failed", node=self._store.node, cause=str(error.__cause__ or error))
