"""The page on one node of several: an answer that runs on another, which is killed."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from ..nodes.processes import node_process
from ..process import ProviderProcess, Story, reading
from ..redis_server import redis_server
from .tab import IMPATIENT, Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

TAKEOVER = 20_000  # milliseconds for what takes two seconds or three on a machine that has time


async def test_an_answer_of_a_node_that_is_killed_is_shown_to_its_end_and_one_can_go_on(
    tabs: Tabs, provider: ProviderProcess, tmp_path: Path
) -> None:
    """The page shows it as it is written, then what the log has of it, to the letter; and the next one is answered."""
    with (
        redis_server("--appendonly", "yes", "--appendfsync", "always") as redis,
        node_process(tmp_path / "owner", redis.url, upstream=provider.url) as owner,
        node_process(tmp_path / "here", redis.url, upstream=provider.url) as here,
    ):
        async with reading(owner.url) as asker:
            await asker.ask("rate:50 tokens:5000 note:page")
            await asker.until("token")
            tab = await tabs.open(urlsplit(here.url).port or 0, f"/?session={asker.story.session}", script=IMPATIENT)
            await expect(tab.last).to_have_attribute("data-status", "answering")
            seen = await tab.answer.text_content() or ""
            await expect(tab.answer).not_to_have_text(seen)  # it grows
            owner.signal(signal.SIGKILL)
            await expect(tab.last).to_have_attribute("data-reason", "interrupted", timeout=TAKEOVER)
        shown = await tab.answer.text_content()
        await tab.ask("tokens:3 note:next")
        await expect(tab.turns).to_have_count(2)
        await tab.ended()

        story = Story(session=asker.story.session)
        async with reading(here.url, story) as reader:
            await reader.until(lambda _: len(story.turns) == 2 and story.last.done is not None)
        first, last = story.turns.values()
        assert (shown, first.reason) == (first.answer.rstrip(), "interrupted")
        assert await tab.answers() == [first.answer.rstrip(), last.answer.rstrip()]
        assert last.reason == "stop"
        assert first.answer.startswith(asker.story.turns["t1"].answer)
        assert await tab.questions() == ["rate:50 tokens:5000 note:page", "tokens:3 note:next"]
