"""Turn slots: whose turn starts next, and what becomes of turns that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from askbot_ws.core.allowance import Allowance, Allowances
from askbot_ws.core.commands import Ask, Cancel, Edit, Forget, Retry
from askbot_ws.core.principal import Principal
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import Busy, LogMoved, Overloaded, QueueFull
from askbot_ws.hub import Hub, Policy
from askbot_ws.upstream import Ending

from .fakes import CheckedReader, FragileStore, assert_valid_log, hub_of, owner_of, run_ticks

UNLIMITED = Allowance()
ANN, BOB, CAT = (Principal(user=name) for name in ("ann", "bob", "cat"))


class HeldUpstream:
    """An upstream whose answers end one by one, when they are let go."""

    model = "held"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: dict[str, asyncio.Event] = {}

    async def open(self) -> None: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        self.asked.append(prompt.question)
        event = self.held[prompt.question] = asyncio.Event()
        try:
            await event.wait()
        finally:
            del self.held[prompt.question]
        on_text("so")
        return Ending("stop")

    async def let_go(self) -> str:
        """End the answer that has run longest; returns its question."""
        question = next(iter(self.held))
        self.held[question].set()
        await run_ticks(30)
        return question


@asynccontextmanager
async def held_hub(
    *,
    allowance: Allowance = UNLIMITED,
    store: FragileStore | None = None,
    max_turns: int = 1000,
    max_queued: int = 1000,
    memory: int = 2**20,
) -> AsyncGenerator[tuple[Hub, HeldUpstream]]:
    upstream = HeldUpstream()
    policy = Policy(max_waiting=2000, max_turns=max_turns, max_queued=max_queued, memory=memory)
    async with hub_of(upstream=upstream, store=store, policy=policy) as hub:
        hub.admission.allowances = Allowances(allowance)
        yield hub, upstream


def session_for(hub: Hub, principal: Principal, store: FragileStore | None = None) -> CheckedReader:
    reader = CheckedReader(hub.create(principal), store)
    hub.attach(reader.topic, reader)
    return reader


async def ask(hub: Hub, principal: Principal, reader: CheckedReader, text: str) -> None:
    await hub.command(principal, reader.session, Ask(text))


async def test_whoever_asks_much_does_not_delay_whoever_asks_once() -> None:
    """Users take turns, however many questions and sessions one has; all are acknowledged at once."""
    async with held_hub(max_turns=1, max_queued=2000) as (hub, upstream):
        much, more, once = session_for(hub, ANN), session_for(hub, ANN), session_for(hub, BOB)
        for number in range(500):
            await ask(hub, ANN, much, f"a{number}")
            await ask(hub, ANN, more, f"b{number}")
        await ask(hub, BOB, once, "c0")
        await ask(hub, BOB, once, "c1")
        assert (len(much.questions), len(once.questions)) == (500, 2)
        ended = [await upstream.let_go() for _ in range(7)]

    assert ended == ["a0", "b0", "c0", "a1", "c1", "b1", "a2"]
    for reader in (much, more, once):
        assert_valid_log(reader.events)
    assert len(much.dones) == 500


async def test_anonymous_clients_take_turns_by_their_addresses() -> None:
    """And a session's turns stay in their order."""
    async with held_hub(max_turns=1) as (hub, upstream):
        readers = {number: session_for(hub, Principal()) for number in range(4)}
        for number, address in enumerate(["192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1"]):
            await hub.command(Principal(), readers[number].session, Ask(f"q{number}"), address=address)

        assert [await upstream.let_go() for _ in range(4)] == ["q0", "q1", "q3", "q2"]


async def test_only_so_many_turns_of_one_user_run() -> None:
    """The others wait, though there is room for somebody else's, which start at once."""
    async with held_hub(allowance=Allowance(turns=2), max_turns=3) as (hub, upstream):
        for number in range(3):
            await ask(hub, ANN, session_for(hub, ANN), f"a{number}")
        await ask(hub, BOB, session_for(hub, BOB), "b0")
        await ask(hub, CAT, session_for(hub, CAT), "c0")
        await run_ticks()
        assert [*upstream.held] == ["a0", "a1", "b0"]
        await upstream.let_go()
        assert [*upstream.held] == ["a1", "b0", "c0"]
        await upstream.let_go()
        assert [*upstream.held] == ["b0", "c0", "a2"]


async def test_one_user_can_not_fill_the_queue() -> None:
    """`queue_full` for it, room for others; what is refused is not in the log."""
    async with held_hub(allowance=Allowance(waiting_turns=2), max_turns=1, max_queued=4) as (hub, upstream):
        reader, other = session_for(hub, ANN), session_for(hub, BOB)
        for number in range(3):
            await ask(hub, ANN, reader, f"a{number}")
        with pytest.raises(QueueFull):
            await ask(hub, ANN, session_for(hub, ANN), "a3")
        await ask(hub, BOB, other, "b0")
        await upstream.let_go()
        await ask(hub, BOB, other, "b1")
        assert [await upstream.let_go() for _ in range(4)] == ["b0", "a1", "b1", "a2"]
        assert hub.is_busy(reader.session) is False


async def test_a_turn_that_waits_for_a_slot_can_be_cancelled_replaced_and_forgotten() -> None:
    """As any that waits; it frees its place, and the next ones start. Without a turn, it is the one that is meant."""
    async with held_hub(max_turns=1, max_queued=8) as (hub, upstream):
        readers = [session_for(hub, ANN) for _ in range(6)]
        running, cancelled, replaced, edited, forgotten, last = readers
        for number, reader in enumerate(readers):
            await ask(hub, ANN, reader, f"q{number}")
        with pytest.raises(Busy):
            await hub.command(ANN, last.session, Ask("no", when_busy="reject"))
        await hub.command(ANN, cancelled.session, Cancel())
        await hub.command(ANN, replaced.session, Ask("instead", when_busy="replace"))
        await hub.command(ANN, edited.session, Edit("t1", "edited"))
        await hub.command(ANN, forgotten.session, Forget())
        assert [reader.dones[0].reason for reader in (cancelled, replaced, edited)] == ["cancelled"] * 3
        assert forgotten.codes == ["session_not_found"]
        await hub.command(ANN, cancelled.session, Retry())
        order = [await upstream.let_go() for _ in range(5)]
        assert order == ["q0", "instead", "edited", "q5", "q1"]  # what replaces takes the place of what it replaces
        for reader in (running, cancelled, replaced, edited, last):
            assert_valid_log(reader.events)
        assert (hub.turns_waiting, hub.turns_running, upstream.held) == (0, 0, {})


async def test_what_replaces_a_turn_takes_its_place_in_a_full_queue() -> None:
    """One that waits, or that runs; what would wait besides is refused."""
    async with held_hub(max_turns=1, max_queued=1) as (hub, upstream):
        ann, bob = session_for(hub, ANN), session_for(hub, BOB)
        await ask(hub, ANN, ann, "a")
        await ask(hub, BOB, bob, "b")
        await hub.command(BOB, bob.session, Ask("c", when_busy="replace"))
        await hub.command(BOB, bob.session, Edit("t1", "d"))
        with pytest.raises(Overloaded):
            await ask(hub, ANN, ann, "no")
        await hub.command(ANN, ann.session, Ask("e", when_busy="replace"))
        await run_ticks()
        assert sorted([await upstream.let_go(), await upstream.let_go()]) == ["d", "e"]


async def test_new_limits_are_those_of_what_waits() -> None:
    """From now on, and of further questions of its sessions too."""
    async with held_hub(allowance=Allowance(turns=1)) as (hub, upstream):
        readers = [session_for(hub, ANN) for _ in range(4)]
        for number, reader in enumerate(readers):
            await ask(hub, ANN, reader, f"a{number}")
            await ask(hub, ANN, reader, f"b{number}")
        await run_ticks()
        hub.apply_limits(Allowances(Allowance(turns=3)), max_turns=1000, max_queued=1000)
        await run_ticks()
        assert sorted(upstream.held) == ["a0", "a1", "a2"]
        await upstream.let_go()
        assert len(upstream.held) == 3


async def test_a_session_whose_turn_waits_is_not_evicted() -> None:
    """Nor without readers; it is answered, and then it is."""
    async with held_hub(max_turns=1, memory=0) as (hub, upstream):
        await ask(hub, ANN, session_for(hub, ANN), "a0")
        waiting = session_for(hub, BOB)
        await ask(hub, BOB, waiting, "b0")
        hub.detach(waiting.topic, waiting)
        await run_ticks()
        assert await hub.open(BOB, waiting.session) is waiting.topic
        assert [await upstream.let_go(), await upstream.let_go()] == ["a0", "b0"]
        assert await hub.open(BOB, waiting.session) is not waiting.topic


async def test_what_waits_when_the_server_drains_ends_as_interrupted() -> None:
    """At once; what runs may end."""
    async with held_hub(max_turns=1) as (hub, upstream):
        running, waiting = session_for(hub, ANN), session_for(hub, BOB)
        await ask(hub, ANN, running, "a0")
        await ask(hub, BOB, waiting, "b0")
        draining = asyncio.create_task(hub.drain(5))
        assert (await waiting.done()).reason == "interrupted"
        await upstream.let_go()
        await draining
        assert (running.dones[0].reason, upstream.asked) == ("stop", ["a0"])


@pytest.mark.parametrize("fault", ["lost", "moved"])
async def test_a_fault_of_the_store_frees_the_places_of_what_it_lost(fault: str) -> None:
    """Of a question that could not be stored, and of a session that is reset; others are answered."""
    store = FragileStore()
    async with held_hub(store=store, max_turns=1) as (hub, upstream):
        running, broken, other = (session_for(hub, each, store) for each in (ANN, BOB, CAT))
        await ask(hub, ANN, running, "a0")
        await ask(hub, BOB, broken, "b0")
        await ask(hub, CAT, other, "c0")
        if fault == "lost":
            store.break_down()
            with pytest.raises(Exception, match="stored"):
                await ask(hub, BOB, broken, "b1")
            store.mend()
            assert hub.turns_waiting == 2
        else:
            hub._reset_session(owner_of(hub, broken), LogMoved())  # pyright: ignore[reportPrivateUsage]
            await run_ticks()
            assert hub.turns_waiting == 1
        expected = ["a0", "b0", "c0"] if fault == "lost" else ["a0", "c0"]
        assert [await upstream.let_go() for _ in expected] == expected
        await run_ticks()
        assert (hub.turns_waiting, hub.turns_running) == (0, 0)


async def test_more_slots_are_used_at_once_and_fewer_as_turns_end() -> None:
    """Where the settings are read again."""
    async with held_hub(max_turns=1) as (hub, upstream):
        for number, user in enumerate((ANN, BOB, CAT, ANN)):
            await ask(hub, user, session_for(hub, user), f"q{number}")
        hub.apply_limits(Allowances(), max_turns=3, max_queued=9)
        await run_ticks()
        assert [*upstream.held] == ["q0", "q1", "q2"]
        hub.apply_limits(Allowances(), max_turns=1, max_queued=9)
        await upstream.let_go()
        await upstream.let_go()
        assert [*upstream.held] == ["q2"]
        hub.apply_limits(Allowances(), max_turns=None, max_queued=None)
        await run_ticks()
        assert [*upstream.held] == ["q2", "q3"]
