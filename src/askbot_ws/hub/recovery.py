"""Recovery: turns that a dead server, or a session that was reset, left open are closed, with the exact text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ..core.principal import ANONYMOUS
from ..core.turn import answer_check
from ..errors import AskbotError, SessionNotFound
from ..events import Done, Timing, TurnRecord
from ..store import Store
from ..upstream import Upstream
from .registry import ExclusiveOwner, SessionRegistry
from .turn_scheduler import TurnScheduler

MAX_RETRY_SECONDS = 30.0  # seconds between two attempts, at most

log = structlog.get_logger(__name__)


class Recovery:
    """Closes turns as `interrupted`."""

    def __init__(
        self,
        registry: SessionRegistry,
        scheduler: TurnScheduler,
        store: Store,
        upstream: Upstream,
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._store = store
        self._upstream = upstream
        self._wall_clock = wall_clock

    async def close_unfinished_turns(self, session: str) -> None:
        """Close the turns that have no end and that nobody answers. Raises `StoreError`, `SessionNotFound`."""
        owner = await self._registry.open_owner(ANONYMOUS, session)
        async with ExclusiveOwner(self._registry, owner):
            turns = await _unfinished_turns(self._store, session)
            if owner.closed is not None:
                raise owner.closed
            for turn in turns:
                if owner.state.is_open(turn.turn):
                    continue  # asked since then
                owner.state.head += 1
                head, model = owner.state.head, self._upstream.model
                self._scheduler.append(
                    owner, [_interrupted_end(session, turn, seq=head, model=model, now=self._wall_clock())]
                )
            if owner.unstored:
                self._scheduler.group_commit.add(owner, ())  # they go with whatever is added
            await self._scheduler.group_commit.wait_stored(owner)

    async def close_with_retries(self, session: str) -> None:
        """Close the turns that a reset left open; where the store takes nothing just now, later."""
        wait = 0.0
        while not self._scheduler.draining:
            await asyncio.sleep(wait)
            try:
                await self.close_unfinished_turns(session)
            except SessionNotFound:
                return
            except AskbotError:
                wait = min(MAX_RETRY_SECONDS, max(1.0, 2 * wait))
                log.warning("session_not_recovered", session=session, retry_in_s=wait)
            else:
                return


async def _unfinished_turns(store: Store, session: str) -> list[TurnRecord]:
    """The turns of a session that have a question but no end, oldest first."""
    before: int | None = None
    found: list[TurnRecord] = []
    while page := await store.turns(session, before=before, limit=100):
        found[:0] = [turn for turn in page if turn.reason is None]
        if any(turn.answer for turn in page):
            break  # turns are answered one at a time: whatever stands before this one has ended
        before = page[0].from_ + 1
    return found


def _interrupted_end(session: str, turn: TurnRecord, *, seq: int, model: str, now: float) -> Done:
    """The end of a turn whose server died; it is known by `now` (seconds since 1970) only."""
    return Done(
        session=session,
        seq=seq,
        turn=turn.turn,
        reason="interrupted",
        model=model,
        usage=None,
        timing=Timing(queued=0, first_token=None, total=max(0.0, now - turn.created)),
        check=answer_check(turn.answer.encode(), chars=len(turn.answer)),
    )
