"""Recovery: what a dead server left open is closed, with the exact text that it had logged."""

from __future__ import annotations

from ..core.turn import proof
from ..events import Done, Timing, TurnRecord
from ..store import Store


async def unfinished(store: Store, session: str) -> list[TurnRecord]:
    """The turns of a session that have a question but no end, oldest first."""
    before: int | None = None
    found: list[TurnRecord] = []
    while page := await store.turns(session, before=before, limit=100):
        found[:0] = [turn for turn in page if turn.reason is None]
        if any(turn.answer for turn in page):
            break  # turns are answered one at a time: whatever stands before this one has ended
        before = page[0].from_ + 1
    return found


def interrupted(session: str, turn: TurnRecord, *, seq: int, model: str, now: float) -> Done:
    """The end of a turn whose server died; it is known by `now` (seconds since 1970) only."""
    return Done(
        session=session,
        seq=seq,
        turn=turn.turn,
        reason="interrupted",
        model=model,
        usage=None,
        timing=Timing(queued=0, first_token=None, total=max(0.0, now - turn.created)),
        check=proof(turn.answer.encode(), chars=len(turn.answer)),
    )
