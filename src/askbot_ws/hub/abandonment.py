"""Abandonment: cancels the turns of sessions that nobody has read for a while (`Policy.abandon_after`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from ..errors import StoreError
from .owner import Owner
from .placement import Placement
from .policy import Policy
from .turn_scheduler import TurnScheduler


class Abandonment:
    """A timer for each session that has turns and no reader in this process."""

    def __init__(
        self,
        scheduler: TurnScheduler,
        placement: Placement,
        policy: Policy,
        *,
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`spawn` runs a coroutine as a task, which is cancelled when the hub ends."""
        self._scheduler = scheduler
        self._placement = placement
        self._policy = policy
        self._spawn = spawn

    def watch(self, owner: Owner) -> None:
        """Cancel the turns of a session in a while, if it has no reader and gets none until then."""
        unread, after = not owner.topic.readers and not owner.state.idle, self._policy.abandon_after
        if unread and after is not None and owner.abandon_timer is None:
            owner.abandon_timer = asyncio.get_running_loop().call_later(after, self._cancel, owner)

    def stop(self, owner: Owner) -> None:
        """The session has a reader."""
        if owner.abandon_timer is not None:
            owner.abandon_timer.cancel()
            owner.abandon_timer = None

    def _cancel(self, owner: Owner) -> None:
        owner.abandon_timer = None
        if self._placement.shared:
            self._spawn(self._cancel_unless_followed(owner))
        else:
            self._scheduler.end_all(owner, "cancelled")

    async def _cancel_unless_followed(self, owner: Owner) -> None:
        """The same, where another node may have readers: then the session is looked at again after the same time."""
        try:
            followed = await self._placement.is_followed(owner.session)
        except StoreError:
            followed = True
        if owner.closed is not None or owner.topic.readers:
            return
        if followed:
            self.watch(owner)
        else:
            self._scheduler.end_all(owner, "cancelled")
