"""Shared sessions: what a hub does where other nodes use the same store: it follows, takes over and hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ..errors import AskbotError, Internal, LogMoved, SessionNotFound
from ..events import Done, Event
from .command_handler import CommandHandler
from .owner import Owner
from .placement import ForwardedCommand, Placement
from .registry import SessionRegistry
from .turn_scheduler import TurnScheduler

IDLE_OWNER_SECONDS = 30.0  # after one to two of these, other nodes may write a session that nobody here reads
HAND_OVER_SECONDS = 0.05  # between two looks at which sessions of a draining node can be handed over
MAX_HAND_OVERS = 64  # at the same time

log = structlog.get_logger(__name__)


class SharedSessions:
    """The sessions of this process as other nodes see them: a `LogObserver` of the store, `Sessions` of a placement."""

    def __init__(
        self,
        registry: SessionRegistry,
        scheduler: TurnScheduler,
        commands: CommandHandler,
        placement: Placement,
        *,
        on_unread: Callable[[Owner], None],
        on_left_open: Callable[[str], None],
    ) -> None:
        """Make the sessions of a process.

        Args:
            registry: Those in memory.
            scheduler: What runs their turns.
            commands: What executes commands.
            placement: Which node writes which session.
            on_unread: Called with owners whose turns nobody may read here.
            on_left_open: Called with sessions that were written here, and whose turns may have no owner now.
        """
        self._on_unread = on_unread
        self._on_left_open = on_left_open
        self._registry = registry
        self._scheduler = scheduler
        self._commands = commands
        self._placement = placement

    # --- what other nodes did ----------------------------------------------------------------------------------------

    def appended(self, session: str, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Notify the readers of what another node appended (`LogObserver.appended`)."""
        topic = self._registry.topics.get(session)
        if topic is None:
            return
        topic.notify(events, frames)
        if not topic.readers and type(events[-1]) is Done:
            self._registry.mark_idle(session)  # it takes more memory now

    def replaced(self, session: str) -> None:
        """Close the readers of a log that is not the stored one any more: they resume (`LogObserver.replaced`).

        Turns that ran here go on or end with the stored log, unless another node sees to that.
        """
        was_written_here = session in self._registry.owners
        self._close(session, Internal(), keep_claim=was_written_here)
        if was_written_here:
            self._on_left_open(session)

    def history_changed(self, session: str) -> None:
        """Close the readers of a log that has another history: they resume (`LogObserver.history_changed`)."""
        topic = self._registry.topics.get(session)
        if topic is not None:
            topic.close(Internal())

    def deleted(self, session: str) -> None:
        """End what another node deleted (`LogObserver.deleted`)."""
        self._close(session, SessionNotFound("The session was forgotten."))

    def _close(self, session: str, error: AskbotError, *, keep_claim: bool = False) -> None:
        topic, owner = self._registry.topics.get(session), self._registry.owners.get(session)
        if owner is not None:
            self._discard(owner, error)
            self._registry.remove_owner(session, keep_claim=keep_claim)
        self._registry.remove(session)
        if topic is not None:
            topic.close(error)

    def fenced(self, session: str) -> None:
        """Write a session no more: another node is its owner now. Its readers go on (`LogObserver.fenced`)."""
        owner = self._registry.owners.get(session)
        if owner is None:
            return
        log.warning("session_fenced", session=session, running=owner.task is not None)
        left_open = bool(owner.state.turns_without_stored_end())  # also those whose `done` was refused
        self._discard(owner, LogMoved())
        self._registry.remove_owner(session, keep_claim=left_open)
        self._registry.mark_idle(session)
        if left_open:  # there may be no other: the server may only have lost who claimed it
            self._on_left_open(session)

    def unowned(self, session: str) -> None:
        """See to it that a session's turns end (`LogObserver.unowned`)."""
        if session in self._registry.topics:
            self._on_left_open(session)

    def discard_owner(self, owner: Owner, error: Exception) -> bool:
        """Remove an owner whose state is unknown; returns whether its turns are still to be ended.

        The log in memory has nothing but what is stored, so it stays. Readers are told of a fault, as there may be a
        while without news; not where another node writes the session now.
        """
        is_owner = self._registry.owners.get(owner.session) is owner
        self._discard(owner, LogMoved())
        if is_owner:
            self._registry.pinned.add(owner.session)  # until it has an owner again
            self._registry.remove_owner(owner.session, keep_claim=True)
        if not isinstance(error, LogMoved):
            owner.topic.close(Internal())
        return is_owner

    def _discard(self, owner: Owner, error: AskbotError) -> None:
        """End an owner without logging anything; its commands raise the error."""
        self._scheduler.group_commit.discard(owner)
        if owner.closed is None:
            owner.closed = error
        owner.state.close()
        self._scheduler.discard(owner)
        owner.cancel_task()

    # --- what other nodes want ---------------------------------------------------------------------------------------

    async def execute_forwarded(self, forwarded: ForwardedCommand) -> int:
        """Execute a command of another node (`Sessions.execute_forwarded`)."""
        session = forwarded.session
        seq = await self._commands.execute(forwarded.principal, session, forwarded.command, address=forwarded.address)
        owner = self._registry.owners.get(session)
        if owner is not None:
            self._on_unread(owner)
        return seq

    async def take_over(self, session: str, *, instead_of: str | None = None) -> None:
        """Own a session, and go on with its turns (`Sessions.take_over`)."""
        owner = await self._registry.load_owner_unchecked(session, instead_of=instead_of)
        self._on_unread(owner)
        await self._scheduler.group_commit.wait_stored(owner)
        if self._registry.is_unused(owner) and not owner.topic.readers:
            self._registry.remove(session)

    # --- what other nodes may have -----------------------------------------------------------------------------------

    async def release_idle_owners(self) -> None:
        """Give back sessions that are idle and have no reader here, again and again."""
        before: dict[str, int] = {}
        while True:
            await asyncio.sleep(IDLE_OWNER_SECONDS)
            idle = {
                session: owner.state.head
                for session, owner in self._registry.owners.items()
                if not owner.topic.readers and self._registry.is_unused(owner)
            }
            for session in idle.keys() & before.keys():
                if idle[session] == before[session]:
                    self._registry.remove(session)
            before = idle

    async def hand_over(self, max_seconds: float) -> None:
        """Hand over the sessions in which no turn runs; waits at most `max_seconds` for those in which one does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + max_seconds
        while True:
            ready = [owner for owner in self._registry.owners.values() if self._may_hand_over(owner)]
            for start in range(0, len(ready), MAX_HAND_OVERS):
                await asyncio.gather(*map(self._hand_over, ready[start : start + MAX_HAND_OVERS]))
            if not self._registry.owners or loop.time() >= until:
                return
            await asyncio.sleep(HAND_OVER_SECONDS)

    def _may_hand_over(self, owner: Owner) -> bool:
        runs = owner.task is not None or owner.state.running is not None
        return not runs and not owner.pending_commands and not self._scheduler.group_commit.is_pending(owner)

    async def _hand_over(self, owner: Owner) -> None:
        if self._registry.owners.get(owner.session) is not owner or not self._may_hand_over(owner):
            return  # since it was looked at
        waiting = len(owner.state.waiting)
        self._discard(owner, LogMoved())
        self._registry.remove_owner(owner.session, keep_claim=True)
        log.debug("session_released", session=owner.session, waiting=waiting)
        await self._placement.hand_over(owner.session, has_waiting=waiting > 0)
        self._registry.mark_idle(owner.session)
