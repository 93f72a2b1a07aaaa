"""What goes wrong in one session costs no other anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.commands import Ask, Forget
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import AskbotError, Internal, StoreError, UpstreamError, UpstreamRejected
from askbot_ws.events import Event, Token, encode_event
from askbot_ws.hub import Hub, Policy, group_commit
from askbot_ws.store import Entry, Failures
from askbot_ws.store.memory import MemoryStore
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import Ending

from .fakes import CheckedReader, FragileStore, ask, assert_valid_log, attach_reader, hub_of, owner_of, run_ticks


async def assert_answers(hub: Hub, reader: CheckedReader) -> None:
    """The session takes one more question, and ends it well."""
    known = len(reader.dones)
    await ask(hub, reader, f"still there? {known}")
    assert (await reader.done(known + 1)).reason == "stop"
    assert_valid_log(reader.events)


@pytest.mark.parametrize("model", ["m\ud800", "\udfff", "m" * 100_000, "\x00"])
async def test_a_models_name_that_cannot_be_said_costs_nothing(model: str) -> None:
    """A provider's name with half a surrogate pair stopped all commits of all sessions for ever."""
    async with hub_of(["a", Ending("stop", model=model)]) as hub:
        bad, good = attach_reader(hub), attach_reader(hub)
        await ask(hub, bad)
        done = await bad.done()
        await assert_answers(hub, good)
        await assert_answers(hub, bad)

    assert done.reason == "stop"
    assert encode_event(done)
    assert len(done.model) <= 200


async def test_an_error_message_that_cannot_be_said_costs_nothing() -> None:
    """A user's function may raise an upstream error with any text in it."""
    async with hub_of(["a", UpstreamRejected("no: \ud800" + "!" * 100_000)]) as hub:
        bad, good = attach_reader(hub), attach_reader(hub)
        await ask(hub, bad)
        done = await bad.done()
        await assert_answers(hub, good)

    assert done.error is not None
    assert (done.reason, done.error.code) == ("error", "upstream_rejected")
    assert done.error.message.startswith("no: \ufffd!")
    assert len(done.error.message) <= 1000


def failing(name: str, real: Callable[[Event], bytes]) -> Callable[[Event], bytes]:
    """An encoder that fails for the events of a session that have this text."""

    def encode(event: Event) -> bytes:
        if isinstance(event, Token) and event.text == name:
            raise ValueError("it can't be encoded")
        return real(event)

    return encode


@pytest.mark.parametrize("slow", [False, True], ids=["sync", "slow"])
async def test_what_cannot_be_encoded_costs_its_own_session_its_own_events(
    slow: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever else may come up there: the turn ends with an error, in the same tick others are stored and shown."""
    monkeypatch.setattr(group_commit, "encode_event", failing("poison", encode_event))
    gate = asyncio.Event()
    store = FragileStore()
    store.slow = slow
    async with hub_of([gate, "poison"], [gate, "fine"], store=store) as hub:
        bad, good = attach_reader(hub, store=store), attach_reader(hub, store=store)
        await ask(hub, bad)
        await ask(hub, good)
        await run_ticks()
        gate.set()
        assert (await good.done()).reason == "stop"
        done = await bad.done()
        await assert_answers(hub, good)
        await assert_answers(hub, bad)

    assert (done.reason, bad.answer("t1"), good.answer("t1")) == ("error", "", "fine")
    for reader in (bad, good):
        assert_valid_log(store.durable(reader.session))


class Raising(MemoryStore):
    """A store that breaks its word: its append raises."""

    broken = False

    def append(self, batch: Mapping[str, Entry]) -> Failures:
        if self.broken:
            raise RuntimeError("a fault of the store's")
        return super().append(batch)


async def test_a_store_that_raises_does_not_end_the_commits() -> None:
    """Every tick has a next one."""
    store = Raising()
    async with Hub(store, ScriptedUpstream(), Policy()) as hub:
        reader = attach_reader(hub)
        store.broken = True
        with pytest.raises(StoreError):
            await ask(hub, reader)
        store.broken = False
        await assert_answers(hub, reader)


class Unwell(CheckedReader):
    """A reader that fails at its first event."""

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        raise ZeroDivisionError


async def test_a_reader_that_fails_is_closed_and_nobody_else_is() -> None:
    """Neither the other readers of the session, nor other sessions of the tick, nor those who wait for the commit."""
    async with hub_of() as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        unwell = Unwell(reader.topic)
        hub.attach(reader.topic, unwell)
        await asyncio.gather(ask(hub, reader), ask(hub, other))
        await asyncio.gather(reader.done(), other.done())
        await assert_answers(hub, reader)

    assert (unwell.codes, reader.codes) == (["internal"], [])


@pytest.mark.parametrize("place", ["mark_stored", "roll_back"])
async def test_a_session_in_which_a_fault_of_ours_comes_up_is_opened_anew(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store has of it is the truth: readers are closed, its turn is interrupted, the next question works."""
    store = FragileStore()
    gate = asyncio.Event()
    async with hub_of(["a", gate, "b"], store=store) as hub:
        bad, good = attach_reader(hub), attach_reader(hub)
        await ask(hub, bad)
        await bad.heard("a")
        state = owner_of(hub, bad).state

        def fault(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(state), place, fault)
        if place == "roll_back":
            store.broken = lambda events: events[0].session == bad.session
        gate.set()
        while not bad.codes:  # noqa: ASYNC110 - what it waits for is not in the log
            await asyncio.sleep(0)
        monkeypatch.undo()
        store.mend()
        await run_ticks()
        again = attach_reader(hub, await hub.open(ANONYMOUS, bad.session))
        await assert_answers(hub, good)
        await ask(hub, again, "still there?")
        await again.done()
        turns = (await hub.history(again.topic, limit=9)).turns

    assert bad.codes == ["internal"]
    assert [turn.reason for turn in turns][-1] == "stop"
    assert all(turn.reason for turn in turns)
    assert_valid_log(store.durable(bad.session))


async def test_a_writer_that_has_lost_its_place_is_replaced() -> None:
    """Somebody else has appended, or ours believes that the log is elsewhere: it is opened anew, from the store."""
    store = FragileStore()
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub, store=store)
        await assert_answers(hub, reader)
        owner_of(hub, reader).state.head += 5
        with pytest.raises(StoreError):
            await ask(hub, reader, "lost?")
        await run_ticks()
        again = attach_reader(hub, await hub.open(ANONYMOUS, reader.session))
        await ask(hub, again, "again?")
        await again.done()

    assert reader.codes == ["internal"]
    assert_valid_log(store.durable(reader.session))


async def test_a_command_that_waits_while_its_session_is_reset_is_not_told_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client would forget the session by that; it may try again."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        store.gate.clear()
        first = asyncio.create_task(ask(hub, reader, "one"))
        await run_ticks()
        second = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask("two")))
        await run_ticks()

        def fault(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(owner_of(hub, reader).state), "mark_stored", fault)
        store.gate.set()
        await asyncio.wait([first])
        with pytest.raises(Internal):
            await second


# --- turns whose tasks end in other ways -----------------------------------------------------------------------------


class Leaving:
    """An upstream that ends its task instead of its answer."""

    model = "m"

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def ping(self) -> None:
        """Always there."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        on_text("half")
        await asyncio.sleep(0)
        error, self.error = self.error, None
        if error is not None:
            raise error
        return Ending("stop")


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ZeroDivisionError(), GeneratorExit(), UpstreamError()])
async def test_whatever_ends_a_turns_task_its_turn_ends(error: BaseException) -> None:
    """A cancellation that nobody asked for ended the task and not the turn: no `done`, and the session waited."""
    async with hub_of(upstream=Leaving(error)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await ask(hub, reader, "waits")
        first, second = await reader.done(1), await reader.done(2)

    assert (first.reason, reader.answer("t1"), second.reason) == ("error", "half", "stop")


async def test_a_failure_of_the_store_is_no_fault_of_the_turn() -> None:
    """It is foreseen: one line says that the store failed, and none has a traceback of the turn."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.done()
        store.gate.clear()
        with capture_logs() as lines:
            asking = asyncio.gather(
                *[hub.command(ANONYMOUS, reader.session, Ask(f"{number}?")) for number in range(3)],
                return_exceptions=True,
            )
            await run_ticks()
            store.break_down()
            store.gate.set()
            outcomes = await asking
            await run_ticks()
        store.mend()
        await assert_answers(hub, reader)

    assert any(isinstance(outcome, StoreError) for outcome in outcomes)
    events = {str(line["event"]) for line in lines}
    assert "store_write_failed" in events
    assert "turn_failed" not in events


# --- forgetting ------------------------------------------------------------------------------------------------------


class Stubborn(FragileStore):
    """A store that can't delete, for a while."""

    stubborn = True

    async def forget(self, *sessions: str) -> None:
        if self.stubborn:
            raise StoreError
        await super().forget(*sessions)


async def test_a_session_that_cannot_be_forgotten_is_as_it_was() -> None:
    """Its readers read on, it takes questions, and a later attempt works."""
    store = Stubborn()
    async with hub_of(store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await assert_answers(hub, reader)
        with pytest.raises(StoreError):
            await hub.command(ANONYMOUS, reader.session, Forget())
        await assert_answers(hub, reader)
        store.stubborn = False
        await hub.command(ANONYMOUS, reader.session, Forget())
        await assert_answers(hub, other)

    assert reader.codes == ["session_not_found"]


async def test_an_end_that_is_still_to_be_stored_leaves_with_its_session() -> None:
    """It made every later batch of every session fail, until a restart."""
    store = FragileStore()
    gate = asyncio.Event()
    async with hub_of(["a", gate, "b"], store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        store.break_down()
        gate.set()
        await reader.done()
        assert owner_of(hub, reader).unstored
        store.mend()
        await hub.command(ANONYMOUS, reader.session, Forget())
        await assert_answers(hub, other)
        await assert_answers(hub, other)


async def test_an_end_that_is_still_to_be_stored_is_not_tried_at_each_token() -> None:
    """A thousand of them, on a full disk, would stop the loop at each tick; with the session's next event it goes."""
    store, attempts = FragileStore(), 0
    gate = asyncio.Event()
    async with hub_of(["a", gate, "b"], ["x"] * 50, store=store) as hub:
        reader, other = attach_reader(hub), attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")

        def broken(events: Sequence[Event]) -> bool:
            nonlocal attempts
            attempts += events[0].session == reader.session
            return events[0].session == reader.session

        store.broken = broken
        gate.set()
        await reader.done()
        await ask(hub, other)
        await other.done()
        assert attempts <= 2
        store.mend()
        await ask(hub, reader)
        await reader.done(2)

    assert_valid_log(store.durable(reader.session))


async def test_who_opens_a_session_while_it_is_deleted_does_not_get_it() -> None:
    """Neither before nor after: it was attached, and each later event of it failed."""

    class Slow(FragileStore):
        async def forget(self, *sessions: str) -> None:
            await run_ticks(5)
            await super().forget(*sessions)
            await run_ticks(5)

    async with hub_of(store=Slow(), policy=Policy(memory=0)) as hub:
        reader = attach_reader(hub)
        await assert_answers(hub, reader)
        hub.detach(reader.topic, reader)
        await run_ticks()
        forgetting = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Forget()))
        opened: list[CheckedReader] = []
        codes: list[str] = []
        while not forgetting.done():
            try:
                opened.append(attach_reader(hub, await hub.open(ANONYMOUS, reader.session)))
            except AskbotError as error:
                codes.append(error.code)
            await asyncio.sleep(0)
        await forgetting
        assert all(each.codes == ["session_not_found"] for each in opened)
        assert hub.session_count == 0
        await assert_answers(hub, attach_reader(hub))


# --- memory ----------------------------------------------------------------------------------------------------------


async def test_the_ids_of_questions_are_counted_and_their_texts_are_not_kept() -> None:
    """256 ids of questions of 100 KB were 26 MB that no book knew of."""
    async with hub_of(policy=Policy(max_question=10**6)) as hub:
        reader = attach_reader(hub)
        for number in range(20):
            await ask(hub, reader, f"{number}" * 50_000, id=f"q{number}")
            await reader.done(number + 1)
        state = owner_of(hub, reader).state
        known = dict(state.known_questions)
        state.context = None

        assert state.memory_bytes >= 20 * 250
        assert all(isinstance(value, int) for each in known.values() for value in each)


async def test_what_rests_is_weighed_again_before_it_has_to_go() -> None:
    """The store takes from a log what it has; a session that was heavy when it came to rest may be light by now."""
    async with hub_of(policy=Policy(memory=250_000)) as hub:
        heavy = attach_reader(hub)
        await ask(hub, heavy, "x" * 7000)
        await heavy.done()
        await run_ticks()
        for _ in range(6):
            await ask(hub, heavy, "x" * 7000)
            await heavy.done(len(heavy.dones) + 1)
        hub.detach(heavy.topic, heavy)
        await run_ticks()
        heavy.topic.log.trim(keep=100, until=heavy.topic.log.head)  # as the store does it
        others = [attach_reader(hub) for _ in range(3)]
        for other in others:
            await ask(hub, other, "y" * 4000)
            await other.done()
            hub.detach(other.topic, other)
        await run_ticks()

        assert await hub.open(ANONYMOUS, heavy.session) is heavy.topic
