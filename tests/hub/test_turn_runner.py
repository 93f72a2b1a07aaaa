"""The life of a question in the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from askbot_ws import events
from askbot_ws.core.commands import Ask, Cancel, Edit, Retry
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.core.prompt import Prompt
from askbot_ws.errors import (
    ContextTooLong,
    Forbidden,
    QuestionEmpty,
    QuestionTooLong,
    SessionNotFound,
    UpstreamError,
    UpstreamStalled,
)
from askbot_ws.events import Done, Options, Question, Token, Usage
from askbot_ws.hub import Hub, Policy
from askbot_ws.hub.turn_runner import MAX_ANSWER_CHARS
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending, ThinkingText
from askbot_ws.upstream.provider_errors import error_from_response

from .fakes import (
    CheckedReader,
    FragileStore,
    ask,
    assert_proven,
    assert_valid_log,
    attach_reader,
    hub_of,
    owner_of,
    run_ticks,
)


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
    """A provider that never ends, and says these pieces again and again."""

    stopped: int

    def __init__(self, *pieces: str) -> None:
        super().__init__()
        self._pieces = pieces

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        self.prompts.append(prompt)
        try:
            while True:
                for piece in self._pieces:
                    on_text(piece)
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
        reader = attach_reader(hub, store=store)
        turn = await ask(hub, reader, id="q1")
        done = await reader.done()

    assert (done.reason, done.turn, done.model, reader.answer(turn)) == ("stop", turn, "scripted", "Because.")
    assert reader.questions[0].id == "q1"
    assert_proven(done, "Because.")
    assert_valid_log(reader.events)
    assert_valid_log(store.stored)


@pytest.mark.parametrize("slow", [False, True])
async def test_the_question_is_stored_before_the_upstream_is_asked(slow: bool) -> None:  # noqa: FBT001
    """Else a crash in between would have it asked twice."""
    store = FragileStore()
    store.slow = slow
    upstream = Asserting(store)
    async with hub_of(store=store, upstream=upstream) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "one")
        await ask(hub, reader, "two")
        done = await reader.done(2)

    assert (done.reason, len(upstream.prompts)) == ("stop", 2)


async def test_nothing_is_shown_while_the_disk_is_busy() -> None:
    """Promise 2: the text is there, but not stored."""
    store = FragileStore()
    store.slow = True
    async with hub_of(["text"], store=store) as hub:
        reader = attach_reader(hub, store=store)
        store.gate.clear()
        asking = asyncio.create_task(hub.command(ANONYMOUS, reader.session, Ask(text="why?")))
        await run_ticks()
        assert (reader.events, asking.done()) == ([], False)
        store.gate.set()
        await asking
        await reader.done()


async def test_one_turn_runs_at_a_time_and_the_others_wait_in_order() -> None:
    """They are in the log at once; that is their acknowledgement."""
    held = asyncio.Event()
    async with hub_of([held, "1"], ["2"], ["3"]) as hub:
        reader = attach_reader(hub)
        turns = [await ask(hub, reader, text) for text in ("one", "two", "three")]
        assert [question.turn for question in reader.questions] == turns
        held.set()
        await reader.done(3)

    assert [done.turn for done in reader.dones] == turns
    assert [reader.answer(turn) for turn in turns] == ["1", "2", "3"]
    assert_valid_log(reader.events)


async def test_a_second_question_is_shown_the_first_answer() -> None:
    """A conversation, with the persona first."""
    upstream = ScriptedUpstream(["one"], ["two"])
    async with hub_of(upstream=upstream, policy=Policy(persona="be kind")) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "1?")
        await reader.done()
        await ask(hub, reader, "2?")
        await reader.done(2)

    assert shown(upstream) == ["be kind", "1?", "one", "2?"]


async def test_generation_goes_on_when_nobody_reads() -> None:
    """Who comes back finds the whole answer."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"]) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await reader.heard("a")
        hub.detach(reader.topic, reader)
        held.set()
        await run_ticks()
        live = await hub.open(ANONYMOUS, reader.session)
        events = live.log.read(after=0)

    assert_valid_log(events)
    assert [event.text for event in events if isinstance(event, Token)] == ["ab"]


async def test_an_answer_for_nobody_is_given_up_where_the_policy_says_so() -> None:
    """`abandon_after`: running and waiting turns end, the provider stops."""
    upstream = ScriptedUpstream(["a", asyncio.Event()])
    async with hub_of(upstream=upstream, policy=Policy(abandon_after=0.0)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        await ask(hub, reader, "waits")
        await reader.heard("a")
        hub.detach(reader.topic, reader)
        other = await hub.open(ANONYMOUS, reader.session)
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
        reader = attach_reader(hub)
        await ask(hub, reader)
        hub.detach(reader.topic, reader)
        hub.detach(reader.topic, reader)
        hub.attach(reader.topic, reader)
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.03, later.set_result, None)
        await later
        held.set()
        done = await reader.done()

    assert done.reason == "stop"


async def test_what_the_upstream_reports_ends_the_turn_and_only_that() -> None:
    """The text so far is kept, the code says what happened, the next question is answered."""
    async with hub_of(["half", UpstreamStalled()], ["whole"]) as hub:
        reader = attach_reader(hub)
        first = await ask(hub, reader)
        done = await reader.done()
        second = await ask(hub, reader)
        await reader.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, done.error.retryable) == ("error", "upstream_stalled", True)
    assert (reader.answer(first), reader.answer(second)) == ("half", "whole")
    assert_valid_log(reader.events)


async def test_a_bug_in_the_upstream_ends_that_turn_and_only_that() -> None:
    """Its words stay in the log; other sessions don't notice."""
    held = asyncio.Event()
    async with hub_of(["a", held, "b"], [RuntimeError("secret")], ["fine"]) as hub:
        other, reader = attach_reader(hub), attach_reader(hub)
        turn = await ask(hub, other)
        await other.heard("a")
        await ask(hub, reader)
        done = await reader.done()
        held.set()
        await other.done()
        await ask(hub, reader)
        again = await reader.done(2)

    assert done.error is not None
    assert (done.reason, done.error.code, "secret" in done.error.message) == ("error", "internal", False)
    assert (other.answer(turn), again.reason) == ("ab", "stop")


async def test_half_surrogates_from_the_upstream_become_whole_characters() -> None:
    """And what never finds its other half is shown as such."""
    async with hub_of(["\ud83d", "\ude42!", "\ud83d"]) as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.done()

    assert reader.answer(turn) == "🙂!\ufffd"
    assert_valid_log(reader.events)


LONG = "x" * 2**18


@pytest.mark.parametrize(
    "pieces", [[LONG], [ThinkingText(LONG)], [ThinkingText(LONG), LONG]], ids=["text", "reasoning", "both"]
)
async def test_an_answer_that_never_ends_is_ended(pieces: list[str]) -> None:
    """With `length`, and the provider is stopped, so that the next question has its turn. Reasoning counts too."""
    upstream = Endless(*pieces)
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        done = await reader.done()
        await run_ticks()
        size = sum(len(text) for _, text in reader.slices)
        assert (done.reason, MAX_ANSWER_CHARS < size <= MAX_ANSWER_CHARS + len(LONG), upstream.stopped) == (
            "length",
            True,
            1,
        )
        assert owner_of(hub, reader).task is None
    assert_valid_log(reader.events)


async def test_reasoning_is_logged_and_is_no_part_of_the_answer() -> None:
    """In its order, in the same tick too; neither the proof nor the time of the first token has it."""
    think, held = ThinkingText, asyncio.Event()
    script: list[Step] = [think("Let "), think("me see"), held, "So", " it", think("Sure?"), " is."]
    async with hub_of(script) as hub:
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.heard("see")
        [running] = await hub.store.turns(reader.session, limit=1)
        assert (running.answer, running.steps) == ("", (events.Step(type="thinking", text="Let me see"),))
        held.set()
        done = await reader.done()

    assert reader.slices == [("Thinking", "Let me see"), ("Token", "So it"), ("Thinking", "Sure?"), ("Token", " is.")]
    assert reader.answer(turn) == "So it is."
    assert_proven(done, "So it is.")
    assert_valid_log(reader.events)


async def test_reasoning_alone_has_no_first_token() -> None:
    """An answer of nothing, as it is told."""
    async with hub_of([ThinkingText("hm")]) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        done = await reader.done()

    assert (done.timing.first_token, reader.slices) == (None, [("Thinking", "hm")])
    assert_proven(done, "")


async def test_the_model_is_not_shown_what_it_thought() -> None:
    """Neither from memory nor, for a session that was opened anew, from the store; nor in a retry or an edit."""
    scripts = [[ThinkingText("secret"), f"{number}!", ThinkingText("secret")] for number in range(5)]
    upstream, store = ScriptedUpstream(*scripts), FragileStore()
    async with hub_of(upstream=upstream, store=store) as hub:
        reader = attach_reader(hub)
        for number in range(3):
            await ask(hub, reader, f"{number}?")
            await reader.done(number + 1)
        owner_of(hub, reader).state.context = None  # to be read from the store
        await hub.command(ANONYMOUS, reader.session, Retry())
        await reader.done(4)
        await hub.command(ANONYMOUS, reader.session, Edit(reader.questions[2].turn, "2b?"))
        await reader.done(5)

    assert [shown(upstream, number) for number in range(5)] == [
        ["0?"],
        ["0?", "0!", "1?"],
        ["0?", "0!", "1?", "1!", "2?"],
        ["0?", "0!", "1?", "1!", "2?"],
        ["0?", "0!", "1?", "1!", "2b?"],
    ]


@pytest.mark.parametrize("piece", [ThinkingText("hm"), ThinkingText("\ud83d"), "\ud83d"])
async def test_nothing_is_asked_again_once_reasoning_or_half_a_character_has_come(piece: str) -> None:
    """A reader has seen it, or the other half would come to stand before another answer."""
    upstream = ScriptedUpstream(["first"], [piece, ContextTooLong()], ["never asked"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "1?")
        await reader.done()
        await ask(hub, reader, "2?")
        done = await reader.done(2)

    assert done.error is not None
    assert (done.error.code, len(upstream.prompts)) == ("context_too_long", 2)


async def test_reasoning_is_dropped_where_the_policy_says_so() -> None:
    """As if the provider had not shown it: nobody is sent it, and what was asked may be asked again."""
    think = ThinkingText
    upstream = ScriptedUpstream(["first"], [think("hm"), ContextTooLong()], [think("a\ud83d"), "b", think("c"), "d"])
    async with hub_of(upstream=upstream, policy=Policy(thinking=False)) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "1?")
        await reader.done()
        turn = await ask(hub, reader, "2?")
        done = await reader.done(2)

    assert (done.reason, reader.slices, reader.answer(turn)) == ("stop", [("Token", "firstbd")], "bd")
    assert_valid_log(reader.events)


async def test_reasoning_is_in_no_line_of_the_log() -> None:
    """With `log_content` neither: that is for questions and answers."""
    with capture_logs() as lines:
        async with hub_of([ThinkingText("Let me see."), "so"], policy=Policy(log_content=True)) as hub:
            reader = attach_reader(hub)
            await ask(hub, reader)
            await reader.done()
            await run_ticks()

    assert [line["text"] for line in lines if line["event"] == "question_answered"] == ["so"]
    assert not [line for line in lines if "Let me see" in str(line)]


async def test_a_conversation_that_is_too_long_is_asked_with_less_of_it() -> None:
    """Older turns are left out until the provider takes it; the reader sees one answer."""
    upstream = ScriptedUpstream(*[["x" * 100]] * 8, [ContextTooLong()], [ContextTooLong()], ["short"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        for number in range(8):
            await ask(hub, reader, f"{number}?")
            await reader.done(number + 1)
        turn = await ask(hub, reader, "and?")
        done = await reader.done(9)

    assert (done.reason, reader.answer(turn)) == ("stop", "short")
    assert [len(prompt.messages) for prompt in upstream.prompts[-3:]] == [17, 7, 3]
    assert shown(upstream) == ["7?", "x" * 100, "and?"]


def rejection() -> UpstreamError:
    """A 400 that does not say why."""
    return error_from_response(400, {}, b'{"error": {"message": "Nein."}}')


class Picky(ScriptedUpstream):
    """A model that takes prompts of some size, and fails with others as it is told."""

    def __init__(self, *, most: int, fail: Callable[[], UpstreamError]) -> None:
        super().__init__()
        self.most, self._fail = most, fail

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        self.prompts.append(prompt)
        if len(prompt.messages) > self.most:
            raise self._fail()
        on_text("x" * 100)
        return Ending("stop")

    @property
    def sizes(self) -> list[int]:
        """How many messages each prompt had."""
        return [len(prompt.messages) for prompt in self.prompts]


async def asked(hub: Hub, reader: CheckedReader, count: int) -> list[Done]:
    """Ask so many questions, one after the other."""
    before = len(reader.dones)
    for number in range(count):
        await ask(hub, reader, f"{number}?")
        await reader.done(before + number + 1)
    return reader.dones[before:]


async def test_a_rejection_without_a_reason_is_tried_once_with_half_of_the_history() -> None:
    """It may be the length, in words that nobody knows; what was answered so is no failure."""
    upstream = Picky(most=9, fail=rejection)
    async with hub_of(upstream=upstream) as hub:
        dones = await asked(hub, attach_reader(hub), 7)

    assert [done.reason for done in dones] == ["stop"] * 7
    assert upstream.sizes == [1, 3, 5, 7, 9, 11, 5, 13, 7]


async def test_a_rejection_that_half_of_the_history_does_not_avert_is_told_as_it_is() -> None:
    """And a question without history is asked once."""
    upstream = Picky(most=0, fail=rejection)
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        (first,) = await asked(hub, reader, 1)
        upstream.most = 99
        await asked(hub, reader, 4)
        upstream.most = 0
        (done,) = await asked(hub, reader, 1)

    assert first.error is not None
    assert done.error is not None
    assert (first.error.code, done.error.code) == ("upstream_rejected", "upstream_rejected")
    assert upstream.sizes == [1, 1, 3, 5, 7, 9, 5]


@pytest.mark.parametrize(
    ("fail", "codes"),
    [
        (rejection, ["upstream_rejected"]),
        (lambda: error_from_response(500, {}, b"{}"), ["upstream_unavailable"]),
        (lambda: error_from_response(429, {}, b"20,000 tokens per minute"), ["upstream_rate_limited"]),
        (UpstreamStalled, ["upstream_stalled"]),
    ],
    ids=["rejected", "a fault", "tokens a minute", "a stall"],
)
async def test_no_session_fails_for_ever_because_of_its_history(
    fail: Callable[[], UpstreamError], codes: list[str]
) -> None:
    """Each question that fails leaves the next one with less of it, until one is answered."""
    upstream = Picky(most=99, fail=fail)
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader, 16)
        upstream.most = 3
        dones = await asked(hub, reader, 10)

    failures = [done.error.code for done in dones if done.error]
    assert {*failures} == {*codes}
    assert [done.reason for done in dones].count("stop") >= 3


async def test_failures_that_pass_cost_the_history_of_a_few_questions_only() -> None:
    """Each answer gives a half back."""
    upstream = Picky(most=99, fail=UpstreamStalled)
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader, 8)
        upstream.most = 0
        await asked(hub, reader, 3)
        upstream.most = 99
        await asked(hub, reader, 4)

    assert upstream.sizes[8:] == [17, 17, 9, 5, 9, 21, 23]


async def test_a_failure_that_is_explained_costs_no_history() -> None:
    """A wrong key, or nobody there."""
    upstream = Picky(most=99, fail=lambda: error_from_response(401, {}, b"{}"))
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader, 3)
        upstream.most = 0
        await asked(hub, reader, 4)
        upstream.most = 99
        await asked(hub, reader, 1)

    assert upstream.sizes[3:] == [7, 7, 7, 7, 7]


async def test_an_answer_of_blanks_is_shown_to_no_model() -> None:
    """Some providers refuse such a message, for ever."""
    upstream = ScriptedUpstream(["\n\n", asyncio.Event()], ["two"], ["three"])
    async with hub_of(upstream=upstream) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader, "1?")
        await reader.heard("\n\n")
        await hub.command(ANONYMOUS, reader.session, Cancel())
        await reader.done()
        await asked(hub, reader, 2)

    assert shown(upstream) == ["0?", "two", "1?"]


async def test_a_question_too_long_by_itself_ends_with_that() -> None:
    """There is nothing more to leave out."""
    async with hub_of([ContextTooLong()], policy=Policy(persona="kind")) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        done = await reader.done()

    assert done.error is not None
    assert done.error.code == "context_too_long"


async def test_what_the_provider_counts_is_shown() -> None:
    """`usage`, `model` and the reason are the provider's."""
    ending = Ending("length", model="big-1", usage=Usage(input_tokens=3, output_tokens=4))
    async with hub_of(upstream=ScriptedUpstream(["text", ending])) as hub:
        reader = attach_reader(hub)
        await ask(hub, reader)
        done = await reader.done()

    assert (done.reason, done.model, done.usage) == ("length", "big-1", Usage(input_tokens=3, output_tokens=4))


async def test_the_guard_and_the_options_come_before_the_log() -> None:
    """What is not allowed changes nothing."""
    async with hub_of(policy=Policy(max_question=5, models=("m",), max_tokens=10)) as hub:
        reader = attach_reader(hub)
        for frame, error in (
            (Ask(text=" \u200b"), QuestionEmpty),
            (Ask(text="123456"), QuestionTooLong),
            (Ask(text="a?", options=Options(model="other")), Forbidden),
            (Ask(text="a?", options=Options(max_tokens=11)), Forbidden),
        ):
            with pytest.raises(error):
                await hub.command(ANONYMOUS, reader.session, frame)
        await run_ticks()
        assert reader.events == []
        await ask(hub, reader, "a?", options=Options(model="m", max_tokens=10, temperature=0.5))
        done = await reader.done()

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
        reader = attach_reader(hub)
        hub.detach(reader.topic, reader)
        assert hub.session_count == 0
