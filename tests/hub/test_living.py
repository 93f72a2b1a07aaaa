"""What is live: memory, draining, stopping, starting again, sweeping."""

from __future__ import annotations

import asyncio

import pytest

from askbot_ws.core.commands import Ask, Cancel
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import ConfigError, Overloaded, TurnNotFound
from askbot_ws.events import Done, encode_event
from askbot_ws.hub import Hub, Policy
from askbot_ws.testing import ScriptedUpstream

from .story import Clock, FragileStore, ask, assert_proven, assert_sound, exists, hub_of, listen, rounds
from .test_turn_runner import shown


async def test_resting_sessions_leave_the_memory_and_come_back_unchanged() -> None:
    """The one that rested longest goes first; what the model is shown is the same."""
    upstream = ScriptedUpstream(["one"], ["two"], ["three"])
    async with hub_of(upstream=upstream, policy=Policy(memory=8000)) as hub:
        ears = [listen(hub) for _ in range(8)]
        for ear in ears:
            await ask(hub, ear, f"{ears.index(ear)}?")
            await ear.done()
        assert hub.session_count == 8
        await rounds()
        for ear in ears:
            hub.detach(ear.topic, ear)
        assert 0 < hub.session_count < 8
        back = listen(hub, await hub.open(ANONYMOUS, ears[0].session))
        assert back.topic is not ears[0].topic
        assert back.topic.log.read(after=0) == ears[0].events
        await ask(hub, back, "and?")
        await back.done()

    assert shown(upstream) == ["0?", "one", "and?"]


async def test_a_session_that_is_read_or_runs_stays() -> None:
    """Whatever the budget."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], ["c"], policy=Policy(memory=0)) as hub:
        running, read = listen(hub), listen(hub)
        await ask(hub, running)
        await ask(hub, read)
        await read.done()
        hub.detach(running.topic, running)
        assert hub.session_count == 2
        assert await hub.open(ANONYMOUS, running.session) is running.topic
        held.set()
        await rounds()
        assert hub.session_count == 1
        hub.detach(read.topic, read)
        assert hub.session_count == 0


async def test_a_session_whose_end_is_not_stored_yet_stays() -> None:
    """Else it would be read back from a store that does not have all of it, and two would write."""
    store = FragileStore()
    store.slow = True
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], store=store, policy=Policy(memory=0)) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        hub.detach(ear.topic, ear)
        store.gate.clear()
        held.set()
        await rounds()
        assert not hub.is_busy(ear.session)
        assert await hub.open(ANONYMOUS, ear.session) is ear.topic
        store.gate.set()
        await rounds()
        assert hub.session_count == 0
        back = listen(hub, await hub.open(ANONYMOUS, ear.session))
        await ask(hub, back)
        await back.done()

    assert_sound(store.stored)


async def test_a_session_larger_than_the_budget_can_be_opened() -> None:
    """It is live at least until its reader leaves."""
    async with hub_of(policy=Policy(memory=1)) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.done()
        hub.detach(ear.topic, ear)
        back = listen(hub, await hub.open(ANONYMOUS, ear.session))
        assert hub.session_count == 1
        await ask(hub, back)
        await back.done()


async def test_two_that_open_at_once_get_the_same_session() -> None:
    """One session has one writer."""
    async with hub_of(policy=Policy(memory=0)) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.done()
        hub.detach(ear.topic, ear)
        await rounds()
        found = await asyncio.gather(*(hub.open(ANONYMOUS, ear.session) for _ in range(5)))
        assert len({id(live) for live in found}) == 1


async def test_draining_lets_running_answers_end_and_takes_nothing_new() -> None:
    """What waits is interrupted, new questions are told to go elsewhere."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"]) as hub:
        ear = listen(hub)
        turns = [await ask(hub, ear), await ask(hub, ear, "waits")]
        await ear.heard("a")
        draining = asyncio.create_task(hub.drain(60))
        await rounds()
        with pytest.raises(Overloaded):
            await hub.command(ANONYMOUS, ear.session, Ask(text="new"))
        assert not draining.done()
        held.set()
        await draining
        await ear.done(2)

    assert [(done.turn, done.reason) for done in ear.dones] == [(turns[1], "interrupted"), (turns[0], "stop")]
    assert_sound(ear.events)


async def test_draining_has_a_limit_and_stopping_ends_the_rest() -> None:
    """As interrupted, with the exact text, stored."""
    store = FragileStore()
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        await hub.drain(0.001)
        await hub.stop()
        assert ear.dones[0].reason == "interrupted"
        await hub.stop()

    assert_proven(ear.dones[0], "a")
    assert (upstream.stopped, store.closed) == (1, True)
    assert_sound(store.stored)


async def test_stopping_when_the_store_is_gone_still_stops() -> None:
    """The end can't be written; the next start will say `interrupted` for it."""
    store = FragileStore()
    async with hub_of(["a", asyncio.Event()], store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        store.break_down()

    assert store.closed


async def _crashed(waiting: int, cancelled: int) -> FragileStore:
    """A store whose server died while a turn ran, others waited, and of these some had been cancelled."""
    store = FragileStore()
    async with hub_of(["whole"], ["half", asyncio.Event()], store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.done()
        await ask(hub, ear, id="runs")
        await ear.heard("half")
        for _ in range(cancelled):
            await hub.command(ANONYMOUS, ear.session, Cancel(turn=await ask(hub, ear, "never mind")))
        for _ in range(waiting):
            await ask(hub, ear, "waits")
        await rounds()
        left = FragileStore()
        left.unfinished = [ear.session]
        left.create(ear.session)
        frames = [encode_event(event) for event in store.stored]
        assert left.append({ear.session: (store.stored, frames)}) == {}
        left.release(ear.session)
    return left


@pytest.mark.parametrize(("waiting", "cancelled"), [(0, 0), (8, 0), (2, 120)])
async def test_turns_that_a_dead_server_left_are_closed_at_the_start(waiting: int, cancelled: int) -> None:
    """As interrupted, with the exact text, each once, and the conversation goes on."""
    store = await _crashed(waiting, cancelled)
    upstream = ScriptedUpstream(["more"])
    async with hub_of(upstream=upstream, store=store) as hub:
        assert_sound(store.stored)
        ends = [event for event in store.stored if isinstance(event, Done) and event.reason == "interrupted"]
        assert len(ends) == 1 + waiting
        assert_proven(ends[0], "half")
        ear = listen(hub, await hub.open(ANONYMOUS, store.unfinished[0]))
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, ear.session, Cancel())
        await hub.command(ANONYMOUS, ear.session, Ask(id="runs", text="why?"))
        await ask(hub, ear, "go on?")
        await ear.done()

    assert shown(upstream)[-4:] == ["whole", "why?", "half", "go on?"]
    assert_sound(store.stored)


async def test_a_start_that_fails_says_why_and_lets_go_of_the_store() -> None:
    """As what the operator has to change, not as a traceback; else its threads and its lock would stay."""
    store = await _crashed(1, 0)
    store.break_down()
    with pytest.raises(ConfigError, match="make room"):
        async with hub_of(store=store):
            pass
    assert store.closed


async def test_sessions_that_rested_too_long_are_swept() -> None:
    """Only those that nobody uses."""
    wall = Clock()
    store = FragileStore(clock=wall)
    policy = Policy(session_ttl=60.0, memory=0)
    async with Hub(store, ScriptedUpstream(), policy, clock=Clock(), wall_clock=wall) as hub:
        gone, kept = listen(hub), listen(hub)
        for ear in (gone, kept):
            await ask(hub, ear)
            await ear.done()
        hub.detach(gone.topic, gone)
        await rounds()
        assert store.sweeps == 1
    wall.now += 61
    async with Hub(store, ScriptedUpstream(), policy, clock=Clock(), wall_clock=wall) as hub:
        await rounds()
        assert store.sweeps == 2
        assert not await exists(hub, gone.session)
        assert await exists(hub, kept.session)


async def test_long_conversations_load_their_context_page_by_page() -> None:
    """After a restart the model is shown as much as before."""
    upstream = ScriptedUpstream()
    async with hub_of(upstream=upstream, policy=Policy(memory=0, context_tokens=100_000)) as hub:
        ear = listen(hub)
        for number in range(120):
            await ask(hub, ear, f"{number}?")
            await ear.done(number + 1)
        await ask(hub, ear, "and?")
        await ear.done(121)
        hub.detach(ear.topic, ear)
        await rounds()
        back = listen(hub, await hub.open(ANONYMOUS, ear.session))
        await ask(hub, back, "and now?")
        await back.done()

    before, after = upstream.prompts[-2:]
    assert len(before.messages) == 241
    assert list(before.messages[:-1]) == list(after.messages[:240])
