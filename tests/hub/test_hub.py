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

from .fakes import Clock, FragileStore, ask, assert_proven, assert_valid_log, attach_reader, exists, hub_of, run_ticks
from .test_turn_runner import shown


async def test_resting_sessions_leave_the_memory_and_come_back_unchanged() -> None:
    """The one that rested longest goes first; what the model is shown is the same."""
    upstream = ScriptedUpstream(["one"], ["two"], ["three"])
    async with hub_of(upstream=upstream, policy=Policy(memory=8000)) as hub:
        readers = [attach_reader(hub) for _ in range(8)]
        for reader in readers:
            await ask(hub, reader, f"{readers.index(reader)}?")
            await reader.done()
        assert hub.session_count == 8
        await run_ticks()
        for reader in readers:
            hub.detach(reader.topic, reader)
        assert 0 < hub.session_count < 8
        back = attach_reader(hub, await hub.open(ANONYMOUS, readers[0].session))
        assert back.topic is not readers[0].topic
        assert back.topic.log.read(after=0) == readers[0].events
        await ask(hub, back, "and?")
        await back.done()

    assert shown(upstream) == ["0?", "one", "and?"]


async def test_a_session_that_is_read_or_runs_stays() -> None:
    """Whatever the budget."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], ["c"], policy=Policy(memory=0)) as hub:
        running, read = attach_reader(hub), attach_reader(hub)
        await ask(hub, running)
        await ask(hub, read)
        await read.done()
        hub.detach(running.topic, running)
        assert hub.session_count == 2
        assert await hub.open(ANONYMOUS, running.session) is running.topic
        held.set()
        await run_ticks()
        assert hub.session_count == 1
        hub.detach(read.topic, read)
        assert hub.session_count == 0


async def test_a_session_whose_end_is_not_stored_yet_stays() -> None:
    """Else it would be read back from a store that does not have all of it, and two would write."""
    store = FragileStore()
    store.slow = True
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], store=store, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        hub.detach(reader.topic, reader)
        store.gate.clear()
        held.set()
        await run_ticks()
        assert not hub.is_busy(reader.session)
        assert await hub.open(ANONYMOUS, reader.session) is reader.topic
        store.gate.set()
        await run_ticks()
        assert hub.session_count == 0
        back = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await ask(hub, back)
        await back.done()

    assert_valid_log(store.stored)


async def test_a_session_larger_than_the_budget_can_be_opened() -> None:
    """It is live at least until its reader leaves."""
    async with hub_of(policy=Policy(memory=1)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        hub.detach(reader.topic, reader)
        back = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        assert hub.session_count == 1
        await ask(hub, back)
        await back.done()


async def test_two_that_open_at_once_get_the_same_session() -> None:
    """One session has one writer."""
    async with hub_of(policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        hub.detach(reader.topic, reader)
        await run_ticks()
        found = await asyncio.gather(*(hub.open(ANONYMOUS, reader.session) for _ in range(5)))
        assert len({id(live) for live in found}) == 1


async def test_draining_lets_running_answers_end_and_takes_nothing_new() -> None:
    """What waits is interrupted, new questions are told to go elsewhere."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"]) as hub:
        reader = attach_reader(hub)
        turns = [await ask(hub, reader), await ask(hub, reader, "waits")]
        await reader.heard("a")
        draining = asyncio.create_task(hub.drain(60))
        await run_ticks()
        with pytest.raises(Overloaded):
            await hub.command(ANONYMOUS, reader.session, Ask(text="new"))
        assert not draining.done()
        held.set()
        await draining
        await reader.done(2)

    assert [(done.turn, done.reason) for done in reader.dones] == [(turns[1], "interrupted"), (turns[0], "stop")]
    assert_valid_log(reader.events)


async def test_draining_has_a_limit_and_stopping_ends_the_rest() -> None:
    """As interrupted, with the exact text, stored."""
    store = FragileStore()
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        await hub.drain(0.001)
        await hub.stop()
        assert reader.dones[0].reason == "interrupted"
        await hub.stop()

    assert_proven(reader.dones[0], "a")
    assert (upstream.stopped, store.closed) == (1, True)
    assert_valid_log(store.stored)


async def test_stopping_when_the_store_is_gone_still_stops() -> None:
    """The end can't be written; the next start will say `interrupted` for it."""
    store = FragileStore()
    async with hub_of(["a", asyncio.Event()], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        store.break_down()

    assert store.closed


async def _crashed(waiting: int, cancelled: int) -> FragileStore:
    """A store whose server died while a turn ran, others waited, and of these some had been cancelled."""
    store = FragileStore()
    async with hub_of(["whole"], ["half", asyncio.Event()], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        await ask(hub, reader, id="runs")
        await reader.heard("half")
        for _ in range(cancelled):
            await hub.command(ANONYMOUS, reader.session, Cancel(turn=await ask(hub, reader, "never mind")))
        for _ in range(waiting):
            await ask(hub, reader, "waits")
        await run_ticks()
        left = FragileStore()
        left.unfinished = [reader.session]
        left.create(reader.session)
        frames = [encode_event(event) for event in store.stored]
        assert left.append({reader.session: (store.stored, frames)}) == {}
        left.release(reader.session)
    return left


@pytest.mark.parametrize(("waiting", "cancelled"), [(0, 0), (8, 0), (2, 120)])
async def test_turns_that_a_dead_server_left_are_closed_at_the_start(waiting: int, cancelled: int) -> None:
    """As interrupted, with the exact text, each once, and the conversation goes on."""
    store = await _crashed(waiting, cancelled)
    upstream = ScriptedUpstream(["more"])
    async with hub_of(upstream=upstream, store=store) as hub:
        assert_valid_log(store.stored)
        ends = [event for event in store.stored if isinstance(event, Done) and event.reason == "interrupted"]
        assert len(ends) == 1 + waiting
        assert_proven(ends[0], "half")
        reader = attach_reader(hub, await hub.open(ANONYMOUS, store.unfinished[0]))
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, reader.session, Cancel())
        await hub.command(ANONYMOUS, reader.session, Ask(id="runs", text="why?"))
        await ask(hub, reader, "go on?")
        await reader.done()

    assert shown(upstream)[-4:] == ["whole", "why?", "half", "go on?"]
    assert_valid_log(store.stored)


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
        gone, kept = attach_reader(hub), attach_reader(hub)
        for reader in (gone, kept):
            await ask(hub, reader)
            await reader.done()
        hub.detach(gone.topic, gone)
        await run_ticks()
        assert store.sweeps == 1
    wall.now += 61
    async with Hub(store, ScriptedUpstream(), policy, clock=Clock(), wall_clock=wall) as hub:
        await run_ticks()
        assert store.sweeps == 2
        assert not await exists(hub, gone.session)
        assert await exists(hub, kept.session)


async def test_long_conversations_load_their_context_page_by_page() -> None:
    """After a restart the model is shown as much as before."""
    upstream = ScriptedUpstream()
    async with hub_of(upstream=upstream, policy=Policy(memory=0, context_tokens=100_000)) as hub:
        reader = attach_reader(hub)
        for number in range(120):
            await ask(hub, reader, f"{number}?")
            await reader.done(number + 1)
        await ask(hub, reader, "and?")
        await reader.done(121)
        hub.detach(reader.topic, reader)
        await run_ticks()
        back = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await ask(hub, back, "and now?")
        await back.done()

    before, after = upstream.prompts[-2:]
    assert len(before.messages) == 241
    assert list(before.messages[:-1]) == list(after.messages[:240])
