"""Recovery: ends turns that a server which died, or a session that was reset, left without `done`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..core.context import TokenEstimate
from ..core.log_tail import utf8_size
from ..core.turn import answer_check
from ..errors import AskbotError, SessionNotFound
from ..events import Done, Timing, TurnRecord
from ..store import Store
from ..upstream import Upstream
from .registry import ExclusiveOwner, SessionRegistry
from .turn_scheduler import TurnScheduler

MAX_RETRY_SECONDS = 30.0  # between two attempts

log = structlog.get_logger(__name__)


class Recovery:
    """Appends a `done` with reason `interrupted` to turns that have none."""

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

    async def close_unfinished_turns(self, session: str, *, count_tokens: bool = False) -> None:
        """End the turns that have no `done` and are not running. Raises `StoreError`, `SessionNotFound`.

        With `count_tokens`, what they have used, which is not known, is counted by an estimate.
        """
        owner = await self._registry.load_owner_unchecked(session)
        async with ExclusiveOwner(self._registry, owner):
            unstored = {done.turn for done in owner.unstored}
            ours = owner.state.turns_without_stored_end() | unstored  # may end during the read
            turns = await unfinished_turns(self._store, session)
            if owner.closed is not None:
                raise owner.closed
            for turn in turns:
                if turn.turn in ours:
                    continue  # it was asked after the reset
                if count_tokens and (turn.answer or turn.steps):
                    self._scheduler.admission.count_tokens(owner.topic.user, estimate_tokens(turn))
                owner.state.head += 1
                head, model = owner.state.head, self._upstream.model
                self._scheduler.append(
                    owner, [interrupted_end(session, turn, seq=head, model=model, now=self._wall_clock())]
                )
            if owner.unstored:
                self._scheduler.group_commit.add(owner, ())  # a commit of nothing stores them too
            await self._scheduler.group_commit.wait_stored(owner)

    async def close_with_retries(self, session: str, *, close: Callable[[str], Awaitable[None]] | None = None) -> None:
        """End the turns that a reset left open; retries while the store fails and the server is not draining.

        `close` does it, in place of `close_unfinished_turns`.
        """
        wait, close = 0.0, close or self.close_unfinished_turns
        while not self._scheduler.draining:
            await asyncio.sleep(wait)
            try:
                await close(session)
            except SessionNotFound:
                return
            except AskbotError:
                wait = min(MAX_RETRY_SECONDS, max(1.0, 2 * wait))
                log.warning("session_recovery_delayed", session=session, retry_in_s=wait)
            else:
                return


async def unfinished_turns(store: Store, session: str) -> list[TurnRecord]:
    """Return the turns of a session that have no `done`, oldest first."""
    before: int | None = None
    found: list[TurnRecord] = []
    while page := await store.turns(session, before=before, limit=100):
        found[:0] = [turn for turn in page if turn.reason is None]
        if any(turn.answer or turn.steps for turn in page):
            break  # turns are answered one at a time: all before this one have ended
        before = page[0].from_ + 1
    return found


def estimate_tokens(turn: TurnRecord) -> int:
    """Return about how many tokens a question and what was written for it have, the history not counted."""
    written = "".join([step.text for step in turn.steps]) if turn.steps else turn.answer
    return TokenEstimate().tokens_in(utf8_size(turn.text) + utf8_size(written))


def interrupted_end(session: str, turn: TurnRecord, *, seq: int, model: str, now: float) -> Done:
    """Return the `done` of a turn whose server died; its duration counts up to `now`, in seconds since 1970."""
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
