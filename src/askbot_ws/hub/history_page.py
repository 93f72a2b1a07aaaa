"""History page: the newest turns of a session before a position, as many as may be sent at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.log_tail import utf8_size
from ..events import TurnRecord
from ..store import Store

MAX_PAGE_BYTES = 256 * 1024  # of text in a page, before its oldest turn
READ_TURNS = 5  # read from the store at once: an answer may have megabytes


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Turns, oldest first; `more` where the log has older ones."""

    turns: list[TurnRecord]
    more: bool

    @property
    def before(self) -> int | None:
        """The `before` of the next page; None: there is none."""
        return self.turns[0].from_ + 1 if self.more else None


async def read_history_page(store: Store, session: str, *, before: int | None, limit: int) -> HistoryPage:
    """Read the newest turns whose question has a `seq` below `before` (None: all): up to `limit` that fit a page.

    Raises `SessionNotFound` and `StoreError`.
    """
    turns: list[TurnRecord] = []
    while (missing := limit - len(turns)) > 0 and len(turns) == len(_newest_that_fit(turns)):
        read = await store.turns(session, before=before, limit=min(READ_TURNS, missing))
        if not read:
            break
        turns[:0] = read
        before = read[0].from_ + 1
    kept = _newest_that_fit(turns)
    return HistoryPage([*kept], more=bool(kept) and kept[0].from_ > 0)  # every log begins with a question


def _newest_that_fit(turns: Sequence[TurnRecord]) -> Sequence[TurnRecord]:
    """Return the newest turns that fit a page, at least one."""
    room = MAX_PAGE_BYTES
    for index in range(len(turns) - 1, -1, -1):
        if room <= 0:
            return turns[index + 1 :]
        turn = turns[index]
        room -= utf8_size(turn.text) + utf8_size(turn.answer) + sum(utf8_size(step.text) for step in turn.steps or ())
    return turns
