"""Commits: many together, and under load later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from askbot_ws.core.session import Session
from askbot_ws.frames import Event, Token
from askbot_ws.hub.commit import Commits
from askbot_ws.hub.live import Live
from askbot_ws.store.memory import MemoryStore


def lost(live: Live, events: Sequence[Event], error: Exception) -> None:
    raise error


async def naps_at(*, a_second: int, seconds: float) -> list[float]:
    """How long the loop was stopped, each time, while so many texts a second were committed."""
    naps: list[float] = []

    def nap(pause: float) -> None:
        naps.append(pause)
        time.sleep(pause)

    store = MemoryStore()
    commits = Commits(store, on_lost=lost, on_landed=lambda _: None, nap=nap)
    lives = [Live(Session(f"s{number}"), store.create(f"s{number}")) for number in range(10)]
    begun, said = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        while said < passed * a_second:
            live = lives[said % len(lives)]
            live.session.head += 1
            commits.add(live, [Token(session=live.id, turn="t1", seq=live.session.head, text="x")])
            said += 1
        await asyncio.sleep(0.001)
    await commits.settled()
    assert [live.log.head for live in lives] == [live.session.head for live in lives]
    return naps


async def test_at_a_usual_rate_nothing_waits() -> None:
    """A thousand texts a second are twenty answers side by side."""
    assert await naps_at(a_second=1_000, seconds=0.4) == []


async def test_under_load_the_loop_rests_for_at_most_40_ms() -> None:
    """What comes meanwhile is read, committed and sent together: docs/decisions/0006."""
    naps = await naps_at(a_second=30_000, seconds=0.4)

    assert naps
    assert 0.001 < max(naps) <= 0.04


async def test_a_waiting_command_is_not_kept_waiting() -> None:
    """Whoever waits for the store has a turn to begin: the loop does not stop before it."""
    naps: list[float] = []
    store = MemoryStore()
    commits = Commits(store, on_lost=lost, on_landed=lambda _: None, nap=naps.append)
    live = Live(Session("s"), store.create("s"))
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        live.session.head += 1
        commits.add(live, [Token(session="s", turn="t1", seq=live.session.head, text="x")])
        await commits.landed(live)

    assert naps == []
