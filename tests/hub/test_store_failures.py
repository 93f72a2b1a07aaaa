"""A store that fails: an error and an end, never silence, never a dead server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.commands import Ask, Cancel, Edit, Forget, Retry
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import StoreError, TurnNotFound
from askbot_ws.events import Done, Event, TextSlice, TurnEvent, encode_event
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import ThinkingText

from .fakes import (
    FragileStore,
    ask,
    assert_proven,
    assert_valid_log,
    attach_reader,
    exists,
    hub_of,
    owner_of,
    run_ticks,
)
from .test_turn_runner import shown

both = pytest.mark.parametrize("slow", [False, True], ids=["at once", "after a while"])


def fragile(*, slow: bool) -> FragileStore:
    store = FragileStore()
    store.slow = slow
    return store


@both
async def test_a_question_that_cannot_be_stored_was_never_asked(slow: bool) -> None:  # noqa: FBT001
    """The client is told; sent again with the same id it is asked, once, when the store is back."""
    store = fragile(slow=slow)
    upstream = ScriptedUpstream()
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub, store=store)
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Ask(id="q", text="why?"))
        await run_ticks()
        assert (reader.events, upstream.prompts, reader.topic.log.head, owner_of(hub, reader).task) == ([], [], 0, None)
        store.mend()
        await ask(hub, reader, id="q")
        done = await reader.done()

    assert (done.reason, len(upstream.prompts)) == ("stop", 1)
    assert_valid_log(store.stored)


@both
async def test_a_waiting_question_that_cannot_be_stored_leaves_the_running_one(slow: bool) -> None:  # noqa: FBT001
    """Only what was lost is undone."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub, store=store)
        turn = await ask(hub, reader)
        await reader.heard("a")
        store.break_down()
        with pytest.raises(StoreError):
            await ask(hub, reader, "waits")
        store.mend()
        held.set()
        done = await reader.done()

    assert (done.reason, done.turn, reader.answer(turn), len(upstream.prompts)) == ("stop", turn, "ab", 1)
    assert_valid_log(store.stored)


@both
async def test_an_answer_that_cannot_be_stored_ends_with_what_could(slow: bool) -> None:  # noqa: FBT001
    """The end proves the text that was shown, the provider stops, and the next question works."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["kept", held, "lost", asyncio.Event()], ["next"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub, store=store)
        turn = await ask(hub, reader)
        await reader.heard("kept")
        store.break_down()
        held.set()
        done = await reader.done()
        await run_ticks()
        assert upstream.stopped == 1
        with pytest.raises(StoreError):
            await ask(hub, reader, "still broken?")
        store.mend()
        await ask(hub, reader, "next?")
        again = await reader.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, done.error.retryable, reader.answer(turn)) == (
        "error",
        "internal",
        True,
        "kept",
    )
    assert_proven(done, "kept")
    assert again.reason == "stop"
    assert shown(upstream) == ["why?", "kept", "next?"]
    assert_valid_log(reader.events)
    assert_valid_log(store.stored)


@both
async def test_reasoning_that_cannot_be_stored_ends_the_turn(*, slow: bool) -> None:
    """As text does, with the proof of the text that there is; the provider stops."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream([ThinkingText("kept"), "so", held, ThinkingText("lost"), asyncio.Event()], ["next"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub, store=store)
        await ask(hub, reader)
        await reader.heard("so")
        store.break_down()
        held.set()
        done = await reader.done()
        await run_ticks()
        assert upstream.stopped == 1
        store.mend()
        await ask(hub, reader, "next?")
        await reader.done(2)

    assert (done.reason, reader.slices) == ("error", [("Thinking", "kept"), ("Token", "sonext")])
    assert_proven(done, "so")
    assert shown(upstream) == ["why?", "so", "next?"]
    assert_valid_log(store.stored)


@both
async def test_the_end_that_is_owed_is_stored_with_whatever_is_stored_next(slow: bool) -> None:  # noqa: FBT001
    """Also where nobody asks anything in that session again."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("kept")
        store.break_down()
        held.set()
        await reader.done()
        hub.detach(reader.topic, reader)
        store.mend()
        await ask(hub, other)
        await other.done()
        assert_valid_log(store.durable(reader.session))
        assert not owner_of(hub, reader).unstored


async def test_the_end_that_is_owed_is_stored_at_the_end_at_the_latest() -> None:
    """A server that stops leaves no turn open that it could have closed."""
    store = FragileStore()
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("kept")
        store.break_down()
        held.set()
        await reader.done()
        store.mend()

    assert_valid_log(store.stored)


@both
async def test_the_last_text_and_the_end_are_lost_with_a_question_waiting(slow: bool) -> None:  # noqa: FBT001
    """The end says what is left; the waiting question, whose turn had come, gets an end too, and the server goes on."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["kept", held, "lost"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        first = await ask(hub, reader)
        second = await ask(hub, reader, "2?")
        await reader.heard("kept")
        store.broken = lambda events: any(
            isinstance(e, Done) or (isinstance(e, TextSlice) and "lost" in e.text) for e in events
        )
        held.set()
        await reader.done(2)
        store.mend()
        third = await ask(hub, reader, "3?")
        done = await reader.done(3)

    assert [(end.turn, end.reason) for end in reader.dones] == [(first, "error"), (second, "error"), (third, "stop")]
    assert reader.answer(first) == "kept"
    assert done.reason == "stop"
    assert_valid_log(reader.events)
    assert_valid_log(store.stored)


async def test_what_was_added_while_the_store_failed_is_told_to_whoever_waits_for_it() -> None:
    """A question in the batch after the one that is lost is lost as well: its asker must hear of it."""
    store = fragile(slow=True)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        store.gate.clear()
        store.break_down()
        held.set()
        await run_ticks()  # "b" is with the store now
        asking = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask(text="2?")))
        await run_ticks()
        store.gate.set()
        with pytest.raises(StoreError):
            await asking
        done = await reader.done()
        store.mend()
        await ask(hub, reader, "3?")
        await reader.done(2)

    assert_proven(done, "a")
    assert [question.text for question in reader.questions] == ["why?", "3?"]
    assert_valid_log(store.stored)


async def test_one_session_s_loss_is_not_another_s() -> None:
    """They share a batch: both are told, and both go on."""
    store = FragileStore()
    async with hub_of(store=store) as hub:
        one, two = attach_reader(hub), attach_reader(hub)
        store.break_down()
        outcomes = await asyncio.gather(
            hub.command(ANONYMOUS, one.session, Ask(text="1?")),
            hub.command(ANONYMOUS, two.session, Ask(text="2?")),
            return_exceptions=True,
        )
        store.mend()
        assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
        for reader in (one, two):
            await ask(hub, reader)
            assert (await reader.done()).reason == "stop"
    assert_valid_log(store.durable(one.session))


@both
async def test_a_cancel_that_cannot_be_stored_still_stops_the_provider(slow: bool) -> None:  # noqa: FBT001
    """It ends as cancelled: no text was lost."""
    store = fragile(slow=slow)
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Cancel())
        done = await reader.done()
        await run_ticks()
        store.mend()

    assert (done.reason, upstream.stopped) == ("cancelled", 1)
    assert_valid_log(store.stored)


@both
async def test_a_crash_finds_the_ends_where_readers_saw_them(slow: bool) -> None:  # noqa: FBT001
    """Nothing could be stored: not the cancel of a question that waits, and not the running answer's end.

    The cancel did nothing, or its end would stand where the next server puts that of the older turn.
    """
    store, left = fragile(slow=slow), FragileStore()
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], ["lost too"], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("kept")
        waits = await ask(hub, reader, "waits")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Cancel(turn=waits))
        await run_ticks()
        assert not reader.dones
        held.set()
        await reader.done(2)
        left.create(reader.session)
        frames = [encode_event(event) for event in store.stored]
        assert left.append({reader.session: (store.stored, frames)}) == {}
        left.release(reader.session)
        left.unfinished = [reader.session]

    async with hub_of(store=left):
        ends = [event for event in left.stored if isinstance(event, Done)]
    assert [(end.turn, end.seq) for end in ends] == [(end.turn, end.seq) for end in reader.dones]
    assert [end.reason for end in ends] == ["interrupted"] * 2


@both
async def test_a_cancel_that_cannot_be_stored_leaves_the_question_in_its_place(slow: bool) -> None:  # noqa: FBT001
    """It is answered, if nobody cancels it again: in its turn, also where the running answer ended meanwhile."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "first")
        await reader.heard("a")
        turns = [await ask(hub, reader, text) for text in ("second", "third")]
        store.break_down()
        held.set()
        for turn in turns:
            with suppress(StoreError, TurnNotFound):
                await hub.command(ANONYMOUS, reader.session, Cancel(turn=turn))
        store.mend()
        await reader.done(3)

    assert sorted(end.turn for end in reader.dones) == sorted(question.turn for question in reader.questions)
    assert_valid_log(store.stored)


@both
async def test_a_session_that_cannot_be_forgotten_goes_on(slow: bool) -> None:  # noqa: FBT001
    """Whoever wanted it gone is told so, what was shown stands, and no answer is waited for."""
    store = fragile(slow=slow)
    async with hub_of(["a", asyncio.Event()], ["b"], store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        await ask(hub, reader, "waits")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Forget())
        store.mend()
        await reader.done(2)
        assert [end.turn for end in reader.dones] == [question.turn for question in reader.questions]
        await hub.command(ANONYMOUS, reader.session, Forget())
        assert not await exists(hub, reader.session)


@both
async def test_an_edit_that_cannot_be_stored_leaves_the_context_as_it_was(slow: bool) -> None:  # noqa: FBT001
    """The turn that would have been replaced still counts."""
    store = fragile(slow=slow)
    upstream = ScriptedUpstream(["one"], ["two"])
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader, "1?")
        await reader.done()
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Ask(text="never?", when_busy="replace"))
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Edit(turn=turn, text="1!"))
        store.mend()
        await hub.command(ANONYMOUS, reader.session, Retry())
        await reader.done(2)
        assert reader.questions[-1].replaces == turn
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Edit(turn=reader.questions[-1].turn, text="1!"))
        store.mend()
        await ask(hub, reader, "2?")
        await reader.done(3)

    assert shown(upstream) == ["1?", "two", "2?"]


@both
async def test_a_store_that_fails_now_and_then_never_breaks_a_promise(slow: bool) -> None:  # noqa: FBT001
    """Every third batch is lost, whatever is in it: logs stay sound, and everybody gets an answer or an error."""
    store = fragile(slow=slow)
    count = 0

    def broken(_: object) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0

    async with hub_of(*[["a", ThinkingText("b"), "c"]] * 200, store=store) as hub:
        readers = [attach_reader(hub, store=None) for _ in range(3)]
        store.broken = broken

        async def talk(number: int) -> int:
            reader, stored = readers[number], 0
            for question in range(15):
                try:
                    await hub.command(ANONYMOUS, reader.session, Ask(id=f"{question}", text=f"{question}?"))
                except StoreError:
                    continue
                stored += 1
            await reader.done(stored)
            return stored

        counts = await asyncio.gather(*(talk(number) for number in range(3)))
        store.mend()
        await run_ticks()
        for reader, asked in zip(readers, counts, strict=True):
            assert_valid_log(reader.events)
            assert len(reader.questions) == asked
            assert not hub.is_busy(reader.session)
    for reader in readers:
        assert_valid_log(store.durable(reader.session))
        assert _flat(store.durable(reader.session)) == _flat(reader.events)


def _flat(events: list[Event]) -> list[object]:
    return [
        (part, event.type, event.turn if isinstance(event, TurnEvent) else "")
        for event in events
        for part in (event.text if isinstance(event, TextSlice) else [event.type])
    ]


def _has(kind: type[TextSlice | Done], events: Sequence[Event]) -> bool:
    return any(isinstance(event, kind) for event in events)


@both
async def test_a_turn_that_loses_its_end_is_counted_and_logged_once(slow: bool) -> None:  # noqa: FBT001
    """Whether it is its text that can't be stored, or its end, which is logged before that is known."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b"], ["c", held])
    with capture_logs() as logged:
        async with hub_of(upstream=upstream, store=store) as hub:
            for lost in (TextSlice, Done):
                held.clear()
                reader = attach_reader(hub, store=store)
                await ask(hub, reader)
                await reader.heard("a" if lost is TextSlice else "c")
                store.broken = partial(_has, lost)
                held.set()
                await reader.done()
                store.mend()
            counted = hub.metrics.turns.total()

    assert counted == len([line for line in logged if line["event"] == "turn_ended"]) == 2
