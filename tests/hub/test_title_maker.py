"""Titles that the model makes (`ASKBOT_TITLES=model`): after the first complete answer, in nobody's way."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from askbot_ws.core.allowance import Allowance, Allowances
from askbot_ws.core.commands import Ask, Cancel, Forget, Title
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.errors import QuotaExceeded, UpstreamUnavailable
from askbot_ws.events import Usage
from askbot_ws.hub import Hub, Policy, title_maker
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending, ThinkingText

from .fakes import CheckedReader, Clock, ask, attach_reader, hub_of, run_ticks

TITLES = Policy(titles="model")
PAID = Ending("stop", usage=Usage(input_tokens=10, output_tokens=5))


async def asked(hub: Hub, reader: CheckedReader, text: str = "why?") -> None:
    """Ask, and let the answer and what follows it come."""
    await ask(hub, reader, text)
    await run_ticks(60)


async def test_the_model_names_a_session_after_its_first_complete_answer() -> None:
    """Once; it is shown the question and the answer, and readers get the event."""
    upstream = ScriptedUpstream(["Because."], [ThinkingText("hm"), '"The ', 'reason"'], ["So."])
    async with hub_of(upstream=upstream, policy=TITLES) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader)
        assert reader.topic.title == "The reason"
        assert [event.type for event in reader.events][-1] == "title"
        await asked(hub, reader, "and?")

    assert [message.text for message in upstream.prompts[1].messages[:2]] == ["why?", "Because."]
    assert len(upstream.prompts) == 3


async def test_without_the_setting_nobody_is_asked() -> None:
    """It costs money."""
    upstream = ScriptedUpstream(["Because."])
    async with hub_of(upstream=upstream) as hub:
        await asked(hub, reader := attach_reader(hub))
        assert reader.topic.title is None

    assert len(upstream.prompts) == 1


@pytest.mark.parametrize("end", ["length", "refused", "error", "cancelled"])
async def test_only_a_complete_answer_is_named(end: str) -> None:
    """A turn that ended otherwise says too little; the next one that is complete is the first."""
    firsts: dict[str, list[Step]] = {
        "length": ["Be", Ending("length")],
        "refused": ["No.", Ending("refused")],
        "error": ["Be", UpstreamUnavailable()],
        "cancelled": ["Be", asyncio.Event()],
    }
    upstream = ScriptedUpstream(firsts[end], ["Because."], ["Reasons"])
    async with hub_of(upstream=upstream, policy=TITLES) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader)
        if end == "cancelled":
            await hub.command(ANONYMOUS, reader.session, Cancel())
            await run_ticks()
        assert reader.dones[-1].reason == end
        assert len(upstream.prompts) == 1
        await asked(hub, reader, "again?")
        assert reader.topic.title == "Reasons"


async def test_a_name_that_somebody_gave_stays() -> None:
    """Before the answer, or while the model makes one."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["Because."], [gate, "The model's"])
    async with hub_of(upstream=upstream, policy=TITLES) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader)
        await hub.command(ANONYMOUS, reader.session, Title("Mine"))
        gate.set()
        await run_ticks(60)
        assert reader.topic.title == "Mine"
        assert sum(event.type == "title" for event in reader.events) == 1


async def test_the_next_turn_does_not_wait_for_a_title() -> None:
    """Nor for its failure, which leaves no more than a line for who looks for it."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["Because."], [gate, UpstreamUnavailable("a secret word")], ["So."])
    with structlog.testing.capture_logs() as logs:
        async with hub_of(upstream=upstream, policy=TITLES) as hub:
            reader = attach_reader(hub)
            await asked(hub, reader)
            await asked(hub, reader, "and?")
            assert reader.dones[-1].reason == "stop"
            gate.set()
            await run_ticks(60)
            assert reader.topic.title is None

    [line] = [line for line in logs if line["event"] == "title_failed"]
    assert (line["log_level"], line["cause"]) == ("debug", "UpstreamUnavailable")
    assert "secret" not in str(logs)


async def test_a_title_has_a_time_limit_and_a_length_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that never ends, or talks without end."""
    monkeypatch.setattr(title_maker, "TITLE_SECONDS", 0.01)
    upstream = ScriptedUpstream(["Because."], [asyncio.Event()], ["So."], ["x " * 2000, asyncio.Event()])
    async with hub_of(upstream=upstream, policy=TITLES) as hub:
        first = attach_reader(hub)
        await asked(hub, first)
        await asyncio.sleep(0.05)
        assert (first.topic.title, upstream.stopped) == (None, 1)
        second = attach_reader(hub)
        await asked(hub, second)
        await asyncio.sleep(0.01)
        assert second.topic.title == ("x " * 40).strip()


async def test_the_tokens_of_a_title_count_as_the_users() -> None:
    """In the count of the day, and in what is left of it at once."""
    upstream = ScriptedUpstream(["B", PAID], ["Reasons", PAID])
    policy, allowances = Policy(titles="model", max_tokens=10), Allowances(Allowance(tokens_per_day=41))
    async with hub_of(upstream=upstream, policy=policy, allowances=allowances, wall_clock=Clock()) as hub:
        ann = Principal("ann")
        topic = hub.create(ann)
        await hub.command(ann, topic.session, Ask("why?"))
        await run_ticks(60)
        assert topic.title == "Reasons"
        assert await hub.store.add_usage("ann", "2023-11-14", 0) == 30
        with pytest.raises(QuotaExceeded):
            await hub.command(ann, topic.session, Ask("why?"))


async def test_a_session_that_is_gone_or_goes_gets_no_title() -> None:
    """Forgotten while the model makes one; or made for one answer only."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["Because."], [gate, "Reasons"], ["So."])
    async with hub_of(upstream=upstream, policy=TITLES) as hub:
        reader = attach_reader(hub)
        await asked(hub, reader)
        await hub.command(ANONYMOUS, reader.session, Forget())
        gate.set()
        await run_ticks(60)
        temporary = attach_reader(hub, hub.create(ANONYMOUS, temporary=True))
        await asked(hub, temporary)
        assert temporary.topic.title is None

    assert len(upstream.prompts) == 3
