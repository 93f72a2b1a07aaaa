"""Commits: many together, and under load later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from askbot_ws.core.session import Session
from askbot_ws.events import Event, Token
from askbot_ws.hub import commit
from askbot_ws.hub.commit import Commits
from askbot_ws.hub.live import Live
from askbot_ws.store.memory import MemoryStore

from .story import FragileStore, ask, assert_sound, hub_of, listen, rounds


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


async def test_nor_where_a_tick_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waits for may be in a part: the end of that tick is no time to rest either."""
    monkeypatch.setattr(commit, "MANY", 2)
    naps: list[float] = []
    store = MemoryStore()
    commits = Commits(store, on_lost=lost, on_landed=lambda _: None, nap=naps.append)
    one, two = (Live(Session(name), store.create(name)) for name in "ab")
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        for live in (one, two):
            live.session.head += 1
        commits.add(one, [Token(session="a", turn="t1", seq=one.session.head, text="x")])
        waiting = commits.landed(one)
        waiting.send(None)
        commits.add_text(two, [Token(session="b", turn="t1", seq=two.session.head, text="x")])
        with pytest.raises(StopIteration):
            waiting.send(None)
        await asyncio.sleep(0)

    assert naps == []


SESSIONS = 20  # that have text in the same tick


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "MANY", 8)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("slow", [False, True], ids=["sync", "slow"])
async def test_many_sessions_at_once_are_written_in_parts(slow: bool) -> None:  # noqa: FBT001
    """What comes while others wait is not kept for the end of the tick; it is stored before it is shown, as ever."""
    gates = [asyncio.Event() for _ in range(3)]
    script: Sequence[str | asyncio.Event] = [gates[0], "one ", gates[1], "two ", gates[2]]
    store = FragileStore()
    async with hub_of(*[script] * SESSIONS, store=store) as hub:
        ears = [listen(hub, store=store) for _ in range(SESSIONS)]
        for ear in ears:
            await ask(hub, ear)
        store.slow = slow
        for gate in gates:
            before = store.batches
            gate.set()
            await rounds(40)
            if gate is not gates[2] and not slow:
                assert store.batches - before == 3
        for ear in ears:
            await ear.done()
            assert ear.answer("t1") == "one two "
            assert_sound(ear.events)
            assert_sound(store.durable(ear.live.id))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("slow", [False, True], ids=["sync", "slow"])
async def test_many_sessions_lose_only_what_could_not_be_stored(slow: bool) -> None:  # noqa: FBT001
    """A store that fails in the middle of a tick: those turns end with an error, and what they show is proven."""
    gates = [asyncio.Event() for _ in range(2)]
    script: Sequence[str | asyncio.Event] = [gates[0], "one ", gates[1], "two "]
    store = FragileStore()
    async with hub_of(*[script] * SESSIONS, store=store) as hub:
        ears = [listen(hub, store=store) for _ in range(SESSIONS)]
        for ear in ears:
            await ask(hub, ear)
        store.slow = slow
        gates[0].set()
        await rounds(40)
        unlucky = {ear.live.id for ear in ears[9:12]}
        store.broken = lambda events: any(type(event) is Token and event.session in unlucky for event in events)
        gates[1].set()
        await rounds(40)
        store.mend()
        for ear in ears:
            done = await ear.done()
            assert (done.reason, ear.answer("t1")) in {("stop", "one two "), ("error", "one ")}
            assert_sound(ear.events)
        assert {ear.live.id for ear in ears if ear.dones[0].reason == "error"} >= unlucky
        assert slow or ears[-1].dones[0].reason == "stop"
