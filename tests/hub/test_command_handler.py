"""Commands: asked once, cancel, retry, edit, forget."""

from __future__ import annotations

import asyncio

import pytest

from askbot_ws.core.commands import Ask, Cancel, Edit, Forget, Retry
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import (
    AskbotError,
    Busy,
    InvalidFrame,
    Overloaded,
    QuestionEmpty,
    QueueFull,
    SessionNotFound,
    TurnNotFound,
)
from askbot_ws.events import WhenBusy
from askbot_ws.hub import Policy
from askbot_ws.testing import ScriptedUpstream

from .fakes import FragileStore, ask, assert_valid_log, attach_reader, exists, hub_of, owner_of, run_ticks
from .test_turn_runner import shown


async def test_a_question_sent_again_is_not_asked_again() -> None:
    """Promise 3, also when both arrive at once."""
    upstream = ScriptedUpstream()
    store = FragileStore()
    store.slow = True
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await asyncio.gather(*(hub.command(ANONYMOUS, reader.session, Ask(id="q", text="why?")) for _ in range(3)))
        await reader.done()
        await hub.command(ANONYMOUS, reader.session, Ask(id="q", text="why?"))
        await run_ticks()

    assert (len(upstream.prompts), len(reader.questions)) == (1, 1)


async def test_a_question_sent_again_after_the_session_left_the_memory_is_not_asked_again() -> None:
    """Promise 3: the store remembers, however long ago that was."""
    upstream = ScriptedUpstream()
    async with hub_of(upstream=upstream, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        for number in range(60):
            await ask(hub, reader, "why?", id=f"q{number}")
            await reader.done(number + 1)
        hub.detach(reader.topic, reader)
        await run_ticks()
        assert hub.session_count == 0
        again = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await hub.command(ANONYMOUS, again.session, Ask(id="q0", text="why?"))
        await hub.command(ANONYMOUS, again.session, Ask(id="q59", text="why?"))
        await run_ticks()

    assert (len(upstream.prompts), again.events) == (60, [])


@pytest.mark.parametrize("turns", [3, 60, 300])
async def test_the_store_is_asked_only_for_ids_that_may_have_been_forgotten(turns: int) -> None:
    """Of a session that this process has made and not let go, only beyond 256; a repeated id is known either way."""
    store, upstream = FragileStore(), ScriptedUpstream()
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        for number in range(turns):
            await ask(hub, reader, "why?", id=f"q{number}")
            await reader.done(number + 1)
        assert (store.lookups > 0) == (turns > 256)
    async with hub_of(upstream=upstream, store=store) as hub:
        again = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        before = store.lookups
        await ask(hub, again, "why?", id="new")
        await again.done()
        assert store.lookups == before + 1
        for number in (0, turns - 1):
            await hub.command(ANONYMOUS, again.session, Ask(id=f"q{number}", text="why?"))
        await run_ticks()

    assert len(upstream.prompts) == turns + 1


async def test_one_id_is_one_question() -> None:
    """The same id with another text is a client's mistake, and named as one."""
    async with hub_of() as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "why?", id="q")
        with pytest.raises(InvalidFrame, match=r"^id: "):
            await hub.command(ANONYMOUS, reader.session, Ask(id="q", text="what?"))
        await reader.done()

    assert len(reader.questions) == 1


async def test_retry_and_edit_sent_again_are_not_done_again() -> None:
    """Promise 3 is about them as well."""
    async with hub_of() as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.done()
        for _ in range(2):
            await hub.command(ANONYMOUS, reader.session, Retry(id="r", turn=turn))
            await hub.command(ANONYMOUS, reader.session, Edit(id="e", turn=turn, text="what?"))
        await reader.done(3)
        await run_ticks()

    assert [question.id for question in reader.questions] == [None, "r", "e"]


async def test_cancel_stops_the_provider_and_keeps_the_text() -> None:
    """Whoever cancels still has what was said, and a proof of it."""
    upstream = ScriptedUpstream(["half", asyncio.Event()], ["next"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.heard("half")
        await hub.command(ANONYMOUS, reader.session, Cancel())
        await run_ticks()
        assert upstream.stopped == 1
        second = await ask(hub, reader, "next?")
        await reader.done(2)

    assert (reader.dones[0].reason, reader.answer(turn), reader.answer(second)) == ("cancelled", "half", "next")
    assert shown(upstream) == ["why?", "half", "next?"]
    assert_valid_log(reader.events)


async def test_a_turn_cancelled_before_it_began_does_not_block_the_next() -> None:
    """The running turn ends, the next one's task exists but has not had its first step: it is cancelled right then."""
    upstream = ScriptedUpstream(["1"], ["3"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        turns = [await ask(hub, reader, text) for text in ("1?", "2?", "3?")]
        state = owner_of(hub, reader).state
        while state.running is None or state.running.id != turns[1]:
            await run_ticks(1)
        await hub.command(ANONYMOUS, reader.session, Cancel(turn=turns[1]))
        await reader.done(3)
        await run_ticks()
        assert owner_of(hub, reader).task is None

    assert {done.turn: done.reason for done in reader.dones} == {
        turns[0]: "stop",
        turns[1]: "cancelled",
        turns[2]: "stop",
    }


async def test_cancel_of_a_waiting_question_leaves_the_running_one() -> None:
    """Its `done` stands between the slices of the running answer."""
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        first = await ask(hub, reader)
        second = await ask(hub, reader, "waits")
        await reader.heard("a")
        await hub.command(ANONYMOUS, reader.session, Cancel(turn=second))
        held.set()
        await reader.done(2)

    assert [(done.turn, done.reason) for done in reader.dones] == [(second, "cancelled"), (first, "stop")]
    assert (reader.answer(first), len(upstream.prompts), upstream.stopped) == ("ab", 1, 0)
    assert_valid_log(reader.events)


@pytest.mark.parametrize("turn", [None, "t1", "t99", "nonsense"])
async def test_there_is_nothing_to_cancel_retry_or_edit_in_an_empty_session(turn: str | None) -> None:
    """Said so, and nothing changed."""
    async with hub_of() as hub:
        reader = attach_reader(hub)
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, reader.session, Cancel(turn=turn))
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, reader.session, Retry(turn=turn))
        with pytest.raises(TurnNotFound):
            await hub.command(ANONYMOUS, reader.session, Edit(turn=turn or "t1", text="x"))
        assert (reader.events, reader.topic.log.head) == ([], 0)


@pytest.mark.parametrize(("when_busy", "error"), [("reject", Busy), ("queue", QueueFull), ("replace", QueueFull)])
async def test_no_more_wait_than_may(when_busy: WhenBusy, error: type[AskbotError]) -> None:
    """A question that is not taken changes nothing."""
    async with hub_of([asyncio.Event()], policy=Policy(max_waiting=1)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await ask(hub, reader)
        with pytest.raises(error):
            await ask(hub, reader, when_busy=when_busy)
        await run_ticks()
        assert (len(reader.questions), reader.dones) == (2, [])


async def test_replace_cancels_the_running_turn_first() -> None:
    """`when_busy: replace`."""
    upstream = ScriptedUpstream(["old", asyncio.Event()], ["new"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        first = await ask(hub, reader)
        await reader.heard("old")
        second = await ask(hub, reader, "other?", when_busy="replace")
        await reader.done(2)

    assert [(done.turn, done.reason) for done in reader.dones] == [(first, "cancelled"), (second, "stop")]
    assert (reader.answer(second), upstream.stopped) == ("new", 1)
    assert_valid_log(reader.events)


async def test_edit_while_it_runs_cancels_it_and_asks_the_other() -> None:
    """And whatever waited behind it; the model sees none of them."""
    upstream = ScriptedUpstream(["one"], ["two", asyncio.Event()], ["edited"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        first = await ask(hub, reader, "1?")
        await reader.done()
        second = await ask(hub, reader, "2?")
        third = await ask(hub, reader, "3?")
        await reader.heard("two")
        await hub.command(ANONYMOUS, reader.session, Edit(turn=second, text="2!"))
        await reader.done(4)

    assert {done.turn: done.reason for done in reader.dones[:3]} == {
        first: "stop",
        second: "cancelled",
        third: "cancelled",
    }
    assert (reader.questions[-1].replaces, reader.questions[-1].text) == (second, "2!")
    assert shown(upstream) == ["1?", "one", "2!"]
    assert_valid_log(reader.events)


async def test_retry_asks_the_last_question_again_without_its_answer() -> None:
    """Without `turn` it is the last one, also after a restart of the session."""
    upstream = ScriptedUpstream(["one"], ["two"], ["two again"], ["and again"])
    async with hub_of(upstream=upstream, policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        for number, text in enumerate(("1?", "2?"), 1):
            await ask(hub, reader, text)
            await reader.done(number)
        await hub.command(ANONYMOUS, reader.session, Retry())
        await reader.done(3)
        hub.detach(reader.topic, reader)
        again = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await hub.command(ANONYMOUS, again.session, Retry())
        await again.done()

    assert (reader.questions[-1].replaces, reader.questions[-1].text) == (reader.questions[1].turn, "2?")
    assert (again.questions[-1].replaces, again.questions[-1].text) == (reader.questions[2].turn, "2?")
    assert shown(upstream, 2) == shown(upstream, 3) == ["1?", "one", "2?"]


async def test_a_question_goes_through_the_guard_when_edited_too() -> None:
    """And the session stays as it was."""
    async with hub_of() as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.done()
        with pytest.raises(QuestionEmpty):
            await hub.command(ANONYMOUS, reader.session, Edit(turn=turn, text="\u2060"))
        assert len(reader.questions) == 1


async def test_more_answers_than_the_server_can_give_wait_and_more_than_may_wait_are_refused() -> None:
    """`max_turns` and `max_queued`; the log has what waits, the refusal a hint, and there is room again after it."""
    held = asyncio.Event()
    async with hub_of([held, "a"], policy=Policy(max_turns=1, max_queued=1)) as hub:
        one, two, three = attach_reader(hub), attach_reader(hub), attach_reader(hub)
        await ask(hub, one)
        await ask(hub, two)
        for asker in (one, three):
            with pytest.raises(Overloaded) as caught:
                await ask(hub, asker)
            assert caught.value.retry_after is not None
        assert (len(two.questions), two.dones, three.events, hub.is_busy(two.session)) == (1, [], [], True)
        held.set()
        await two.done()
        await run_ticks()
        await ask(hub, three)
        await three.done()


async def test_a_forgotten_session_is_gone_for_everybody() -> None:
    """Its turns end, the provider stops, all readers are told, and nothing is kept."""
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        other = attach_reader(hub, reader.topic)
        await ask(hub, reader)
        await ask(hub, reader, "waits")
        await reader.heard("a")
        await hub.command(ANONYMOUS, reader.session, Forget())
        assert (reader.codes, other.codes, upstream.stopped) == (["session_not_found"], ["session_not_found"], 1)
        hub.detach(reader.topic, reader)
        hub.detach(reader.topic, other)
        assert not await exists(hub, reader.session)
        assert hub.session_count == 0


@pytest.mark.parametrize("slow", [False, True])
async def test_a_command_that_waited_while_the_session_was_forgotten_finds_none(slow: bool) -> None:  # noqa: FBT001
    """It must not write into a log that is gone; the server goes on."""
    store = FragileStore()
    store.slow = slow
    async with hub_of(store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.done()
        outcomes = await asyncio.gather(
            hub.command(ANONYMOUS, reader.session, Forget()),
            hub.command(ANONYMOUS, reader.session, Ask(text="still there?")),
            hub.command(ANONYMOUS, reader.session, Retry()),
            hub.command(ANONYMOUS, reader.session, Edit(turn=turn, text="x")),
            hub.command(ANONYMOUS, reader.session, Cancel()),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes[1:]] == [SessionNotFound] * 4
        await ask(hub, other)
        await other.done()


async def test_whoever_stops_waiting_does_not_stop_the_question() -> None:
    """A connection that dies in the middle of an `ask` leaves no lock behind."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        store.gate.clear()
        asking = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask(id="q", text="why?")))
        await run_ticks()
        asking.cancel()
        await run_ticks()
        store.gate.set()
        await hub.command(ANONYMOUS, reader.session, Ask(id="q", text="why?"))
        await reader.done()

    assert len(reader.questions) == 1
