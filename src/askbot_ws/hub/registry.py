"""Session registry: the topics and owners in memory; those that are not in use are evicted when memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from ..core.context import ContextWindow
from ..core.principal import Principal
from ..core.session import SessionMachine
from ..core.session_id import is_session_id, new_session_id
from ..errors import SessionNotFound, StoreError
from ..events import Done, TurnRecord
from ..store import Store
from .owner import Owner
from .placement import LocalPlacement, Placement, PriorState
from .policy import Policy
from .topic import Topic

T = TypeVar("T")


class TurnRestorer(Protocol):
    """Goes on with the turns that a session's former owner left."""

    async def read(self, session: str) -> Sequence[TurnRecord]:
        """Return the turns that have not ended, oldest first. Raises `StoreError`, `SessionNotFound`."""
        ...

    def resume(self, owner: Owner, turns: Sequence[TurnRecord], *, orphaned: bool) -> None:
        """Let them wait for their start, or end them; `orphaned`: the oldest may have run."""


class SessionRegistry:
    """Topics and owners by session id. A session has an owner only once it is written to."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        is_pending: Callable[[Owner], bool],
        placement: Placement | None = None,
    ) -> None:
        """`is_pending` returns whether an owner has events that are still to be stored.

        `placement` says where sessions are written; None: all in this process.
        """
        self.topics: dict[str, Topic] = {}
        self.owners: dict[str, Owner] = {}  # the topic of each is in `topics`
        self.unstored: dict[str, list[Done]] = {}  # by session: ends that its next owner stores before anything else
        self._store = store
        self._policy = policy
        self._is_pending = is_pending
        self._placement = placement or LocalPlacement()
        self.pinned: set[str] = set()  # sessions that are not evicted, as they are about to have an owner
        self.turn_restorer: TurnRestorer | None = None  # set once, where the placement is shared
        self.on_claim_failed: Callable[[str], None] | None = None  # the same; this node may own the session, or nobody
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._idle: dict[str, int] = {}  # session -> bytes that could be evicted, the longest idle first
        self._idle_bytes = 0

    def __len__(self) -> int:
        return len(self.topics)

    # --- opening -----------------------------------------------------------------------------------------------------

    def create(self, principal: Principal, session: str | None = None, *, temporary: bool = False) -> Topic:
        """Make a new session, with this id if one is given. The store has nothing of it until its first event."""
        session = session or new_session_id()
        topic = Topic(self._store.create(session, user=principal.user), temporary=temporary)
        self.topics[session] = topic
        return topic

    async def open_topic(self, principal: Principal, session: str) -> Topic:
        """Return the topic of a session; it may be evicted unless a reader is added before the next await.

        Raises `SessionNotFound`, also for another user's session, and `StoreError`.
        """
        topic = self.topics.get(session)
        if topic is None:
            topic = await self.load_topic_unchecked(session)
        if not principal.may_use(session_user=topic.user):
            self.mark_idle(session)  # who may not use it must not keep it in memory
            raise SessionNotFound
        return topic

    async def load_topic_unchecked(self, session: str) -> Topic:
        """Return the topic of anybody's session, for the server itself and administrators; else like `open_topic`."""
        if not is_session_id(session):
            raise SessionNotFound
        return await self._with_lock(session, self._load_topic)

    async def open_owner(self, principal: Principal, session: str) -> Owner:
        """Return the owner of a session; enter `ExclusiveOwner` before the next await. Raises like `open_topic`."""
        await self.open_topic(principal, session)
        owner = await self.load_owner_unchecked(session)
        if not principal.may_use(session_user=owner.topic.user):  # it was deleted, and made anew, meanwhile
            raise SessionNotFound
        return owner

    async def load_owner_unchecked(self, session: str, *, instead_of: str | None = None) -> Owner:
        """Return the owner of anybody's session, for what the server itself does; otherwise like `open_owner`.

        Raises `OwnedElsewhere` where it is written by another node, unless that is `instead_of`, which is gone.
        """
        owner = self.owners.get(session)
        if owner is not None:
            return owner
        load = self._load_owner if instead_of is None else partial(self._load_owner, instead_of=instead_of)
        return await self._with_lock(session, load)

    async def confirm_owner(self, owner: Owner) -> None:
        """Ask whether this node still owns a session, for what no append finds out. Raises `LogMoved`, `StoreError`."""
        if self._placement.shared:
            await self._placement.confirm(owner.session)

    async def _with_lock(self, session: str, job: Callable[[str], Awaitable[T]]) -> T:
        """Run a job while no other job of this session runs, so that it is loaded once, and not while it is deleted."""
        lock = self._locks.setdefault(session, asyncio.Lock())
        async with lock:
            return await job(session)

    async def _load_topic(self, session: str) -> Topic:
        topic = self.topics.get(session)
        if topic is None:
            topic = self.topics[session] = Topic(await self._store.load(session))
        return topic

    async def _load_owner(self, session: str, *, instead_of: str | None = None) -> Owner:
        owner = self.owners.get(session)
        if owner is not None:
            return owner
        topic = await self._load_topic(session)
        if self._placement.shared:
            return await self._claim_owner(topic, instead_of)
        return self._make_owner(topic)

    def _make_owner(self, topic: Topic) -> Owner:
        session, head, policy = topic.session, topic.log.head, self._policy
        state = SessionMachine(session, head, max_waiting=policy.max_waiting, context_bytes=4 * policy.context_tokens)
        if head == 0:
            state.context, state.knows_all_questions = ContextWindow(), True
        owner = self.owners[session] = Owner(state, topic)
        owner.unstored = self.unstored.pop(session, [])
        return owner

    async def _claim_owner(self, topic: Topic, instead_of: str | None) -> Owner:
        """Become the node that writes a session, and go on with the turns that were left to it."""
        session = topic.session
        was_pinned = session in self.pinned
        self.pinned.add(session)
        try:
            before = await self._placement.claim(session, is_new=topic.log.head == 0, instead_of=instead_of)
            left: Sequence[TurnRecord] = ()
            if self.turn_restorer is not None and before is not PriorState.NEW and topic.log.summary.asked:
                left = await self.turn_restorer.read(session)
        except BaseException as error:
            if not (was_pinned and isinstance(error, StoreError)):  # else it is tried again
                self.pinned.discard(session)
            self.mark_idle(session)
            if self.on_claim_failed is not None and isinstance(error, StoreError):
                self.on_claim_failed(session)
            raise
        self.pinned.discard(session)
        if self.topics.get(session) is not topic:  # it was deleted, or its log replaced, meanwhile
            return await self._load_owner(session)
        owner = self._make_owner(topic)
        if self.turn_restorer is not None and left:
            self.turn_restorer.resume(owner, left, orphaned=before is PriorState.ORPHANED)
        return owner

    # --- eviction ----------------------------------------------------------------------------------------------------

    def mark_in_use(self, session: str) -> None:
        """Protect a session from eviction until `mark_idle`."""
        self._idle_bytes -= self._idle.pop(session, 0)

    def mark_idle(self, session: str) -> None:
        """Allow eviction of what is not in use of a session: its owner, and without readers its topic."""
        self.mark_in_use(session)
        topic, owner = self.topics.get(session), self.owners.get(session)
        if topic is None or (owner is not None and (owner.busy or self._is_pending(owner))):
            return
        if session in self.pinned:
            return
        if not topic.readers and topic.log.head == 0:  # it has no event, so nothing is lost
            self.remove(session)
            return
        size = self._memory_bytes(session)
        if size:
            self._idle[session] = size
            self._idle_bytes += size
            self._evict()

    def _memory_bytes(self, session: str) -> int:
        topic, owner = self.topics[session], self.owners.get(session)
        return (owner.memory_bytes if owner else 0) + (0 if topic.readers else topic.memory_bytes)

    def _evict(self) -> None:
        while self._idle_bytes > self._policy.memory:
            session, noted_size = next(iter(self._idle.items()))
            size = self._memory_bytes(session)  # its log may have become shorter since
            if size < noted_size:
                self._idle[session] = size
                self._idle_bytes += size - noted_size
            elif self.topics[session].readers:
                self.remove_owner(session)
            else:
                self.remove(session)

    def remove(self, session: str) -> None:
        """Remove a session from memory, not from the store; other nodes may write it then."""
        self.remove_owner(session)
        self.pinned.discard(session)
        if self.topics.pop(session, None) is not None:
            self._store.release(session)

    def remove_owner(self, session: str, *, keep_claim: bool = False) -> None:
        """Remove a session's owner from memory; unless `keep_claim`, other nodes may write the session then."""
        self.mark_in_use(session)
        if self.owners.pop(session, None) is not None and not keep_claim:
            self._placement.release(session)

    def is_unused(self, owner: Owner) -> bool:
        """Return whether an owner has nothing to do and nothing to store."""
        return not owner.busy and not self._is_pending(owner)

    async def delete(self, session: str) -> None:
        """Delete a session from memory and from the store. Raises `StoreError`; then it still exists."""

        async def job(session: str) -> None:
            await self._store.forget(session)
            self.unstored.pop(session, None)
            self.remove(session)

        await self._with_lock(session, job)

    async def delete_unopened(self, sessions: Collection[str]) -> set[str]:
        """Delete those of these sessions that are not in memory, with one write; returns them. Raises `StoreError`."""
        async with AsyncExitStack() as stack:
            for session in sorted(sessions):  # in the same order everywhere, so that none waits for another
                await stack.enter_async_context(self._locks.setdefault(session, asyncio.Lock()))
            unopened = {session for session in sessions if session not in self.topics}
            if unopened:
                await self._store.forget(*unopened)
                for session in unopened:
                    self.unstored.pop(session, None)
            return unopened


class ExclusiveOwner:
    """Context manager that holds an owner's lock: commands of one session are executed one at a time, in order.

    Entering raises `SessionNotFound` where the session was deleted meanwhile, `Internal` where it was reset. It is no
    generator, which would cost each question as much as writing its journal does.
    """

    __slots__ = ("_owner", "_registry")

    def __init__(self, registry: SessionRegistry, owner: Owner) -> None:
        self._registry = registry
        self._owner = owner

    async def __aenter__(self) -> None:
        owner = self._owner
        owner.pending_commands += 1  # before the lock is held: an owner that is evicted now would be a second writer
        self._registry.mark_in_use(owner.session)
        try:
            await owner.lock.acquire()
        except BaseException:
            self._release()
            raise
        if owner.closed is not None:
            await self.__aexit__()
            raise owner.closed

    async def __aexit__(self, *_: object) -> None:
        self._owner.lock.release()
        self._release()

    def _release(self) -> None:
        self._owner.pending_commands -= 1
        if self._owner.closed is None:
            self._registry.mark_idle(self._owner.session)
