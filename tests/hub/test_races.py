"""Pairs of events: what happens to a session while something else is happening to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from askbot_ws.core.commands import Ask, Forget, Retry
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import AskbotError, Internal, LogMoved, StoreError
from askbot_ws.events import Done, Event, Question, Token, TurnRecord
from askbot_ws.hub import Hub, Policy, group_commit
from askbot_ws.store import Entry, Failures
from askbot_ws.store.sqlite.store import SQLiteStore
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import Ending

from ..walk.faults import Disk, on_disk
from .fakes import (
    CheckedReader,
    FragileStore,
    ask,
    assert_valid_log,
    attach_reader,
    exists,
    hub_of,
    owner_of,
    run_ticks,
)


class LookingUp(FragileStore):
    """A store whose lookups wait while a gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found = asyncio.Event()
        self.found.set()

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        await self.found.wait()
        return await super().find_turn(session, ask_id)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        await self.found.wait()
        return await super().turns(session, before=before, limit=limit)

    async def forget(self, *sessions: str) -> None:
        await self.found.wait()
        await super().forget(*sessions)


class SlowReads(FragileStore):
    """A store whose lists of turns arrive late: they are of when they were read."""

    def __init__(self) -> None:
        super().__init__()
        self.arrives = asyncio.Event()

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        found = await super().turns(session, before=before, limit=limit)
        if before is not None or found:
            await self.arrives.wait()
        return found


def reset(hub: Hub, reader: CheckedReader) -> None:
    """A fault of ours comes up in the session."""
    hub._reset_session(owner_of(hub, reader), ZeroDivisionError())  # pyright: ignore[reportPrivateUsage]


def texts(events: Sequence[Event]) -> list[str]:
    """The questions among events."""
    return [event.text for event in events if isinstance(event, Question)]


# --- one session, one writer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False])
async def test_an_owner_for_which_a_command_waits_does_not_leave(read: bool) -> None:  # noqa: FBT001
    """The command that is done finds nobody in need of the session, and there is no room: two would write."""
    store = LookingUp()
    held = asyncio.Event()
    async with hub_of(["one"], ["two", held], store=store, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "one?", id="1")
        await reader.done()
        await run_ticks()
        hub.detach(reader.topic, reader)
        assert hub.session_count == 0
        if read:
            reader = attach_reader(hub, await hub.open(ANONYMOUS, reader.session), store)
        store.found.clear()
        again = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("one?", id="1")))
        await run_ticks()
        waits = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("two?", id="2")))
        await run_ticks()
        store.found.set()
        await asyncio.gather(again, waits)
        await run_ticks()
        await hub.command(ANONYMOUS, reader.session, Ask("three?"))
        held.set()
        await run_ticks(100)
        assert hub.session_count == read
        assert not reader.codes

    assert texts(store.stored) == ["one?", "two?", "three?"]
    assert_valid_log(store.stored)


async def test_whoever_stops_waiting_for_its_turn_keeps_no_session_in_memory() -> None:
    """It counts as a command no more."""
    store = LookingUp()
    async with hub_of(store=store, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        store.found.clear()
        first = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Retry()))
        await run_ticks()
        second = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Retry()))
        await run_ticks()
        hub.detach(reader.topic, reader)
        first.cancel()
        second.cancel()
        await run_ticks()
        assert hub.session_count == 0


@pytest.mark.parametrize("command", [Ask("old?", id="old"), Retry()])
async def test_a_command_that_looks_something_up_while_its_session_is_reset_does_nothing(command: Ask | Retry) -> None:
    """It would write beside the next owner, and what one of the two was told is stored would not be."""
    store = LookingUp()
    upstream = ScriptedUpstream(["one"], ["new"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "one?")
        await reader.done()
        await run_ticks()
        owner_of(hub, reader).state.knows_all_questions = False
        store.found.clear()
        old = asyncio.create_task(hub.command(ANONYMOUS, reader.session, command))
        await run_ticks()
        reset(hub, reader)
        back = attach_reader(hub, await hub.open(ANONYMOUS, reader.session), store)
        new = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("new?")))
        await run_ticks()
        store.found.set()
        assert type((await asyncio.gather(old, new, return_exceptions=True))[0]) is Internal
        await back.done()
        assert texts(back.events) == ["new?"]

    assert texts(store.stored) == ["one?", "new?"]
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["one?", "new?"]
    assert_valid_log(store.stored)


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_reset_keeps_an_end_that_is_still_to_be_stored(tmp_path: Path, fsync: bool) -> None:  # noqa: FBT001
    """It is in the log of which the next owner is told; without it in the store, a restart loses all that follows."""
    disk, held = Disk(Random(0)), asyncio.Event()
    with on_disk(disk):
        store = SQLiteStore(tmp_path / "a.db", fsync=fsync)
        hub = Hub(store, ScriptedUpstream(["one", held, "two"]), Policy())
        await hub.__aenter__()
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("one")
        disk.chances = {"write": 1.0}
        held.set()
        assert (await reader.done()).reason == "error"
        reset(hub, reader)
        disk.chances = {}
        back = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await ask(hub, back, "next?")
        await back.done()
        await store.close_without_flush()  # as a crash would
        hub.refuse_turns()
        with suppress(StoreError):
            await hub.__aexit__()
    async with Hub(SQLiteStore(tmp_path / "a.db"), ScriptedUpstream(), Policy()) as hub:
        kept = (await hub.open(ANONYMOUS, reader.session)).log.read(after=0)

    assert_valid_log(kept)
    assert [type(event) for event in kept] == [Question, Token, Done] * 2
    assert kept[-1].seq == back.events[-1].seq


async def test_a_reset_session_s_end_is_stored_though_nothing_follows_it() -> None:
    """The recovery sees to it."""
    store, held = FragileStore(), asyncio.Event()
    async with hub_of(["one", held, "two"], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("one")
        store.break_down()
        held.set()
        await reader.done()
        reset(hub, reader)
        store.mend()
        await run_ticks(50)
        assert_valid_log(store.durable(reader.session))
        assert (await hub.open(ANONYMOUS, reader.session)).log.read(after=0) == store.durable(reader.session)


@pytest.mark.parametrize("broken", [False, True])
async def test_a_turn_that_ends_while_the_recovery_reads_has_one_end(*, broken: bool) -> None:
    """A recovery that tries again finds a session that goes on; what it reads may be old by the time it arrives."""
    store, held = SlowReads(), asyncio.Event()
    store.arrives.set()
    async with hub_of(["one", held, "two"], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("one")
        store.arrives.clear()
        recovery = asyncio.create_task(hub._recovery.close_unfinished_turns(reader.session))  # pyright: ignore[reportPrivateUsage]
        await run_ticks()
        if broken:
            store.break_down()
        held.set()
        await reader.done()
        store.mend()
        store.arrives.set()
        await recovery
        ends = [event for event in reader.events if isinstance(event, Done)]
        assert [(end.turn, end.reason) for end in ends] == [("t1", "error" if broken else "stop")]
        assert_valid_log(store.durable(reader.session))


async def test_a_turn_whose_end_is_being_stored_while_the_recovery_reads_has_one_end() -> None:
    """The store has no end of it yet, and the session no turn that runs."""
    store, held = SlowReads(), asyncio.Event()
    async with hub_of(["one", held, "two"], store=store) as hub:
        reader = attach_reader(hub)
        store.arrives.set()
        await ask(hub, reader)
        await reader.heard("one")
        store.slow = True
        store.gate.clear()
        held.set()
        await run_ticks()
        recovery = asyncio.create_task(hub._recovery.close_unfinished_turns(reader.session))  # pyright: ignore[reportPrivateUsage]
        await run_ticks()
        store.gate.set()
        await recovery
        await reader.done()
        assert [type(event) for event in reader.events] == [Question, Token, Token, Done]
        assert_valid_log(store.durable(reader.session))


# --- forgetting ------------------------------------------------------------------------------------------------------


async def test_whoever_stops_waiting_does_not_stop_a_deletion_half_way() -> None:
    """The store goes on: its readers would never hear of it, and its owner would write into a log that is gone."""
    store = LookingUp()
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        store.found.clear()
        forgetting = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Forget()))
        await run_ticks()
        asking = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("still there?")))
        await run_ticks()
        forgetting.cancel()
        await run_ticks()
        assert not asking.done()
        store.found.set()
        with pytest.raises(AskbotError) as raised:
            await asking
        assert (raised.value.code, reader.codes) == ("session_not_found", ["session_not_found"])
        assert not await exists(hub, reader.session)


# --- commits ---------------------------------------------------------------------------------------------------------


async def test_one_append_at_a_time_also_where_a_tick_had_nothing_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the tick after a slow one makes an append of nothing; what arrives meanwhile has to wait for it."""
    monkeypatch.setattr(group_commit, "MAX_BATCH_SESSIONS", 2)
    store = FragileStore()
    store.slow = True
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], ["a", held, "b"], ["a", held, "b"], store=store) as hub:
        readers = [attach_reader(hub, store=store) for _ in range(4)]
        for reader in readers[:3]:
            await ask(hub, reader)
            await reader.heard("a")
        await run_ticks()
        store.gate.clear()
        asking = asyncio.create_task(ask(hub, readers[3]))
        await run_ticks()
        waiting = asyncio.create_task(hub._scheduler.group_commit.wait_stored(owner_of(hub, readers[0])))  # pyright: ignore[reportPrivateUsage]
        await run_ticks()
        batches = store.batches
        store.gate.set()
        while store.batches == batches and not waiting.done():  # noqa: ASYNC110 - the moment is one round long
            await asyncio.sleep(0)
        held.set()
        await asyncio.gather(asking, waiting, *[reader.done() for reader in readers])

    assert {done.reason for reader in readers for done in reader.dones} == {"stop"}


class Endless:
    """An upstream that never ends of itself."""

    model = "endless"

    def __init__(self) -> None:
        self.running = 0

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def ping(self) -> None:
        """Always there."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        self.running += 1
        try:
            while True:
                on_text("on ")
                await asyncio.sleep(0)
        finally:
            self.running -= 1


async def test_every_provider_stops_where_the_text_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of the session whose own text made the batch full, and had it written: its turn has ended."""
    monkeypatch.setattr(group_commit, "MAX_BATCH_SESSIONS", 2)
    store, upstream = FragileStore(), Endless()
    async with hub_of(upstream=upstream, store=store) as hub:
        readers = [attach_reader(hub) for _ in range(3)]
        for reader in readers:
            await ask(hub, reader)
        await run_ticks()
        store.break_down()
        for reader in readers:
            await reader.done()
        store.mend()
        await run_ticks()
        assert upstream.running == 0


async def test_what_is_dropped_with_a_reset_is_told_to_whoever_waits_for_it() -> None:
    """A command that returns has been done."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        await run_ticks()
        store.gate.clear()
        busy = asyncio.create_task(ask(hub, other))
        await run_ticks()
        asking = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("lost?")))
        await run_ticks()
        reset(hub, reader)
        store.gate.set()
        with pytest.raises(AskbotError):
            await asking
        await busy

    assert "lost?" not in texts(store.stored)


async def test_the_owner_of_a_session_that_is_read_leaves_too_where_the_store_is_slow() -> None:
    """What it keeps for the model counts as memory, whoever looks on."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        await run_ticks()
        with pytest.raises(KeyError):
            owner_of(hub, reader)


class Fenced(FragileStore):
    """A store that says of a session that another one writes it now."""

    fenced = False

    def append(self, batch: Mapping[str, Entry]) -> Failures:
        if self.fenced:
            return {session: LogMoved() for session in batch}
        outcome = super().append(batch)
        assert isinstance(outcome, dict)
        return outcome


async def test_an_end_that_can_no_longer_be_stored_is_not_tried_for_ever() -> None:
    """Where another one writes the session, ours is let go of."""
    store, held = Fenced(), asyncio.Event()
    async with hub_of(["one", held, "two"], store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("one")
        store.break_down()
        held.set()
        await reader.done()
        store.mend()
        store.fenced = True
        with suppress(StoreError):
            await ask(hub, other)
        assert reader.codes == ["internal"]
        store.fenced = False
