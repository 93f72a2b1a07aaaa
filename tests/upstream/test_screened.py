"""Checks before the model: one's own guard, and the moderation of an API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from askbot_ws.config import from_keywords
from askbot_ws.core.guard_words import ANSWERS
from askbot_ws.core.prompt import Message, Prompt
from askbot_ws.errors import ConfigError, Refused, UpstreamUnavailable
from askbot_ws.events import Options
from askbot_ws.testing import ScriptedUpstream
from askbot_ws.upstream import Asker, Ending, QuestionCheck
from askbot_ws.upstream.choose import UpstreamChoice, guard_upstream
from askbot_ws.upstream.guard_function import GuardFunction
from askbot_ws.upstream.moderation import Moderation
from askbot_ws.upstream.screened import NOT_JUDGED, ScreenedUpstream

from ..provider import Provider

MODULE = """
from askbot_ws.errors import Refused

async def guard(text, asker):
    if text == "raise":
        raise ValueError(text)
    if text == "exit":
        raise SystemExit(1)
    if text == "number":
        return 1
    if text == "refused":
        raise Refused("Not that.")
    return f"Not for {asker.user} ({asker.role})." if text == "no" else None

def no_async(text, asker): ...
"""


def prompt_of(text: str) -> Prompt:
    earlier = Message("assistant", "no").encoded + b","
    return Prompt((earlier, Message("user", text).encoded), Options(), user="ann", role="guest")


async def answer(upstream: ScreenedUpstream, text: str) -> tuple[str, Ending]:
    pieces: list[str] = []
    ending = await upstream.stream(prompt_of(text), pieces.append)
    return "".join(pieces), ending


def screened(
    *checks: QuestionCheck, fail_open: bool = False, timeout: float = 5
) -> tuple[ScreenedUpstream, ScriptedUpstream]:
    model = ScriptedUpstream(*([["yes"]] * 10))
    return ScreenedUpstream(model, checks, timeout=timeout, fail_open=fail_open), model


class Verdict:
    """A check that says, raises or waits for what it is told."""

    def __init__(self, verdict: str | Exception | float | None) -> None:
        self.verdict = verdict
        self.asked = 0

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def refusal(self, prompt: Prompt) -> str | None:
        self.asked += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if isinstance(self.verdict, str):
            return self.verdict
        await asyncio.sleep(self.verdict or 0)
        return None


async def test_the_first_check_that_refuses_answers() -> None:
    """With its text and `refused`; neither the next one nor the model is asked."""
    first, second, third = Verdict(None), Verdict("No."), Verdict("Never.")
    upstream, model = screened(first, second, third)

    assert await answer(upstream, "why?") == ("No.", Ending("refused", model="scripted"))
    assert ([check.asked for check in (first, second, third)], model.prompts) == ([1, 1, 0], [])


@pytest.mark.parametrize("fault", [ValueError("secret"), UpstreamUnavailable(), 60.0])
async def test_what_could_not_be_judged_passes_only_where_that_is_set(fault: Exception | float) -> None:
    """A check that raises, or that takes too long; the message has nothing of it."""
    upstream, model = screened(Verdict(fault), timeout=0.05)
    with pytest.raises(UpstreamUnavailable) as caught:
        await answer(upstream, "why?")
    assert (caught.value.message, caught.value.retryable, model.prompts) == (NOT_JUDGED, True, [])

    upstream, _ = screened(Verdict(fault), timeout=0.05, fail_open=True)
    assert (await answer(upstream, "why?"))[0] == "yes"


async def test_a_question_that_is_stopped_stops_its_check() -> None:
    """Cancelling is no fault of the check: the model is not asked."""
    upstream, model = screened(Verdict(60.0), fail_open=True)
    task = asyncio.create_task(answer(upstream, "why?"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.prompts == []


async def test_a_guard_of_ones_own_is_told_who_asks_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last question alone; it returns a text or raises `Refused`, and nothing else that it does is a verdict."""
    (tmp_path / "own_guard.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    upstream, _ = screened(GuardFunction("own_guard:guard"))
    await upstream.open()

    assert (await answer(upstream, "yes"))[0] == "yes"
    assert (await answer(upstream, "no"))[0] == "Not for ann (guest)."
    assert (await answer(upstream, "refused"))[0] == "Not that."
    for fault in ("raise", "exit", "number"):
        with pytest.raises(UpstreamUnavailable):
            await answer(upstream, fault)
    for path, told in {"own_guard:no_async": "no async function", "own_guard:none": "cannot be imported"}.items():
        with pytest.raises(ConfigError, match=told.replace("no async", "not an async")):
            await GuardFunction(path).open()
    assert (Asker("ann", None).user, Refused().message) == ("ann", Refused.default)


async def test_what_the_endpoint_flags_is_refused_in_its_language() -> None:
    """With other words for self-harm. It gets the question alone, and its own key."""
    async with Provider(key="k2") as provider:
        settings = from_keywords(
            {
                "openai_api_key": "k1",
                "moderation": True,
                "moderation_base_url": provider.url,
                "moderation_api_key": "k2",
                "moderation_model": "mod-1",
                "guard": "off",
            }
        )
        upstream = guard_upstream(UpstreamChoice(ScriptedUpstream(["yes"])), settings).upstream
        assert isinstance(upstream, ScreenedUpstream)
        await upstream.open()
        assert (await answer(upstream, "why?"))[0] == "yes"
        assert (await answer(upstream, "flagged:harassment"))[0] in ANSWERS["en"]["inappropriate"]
        assert (await answer(upstream, "왜 flagged:harassment"))[0] in ANSWERS["ko"]["inappropriate"]
        assert (await answer(upstream, "flagged:self-harm/intent"))[0] in ANSWERS["en"]["self_harm"]
        for fault in ("moderation-status:500", "moderation-status:401", "moderation-garbage"):
            with pytest.raises(UpstreamUnavailable):
                await answer(upstream, fault)
        await upstream.close()
        asked = provider.asked
    assert asked[0].body == {"model": "mod-1", "input": "why?"}
    assert {seen.headers["authorization"] for seen in asked} == {"Bearer k2"}


async def test_the_key_of_the_models_api_goes_to_no_other_host() -> None:
    """A moderation elsewhere has a key of its own, or none; OpenAI's own needs one."""
    async with Provider() as provider:
        settings = from_keywords({"openai_api_key": "k1", "moderation": True, "moderation_base_url": provider.url})
        upstream = guard_upstream(UpstreamChoice(ScriptedUpstream()), settings).upstream
        await upstream.open()
        await upstream.stream(prompt_of("why?"), lambda _: None)
        await upstream.close()
        assert "authorization" not in provider.asked[0].headers
    faults: Sequence[tuple[str | None, str | None]] = [(None, None), ("https://api.openai.com/v1", None)]
    for url, key in faults:
        check = Moderation(model="m", base_url=url, api_key=key, connect_timeout=1, timeout=1)
        with pytest.raises(ConfigError, match="ASKBOT_MODERATION_API_KEY"):
            await check.open()
