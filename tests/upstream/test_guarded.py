"""The guard before an upstream: what it refuses is a turn like others, and the model never hears of it."""

from __future__ import annotations

import pytest

from askbot_ws.config import Settings
from askbot_ws.core.guard import refusal
from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream.choose import UpstreamChoice, guard_upstream
from askbot_ws.upstream.guarded import GuardedUpstream

from ..process import reading


async def test_what_is_refused_is_answered_without_the_model() -> None:
    """With a fixed sentence, and under the model's name."""
    asked, texts = ScriptedUpstream(), list[str]()
    upstream = GuardedUpstream(asked)

    ending = await upstream.stream(Prompt.of([Message("system", "Be kind."), Message("user", "Hello")]), texts.append)

    assert (ending.reason, ending.model) == ("refused", asked.model)
    assert texts == [refusal("Hello")]
    assert asked.prompts == []


async def test_in_a_conversation_a_reply_is_passed_on() -> None:
    """The guard sees whether the model said something before."""
    asked, texts = ScriptedUpstream(["Yes."]), list[str]()
    messages = [Message("user", "Shall I go on?"), Message("assistant", "As you like."), Message("user", "ok")]

    ending = await GuardedUpstream(asked).stream(Prompt.of(messages), texts.append)

    assert (ending.reason, "".join(texts)) == ("stop", "Yes.")
    assert len(asked.prompts) == 1


async def test_a_refused_question_is_a_turn_that_the_model_is_not_shown() -> None:
    """It is stored and resumed like others, and the next question is the first that the model gets."""
    asked = ScriptedUpstream(["Paris."])
    async with serving(asked, guard="on") as server, reading(server.url) as reader:
        refused = await reader.answer("I like pizza.")
        answered = await reader.answer("What is the capital of France?")

    assert (refused.reason, refused.answer) == ("refused", refusal("I like pizza."))
    assert (answered.reason, answered.answer) == ("stop", "Paris.")
    assert [message.text for message in asked.prompts[0].messages] == ["What is the capital of France?"]


@pytest.mark.parametrize(
    ("setting", "of_choice", "guarded"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_it_is_on_where_the_setting_or_the_model_says_so(setting: str, *, of_choice: bool, guarded: bool) -> None:
    """By default with the embedded model only."""
    choice = UpstreamChoice(ScriptedUpstream(), guard=of_choice)

    settings = Settings.model_validate({"guard": setting})

    assert isinstance(guard_upstream(choice, settings).upstream, GuardedUpstream) is guarded
