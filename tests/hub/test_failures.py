"""A store that fails: an error and an end, never silence, never a dead server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from askbot_ws.core.commands import Ask, Cancel, Edit, Forget, Retry
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import StoreError, TurnNotFound
from askbot_ws.events import Done, Event, Token, encode_event
from askbot_ws.testing import ScriptedUpstream

from .story import FragileStore, ask, assert_proven, assert_sound, exists, hub_of, listen, owner_of, rounds
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
        ear = listen(hub, store=store)
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Ask(id="q", text="why?"))
        await rounds()
        assert (ear.events, upstream.prompts, ear.topic.log.head, owner_of(hub, ear).task) == ([], [], 0, None)
        store.mend()
        await ask(hub, ear, id="q")
        done = await ear.done()

    assert (done.reason, len(upstream.prompts)) == ("stop", 1)
    assert_sound(store.stored)


@both
async def test_a_waiting_question_that_cannot_be_stored_leaves_the_running_one(slow: bool) -> None:  # noqa: FBT001
    """Only what was lost is undone."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b"])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub, store=store)
        turn = await ask(hub, ear)
        await ear.heard("a")
        store.break_down()
        with pytest.raises(StoreError):
            await ask(hub, ear, "waits")
        store.mend()
        held.set()
        done = await ear.done()

    assert (done.reason, done.turn, ear.answer(turn), len(upstream.prompts)) == ("stop", turn, "ab", 1)
    assert_sound(store.stored)


@both
async def test_an_answer_that_cannot_be_stored_ends_with_what_could(slow: bool) -> None:  # noqa: FBT001
    """The end proves the text that was shown, the provider stops, and the next question works."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["kept", held, "lost", asyncio.Event()], ["next"])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub, store=store)
        turn = await ask(hub, ear)
        await ear.heard("kept")
        store.break_down()
        held.set()
        done = await ear.done()
        await rounds()
        assert upstream.stopped == 1
        with pytest.raises(StoreError):
            await ask(hub, ear, "still broken?")
        store.mend()
        await ask(hub, ear, "next?")
        again = await ear.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, done.error.retryable, ear.answer(turn)) == ("error", "internal", True, "kept")
    assert_proven(done, "kept")
    assert again.reason == "stop"
    assert shown(upstream) == ["why?", "kept", "next?"]
    assert_sound(ear.events)
    assert_sound(store.stored)


@both
async def test_the_end_that_is_owed_is_stored_with_whatever_is_stored_next(slow: bool) -> None:  # noqa: FBT001
    """Also where nobody asks anything in that session again."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], store=store) as hub:
        ear, other = listen(hub), listen(hub)
        await ask(hub, ear)
        await ear.heard("kept")
        store.break_down()
        held.set()
        await ear.done()
        hub.detach(ear.topic, ear)
        store.mend()
        await ask(hub, other)
        await other.done()
        assert_sound(store.durable(ear.session))
        assert not owner_of(hub, ear).unstored


async def test_the_end_that_is_owed_is_stored_at_the_end_at_the_latest() -> None:
    """A server that stops leaves no turn open that it could have closed."""
    store = FragileStore()
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("kept")
        store.break_down()
        held.set()
        await ear.done()
        store.mend()

    assert_sound(store.stored)


@both
async def test_the_last_text_and_the_end_are_lost_with_a_question_waiting(slow: bool) -> None:  # noqa: FBT001
    """The end says what is left; the waiting question, whose turn had come, gets an end too, and the server goes on."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["kept", held, "lost"])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        first = await ask(hub, ear)
        second = await ask(hub, ear, "2?")
        await ear.heard("kept")
        store.broken = lambda events: any(isinstance(e, Done) or "lost" in e.text for e in events)
        held.set()
        await ear.done(2)
        store.mend()
        third = await ask(hub, ear, "3?")
        done = await ear.done(3)

    assert [(end.turn, end.reason) for end in ear.dones] == [(first, "error"), (second, "error"), (third, "stop")]
    assert ear.answer(first) == "kept"
    assert done.reason == "stop"
    assert_sound(ear.events)
    assert_sound(store.stored)


async def test_what_was_added_while_the_store_failed_is_told_to_whoever_waits_for_it() -> None:
    """A question in the batch after the one that is lost is lost as well: its asker must hear of it."""
    store = fragile(slow=True)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held, "b", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        store.gate.clear()
        store.break_down()
        held.set()
        await rounds()  # "b" is with the store now
        asking = asyncio.create_task(hub.command(ANONYMOUS, ear.session, Ask(text="2?")))
        await rounds()
        store.gate.set()
        with pytest.raises(StoreError):
            await asking
        done = await ear.done()
        store.mend()
        await ask(hub, ear, "3?")
        await ear.done(2)

    assert_proven(done, "a")
    assert [question.text for question in ear.questions] == ["why?", "3?"]
    assert_sound(store.stored)


async def test_one_session_s_loss_is_not_another_s() -> None:
    """They share a batch: both are told, and both go on."""
    store = FragileStore()
    async with hub_of(store=store) as hub:
        one, two = listen(hub), listen(hub)
        store.break_down()
        outcomes = await asyncio.gather(
            hub.command(ANONYMOUS, one.session, Ask(text="1?")),
            hub.command(ANONYMOUS, two.session, Ask(text="2?")),
            return_exceptions=True,
        )
        store.mend()
        assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
        for ear in (one, two):
            await ask(hub, ear)
            assert (await ear.done()).reason == "stop"
    assert_sound(store.durable(one.session))


@both
async def test_a_cancel_that_cannot_be_stored_still_stops_the_provider(slow: bool) -> None:  # noqa: FBT001
    """It ends as cancelled: no text was lost."""
    store = fragile(slow=slow)
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Cancel())
        done = await ear.done()
        await rounds()
        store.mend()

    assert (done.reason, upstream.stopped) == ("cancelled", 1)
    assert_sound(store.stored)


@both
async def test_a_crash_finds_the_ends_where_readers_saw_them(slow: bool) -> None:  # noqa: FBT001
    """Nothing could be stored: not the cancel of a question that waits, and not the running answer's end.

    The cancel did nothing, or its end would stand where the next server puts that of the older turn.
    """
    store, left = fragile(slow=slow), FragileStore()
    held = asyncio.Event()
    async with hub_of(["kept", held, "lost"], ["lost too"], store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("kept")
        waits = await ask(hub, ear, "waits")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Cancel(turn=waits))
        await rounds()
        assert not ear.dones
        held.set()
        await ear.done(2)
        left.create(ear.session)
        frames = [encode_event(event) for event in store.stored]
        assert left.append({ear.session: (store.stored, frames)}) == {}
        left.release(ear.session)
        left.unfinished = [ear.session]

    async with hub_of(store=left):
        ends = [event for event in left.stored if isinstance(event, Done)]
    assert [(end.turn, end.seq) for end in ends] == [(end.turn, end.seq) for end in ear.dones]
    assert [end.reason for end in ends] == ["interrupted"] * 2


@both
async def test_a_cancel_that_cannot_be_stored_leaves_the_question_in_its_place(slow: bool) -> None:  # noqa: FBT001
    """It is answered, if nobody cancels it again: in its turn, also where the running answer ended meanwhile."""
    store = fragile(slow=slow)
    held = asyncio.Event()
    upstream = ScriptedUpstream(["a", held])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear, "first")
        await ear.heard("a")
        turns = [await ask(hub, ear, text) for text in ("second", "third")]
        store.break_down()
        held.set()
        for turn in turns:
            with suppress(StoreError, TurnNotFound):
                await hub.command(ANONYMOUS, ear.session, Cancel(turn=turn))
        store.mend()
        await ear.done(3)

    assert sorted(end.turn for end in ear.dones) == sorted(question.turn for question in ear.questions)
    assert_sound(store.stored)


@both
async def test_a_session_that_cannot_be_forgotten_goes_on(slow: bool) -> None:  # noqa: FBT001
    """Whoever wanted it gone is told so, what was shown stands, and no answer is waited for."""
    store = fragile(slow=slow)
    async with hub_of(["a", asyncio.Event()], ["b"], store=store) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        await ask(hub, ear, "waits")
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Forget())
        store.mend()
        await ear.done(2)
        assert [end.turn for end in ear.dones] == [question.turn for question in ear.questions]
        await hub.command(ANONYMOUS, ear.session, Forget())
        assert not await exists(hub, ear.session)


@both
async def test_an_edit_that_cannot_be_stored_leaves_the_context_as_it_was(slow: bool) -> None:  # noqa: FBT001
    """The turn that would have been replaced still counts."""
    store = fragile(slow=slow)
    upstream = ScriptedUpstream(["one"], ["two"])
    async with hub_of(upstream=upstream, store=store) as hub:
        ear = listen(hub)
        turn = await ask(hub, ear, "1?")
        await ear.done()
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Ask(text="never?", when_busy="replace"))
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Edit(turn=turn, text="1!"))
        store.mend()
        await hub.command(ANONYMOUS, ear.session, Retry())
        await ear.done(2)
        assert ear.questions[-1].replaces == turn
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, ear.session, Edit(turn=ear.questions[-1].turn, text="1!"))
        store.mend()
        await ask(hub, ear, "2?")
        await ear.done(3)

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

    async with hub_of(*[["a", "b", "c"]] * 200, store=store) as hub:
        ears = [listen(hub, store=None) for _ in range(3)]
        store.broken = broken

        async def talk(number: int) -> int:
            ear, stored = ears[number], 0
            for question in range(15):
                try:
                    await hub.command(ANONYMOUS, ear.session, Ask(id=f"{question}", text=f"{question}?"))
                except StoreError:
                    continue
                stored += 1
            await ear.done(stored)
            return stored

        counts = await asyncio.gather(*(talk(number) for number in range(3)))
        store.mend()
        await rounds()
        for ear, asked in zip(ears, counts, strict=True):
            assert_sound(ear.events)
            assert len(ear.questions) == asked
            assert not hub.is_busy(ear.session)
    for ear in ears:
        assert_sound(store.durable(ear.session))
        assert _flat(store.durable(ear.session)) == _flat(ear.events)


def _flat(events: list[Event]) -> list[object]:
    return [
        (part, event.turn) for event in events for part in (event.text if isinstance(event, Token) else [event.type])
    ]
