"""The life of a question in the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from askbot_ws.core.commands import Ask
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import ContextTooLong, Forbidden, QuestionEmpty, QuestionTooLong, SessionNotFound, UpstreamStalled
from askbot_ws.events import Options, Question, Token, Usage
from askbot_ws.hub import Policy
from askbot_ws.hub.turn_runner import MAX_ANSWER_CHARS
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import Ending

from .story import FragileStore, ask, assert_proven, assert_sound, hub_of, listen, owner_of, rounds


class Asserting(ScriptedUpstream):
    """Holds the hub to it that the question is stored before anybody is asked."""

    def __init__(self, store: FragileStore) -> None:
        super().__init__()
        self._store = store

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        stored = [event.text for event in self._store.stored if isinstance(event, Question)]
        assert prompt.messages[-1].text in stored
        return await super().stream(prompt, on_text)


class Endless(ScriptedUpstream):
    """A provider that never ends."""

    stopped: int

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        self.prompts.append(prompt)
        try:
            while True:
                on_text("x" * 2**18)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.stopped += 1
            raise


def shown(upstream: ScriptedUpstream, number: int = -1) -> list[str]:
    return [message.text for message in upstream.prompts[number].messages]


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "after a while"])
async def test_a_question_is_answered(slow: bool) -> None:  # noqa: FBT001
    """Question, text, one end that proves the text; and nobody is shown what is not stored."""
    store = FragileStore()
    store.slow = slow
    async with hub_of(["Be", "", "cause."], store=store) as hub:
        ear = listen(hub, store=store)
        turn = await ask(hub, ear, id="q1")
        done = await ear.done()

    assert (done.reason, done.turn, done.model, ear.answer(turn)) == ("stop", turn, "scripted", "Because.")
    assert ear.questions[0].id == "q1"
    assert_proven(done, "Because.")
    assert_sound(ear.events)
    assert_sound(store.stored)


@pytest.mark.parametrize("slow", [False, True])
async def test_the_question_is_stored_before_the_upstream_is_asked(slow: bool) -> None:  # noqa: FBT001
    """Else a crash in between would have it asked twice."""
    store = FragileStore()
    store.slow = slow
    upstream = Asserting(store)
    async with hub_of(store=store, upstream=upstream) as hub:
        ear = listen(hub)
        await ask(hub, ear, "one")
        await ask(hub, ear, "two")
        done = await ear.done(2)

    assert (done.reason, len(upstream.prompts)) == ("stop", 2)


async def test_nothing_is_shown_while_the_disk_is_busy() -> None:
    """Promise 2: the text is there, but not stored."""
    store = FragileStore()
    store.slow = True
    async with hub_of(["text"], store=store) as hub:
        ear = listen(hub, store=store)
        store.gate.clear()
        asking = asyncio.create_task(hub.command(ANONYMOUS, ear.session, Ask(text="why?")))
        await rounds()
        assert (ear.events, asking.done()) == ([], False)
        store.gate.set()
        await asking
        await ear.done()


async def test_one_turn_runs_at_a_time_and_the_others_wait_in_order() -> None:
    """They are in the log at once; that is their acknowledgement."""
    held = asyncio.Event()
    async with hub_of([held, "1"], ["2"], ["3"]) as hub:
        ear = listen(hub)
        turns = [await ask(hub, ear, text) for text in ("one", "two", "three")]
        assert [question.turn for question in ear.questions] == turns
        held.set()
        await ear.done(3)

    assert [done.turn for done in ear.dones] == turns
    assert [ear.answer(turn) for turn in turns] == ["1", "2", "3"]
    assert_sound(ear.events)


async def test_a_second_question_is_shown_the_first_answer() -> None:
    """A conversation, with the persona first."""
    upstream = ScriptedUpstream(["one"], ["two"])
    async with hub_of(upstream=upstream, policy=Policy(persona="be kind")) as hub:
        ear = listen(hub)
        await ask(hub, ear, "1?")
        await ear.done()
        await ask(hub, ear, "2?")
        await ear.done(2)

    assert shown(upstream) == ["be kind", "1?", "one", "2?"]


async def test_generation_goes_on_when_nobody_reads() -> None:
    """Who comes back finds the whole answer."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"]) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ear.heard("a")
        hub.detach(ear.topic, ear)
        held.set()
        await rounds()
        live = await hub.open(ANONYMOUS, ear.session)
        events = live.log.read(after=0)

    assert_sound(events)
    assert [event.text for event in events if isinstance(event, Token)] == ["ab"]


async def test_an_answer_for_nobody_is_given_up_where_the_policy_says_so() -> None:
    """`abandon_after`: running and waiting turns end, the provider stops."""
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, policy=Policy(abandon_after=0.0)) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        await ask(hub, ear, "waits")
        await ear.heard("a")
        hub.detach(ear.topic, ear)
        other = await hub.open(ANONYMOUS, ear.session)
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, later.set_result, None)
        await later
        assert not hub.is_busy(other.session)
        turns = await hub.store.turns(other.session, limit=9)

    assert ([turn.reason for turn in turns], upstream.stopped) == (["cancelled", "cancelled"], 1)


async def test_a_reader_that_comes_back_in_time_saves_the_answer() -> None:
    """Also where it left twice."""
    held = asyncio.Event()
    async with hub_of(["a", held], policy=Policy(abandon_after=0.01)) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        hub.detach(ear.topic, ear)
        hub.detach(ear.topic, ear)
        hub.attach(ear.topic, ear)
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.03, later.set_result, None)
        await later
        held.set()
        done = await ear.done()

    assert done.reason == "stop"


async def test_what_the_upstream_reports_ends_the_turn_and_only_that() -> None:
    """The text so far is kept, the code says what happened, the next question is answered."""
    async with hub_of(["half", UpstreamStalled()], ["whole"]) as hub:
        ear = listen(hub)
        first = await ask(hub, ear)
        done = await ear.done()
        second = await ask(hub, ear)
        await ear.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, done.error.retryable) == ("error", "upstream_stalled", True)
    assert (ear.answer(first), ear.answer(second)) == ("half", "whole")
    assert_sound(ear.events)


async def test_a_bug_in_the_upstream_ends_that_turn_and_only_that() -> None:
    """Its words stay in the log; other sessions don't notice."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], [RuntimeError("secret")], ["fine"]) as hub:
        other, ear = listen(hub), listen(hub)
        turn = await ask(hub, other)
        await other.heard("a")
        await ask(hub, ear)
        done = await ear.done()
        held.set()
        await other.done()
        await ask(hub, ear)
        again = await ear.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, "secret" in done.error.message) == ("error", "internal", False)
    assert (other.answer(turn), again.reason) == ("ab", "stop")


async def test_half_surrogates_from_the_upstream_become_whole_characters() -> None:
    """And what never finds its other half is shown as such."""
    async with hub_of(["\ud83d", "\ude42!", "\ud83d"]) as hub:
        ear = listen(hub)
        turn = await ask(hub, ear)
        await ear.done()

    assert ear.answer(turn) == "🙂!\ufffd"
    assert_sound(ear.events)


async def test_an_answer_that_never_ends_is_ended() -> None:
    """With `length`, and the provider is stopped, so that the next question has its turn."""
    upstream = Endless()
    async with hub_of(upstream=upstream) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        done = await ear.done()
        await rounds()
        assert (done.reason, done.check.chars > MAX_ANSWER_CHARS, upstream.stopped) == ("length", True, 1)
        assert owner_of(hub, ear).task is None
    assert_sound(ear.events)


async def test_a_conversation_that_is_too_long_is_asked_with_less_of_it() -> None:
    """Older turns are left out until the provider takes it; the reader sees one answer."""
    upstream = ScriptedUpstream(*[["x" * 100]] * 8, [ContextTooLong()], [ContextTooLong()], ["short"])
    async with hub_of(upstream=upstream) as hub:
        ear = listen(hub)
        for number in range(8):
            await ask(hub, ear, f"{number}?")
            await ear.done(number + 1)
        turn = await ask(hub, ear, "and?")
        done = await ear.done(9)

    assert (done.reason, ear.answer(turn)) == ("stop", "short")
    assert [len(prompt.messages) for prompt in upstream.prompts[-3:]] == [17, 7, 3]
    assert shown(upstream) == ["7?", "x" * 100, "and?"]


async def test_a_question_too_long_by_itself_ends_with_that() -> None:
    """There is nothing more to leave out."""
    async with hub_of([ContextTooLong()], policy=Policy(persona="kind")) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        done = await ear.done()

    assert done.error is not None
    assert done.error.code == "context_too_long"


async def test_what_the_provider_counts_is_shown() -> None:
    """`usage`, `model` and the reason are the provider's."""
    ending = Ending("length", model="big-1", usage=Usage(input_tokens=3, output_tokens=4))
    async with hub_of(upstream=ScriptedUpstream(["text", ending])) as hub:
        ear = listen(hub)
        await ask(hub, ear)
        done = await ear.done()

    assert (done.reason, done.model, done.usage) == ("length", "big-1", Usage(input_tokens=3, output_tokens=4))


async def test_the_guard_and_the_options_come_before_the_log() -> None:
    """What is not allowed changes nothing."""
    async with hub_of(policy=Policy(max_question=5, models=frozenset({"m"}), max_tokens=10)) as hub:
        ear = listen(hub)
        for frame, error in (
            (Ask(text=" \u200b"), QuestionEmpty),
            (Ask(text="123456"), QuestionTooLong),
            (Ask(text="a?", options=Options(model="other")), Forbidden),
            (Ask(text="a?", options=Options(max_tokens=11)), Forbidden),
        ):
            with pytest.raises(error):
                await hub.command(ANONYMOUS, ear.session, frame)
        await rounds()
        assert ear.events == []
        await ask(hub, ear, "a?", options=Options(model="m", max_tokens=10, temperature=0.5))
        done = await ear.done()

    assert done.model == "m"


async def test_unknown_sessions_are_not_found() -> None:
    """And leave nothing behind."""
    async with hub_of() as hub:
        with pytest.raises(SessionNotFound):
            await hub.open(ANONYMOUS, "nobody")
        assert hub.session_count == 0


async def test_a_fresh_session_that_nobody_used_leaves_nothing() -> None:
    """Connecting and going costs nothing."""
    async with hub_of() as hub:
        ear = listen(hub)
        hub.detach(ear.topic, ear)
        assert hub.session_count == 0
