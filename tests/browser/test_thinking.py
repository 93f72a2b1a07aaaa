"""What a model shows of its thinking: folded, above its answer, on the page and in `<ask-bot>`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from askbot_ws.testing import ScriptedUpstream, Step, serving
from askbot_ws.upstream import ThinkingText

from .axe import faults
from .tab import Tab, Tabs
from .test_element import shop
from .test_export import saved

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = re.compile(r"^Thinking… \d+ s$")
TOOK = re.compile(r"^Thought for \d+ s$")
CURSOR = "(element) => getComputedStyle(element, '::after').content"
LEFT = "document.documentElement.scrollHeight - innerHeight - scrollY"


def summary(tab: Tab) -> Locator:
    """What stands above the text of the last turn's thinking."""
    return tab.last.locator(".thought summary")


def thought(tab: Tab) -> Locator:
    """The text of the last turn's thinking."""
    return tab.last.locator(".thought > div")


async def test_thinking_is_folded_and_says_how_long_it_takes(tabs: Tabs) -> None:
    """It counts the seconds, then says how many there were; a reload shows the same, and the answer has none of it."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream([ThinkingText("Hm.\n"), ThinkingText("So"), gate, "Par", ThinkingText("!"), "is."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port, permissions=["clipboard-read", "clipboard-write"])
        await tab.ask("Where?")
        await expect(tab.last).to_have_attribute("data-status", "thinking")
        await expect(summary(tab)).to_have_text(SECONDS)
        await expect(thought(tab)).to_be_hidden()
        assert await tab.answer.evaluate(CURSOR) == "none"
        gate.set()
        await tab.answered("Paris.")
        await expect(summary(tab)).to_have_text(TOOK)
        label = await summary(tab).text_content()

        await tab.page.reload()
        await tab.answered("Paris.")
        await expect(summary(tab)).to_have_text(label or "")
        await expect(thought(tab)).to_be_hidden()
        await summary(tab).click()
        await expect(thought(tab)).to_be_visible()
        assert await thought(tab).inner_text() == "Hm.\nSo!"

        await tab.button("Copy the answer").click()
        await expect(tab.announce).to_have_text("Copied")
        assert await tab.page.evaluate("navigator.clipboard.readText()") == "Paris."


async def test_a_turn_without_thinking_shows_nothing_of_it(tabs: Tabs) -> None:
    """Neither while it waits nor once it has ended."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream([gate, "Paris."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Where?")
        await expect(tab.last).to_have_attribute("data-status", "waiting")
        await expect(tab.last.locator(".thought")).to_be_hidden()
        assert await tab.answer.evaluate(CURSOR) == '""'
        gate.set()
        await tab.answered("Paris.")
        await expect(tab.last.locator(".thought")).to_be_hidden()


async def test_thinking_that_is_open_grows_and_leaves_the_reader_alone(tabs: Tabs) -> None:
    """What is selected in it stays, the keyboard opens it, nothing of it is read aloud, and the cursor stands in it."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream = ScriptedUpstream([ThinkingText("One "), gates[0], ThinkingText("two"), gates[1], "Paris."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Where?")
        await expect(summary(tab)).to_be_visible()
        await summary(tab).focus()
        await tab.page.keyboard.press("Enter")
        await expect(thought(tab)).to_have_text("One")
        assert await thought(tab).evaluate(CURSOR) == '""'
        await thought(tab).evaluate("({ firstChild }) => getSelection().setBaseAndExtent(firstChild, 0, firstChild, 3)")
        gates[0].set()
        await expect(thought(tab)).to_have_text("One two")
        assert await tab.page.evaluate("String(getSelection())") == "One"
        await expect(tab.announce).to_have_text("Waiting for the answer")
        assert (
            await thought(tab).evaluate("(element) => element.closest('[aria-live], [role=status], [role=log]')")
            is None
        )
        gates[1].set()
        await tab.answered("Paris.")
        await expect(thought(tab)).to_be_visible()
        assert await thought(tab).evaluate(CURSOR) == "none"


async def test_a_reader_who_opens_a_long_thought_is_not_scrolled_away(tabs: Tabs) -> None:
    """The answer goes on below; a button leads to its end."""
    gate = asyncio.Event()
    steps: list[Step] = [
        *(ThinkingText(f"{place}\n") for place in range(200)),
        "One\n\n",
        gate,
        *(f"{place}\n\n" for place in range(60)),
    ]
    async with serving(ScriptedUpstream(steps)) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Count!")
        await tab.shows("One")
        await summary(tab).click()
        await expect(tab.button("Latest")).to_be_visible()
        place = await tab.page.evaluate("scrollY")
        gate.set()
        await tab.ended()
        await expect(tab.answer.locator("p")).to_have_count(61)
        assert await tab.page.evaluate("scrollY") == place

        await summary(tab).click()
        await tab.click_latest()
        await expect(tab.button("Latest")).to_be_hidden()
        assert await tab.page.evaluate(LEFT) < 2


async def test_a_reader_of_growing_thinking_is_kept_at_its_end(tabs: Tabs) -> None:
    """Where the end was near when it was opened."""
    gate = asyncio.Event()
    steps: list[Step] = [ThinkingText("Hm.\n"), gate, *(ThinkingText(f"{place}\n") for place in range(200)), "Paris."]
    async with serving(ScriptedUpstream(steps)) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Where?")
        await summary(tab).click()
        await expect(thought(tab)).to_be_visible()
        gate.set()
        await tab.answered("Paris.")
        assert await tab.page.evaluate(LEFT) < 2


async def test_a_file_has_thinking_only_as_json(tabs: Tabs, tmp_path: Path) -> None:
    """Markdown is for readers; JSON has all there is."""
    async with serving(ScriptedUpstream([ThinkingText("Hm."), "Paris."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Where?")
        await tab.answered("Paris.")
        await tab.button("More about “Where?”").click()
        _, markdown = await saved(tab, "as_markdown", tmp_path)
        _, text = await saved(tab, "as_json", tmp_path)

    assert "Hm." not in markdown
    (turn,) = json.loads(text)["turns"]
    assert (turn["thinking"], turn["answer"]) == ("Hm.", "Paris.")


async def test_thinking_is_told_in_korean(tabs: Tabs) -> None:
    """While it goes on and when it is over."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream([ThinkingText("Hm."), gate, "Paris."])) as server:
        tab = await tabs.open(server.port, locale="ko-KR")
        await tab.ask("Where?")
        await expect(summary(tab)).to_have_text(re.compile("생각하는 중… \\d+초"))
        gate.set()
        await tab.ended()
        await expect(summary(tab)).to_have_text(re.compile("\\d+초 동안 생각함"))


async def test_the_element_shows_thinking_folded_too(tabs: Tabs) -> None:
    """Each of several turns is opened by itself; its status says that it thinks."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream([ThinkingText("Hm."), gate, "Paris."], [ThinkingText("Ah."), "Rome."])
    async with shop(tabs, upstream) as place:
        bot = await place.open()
        await bot.ask("Where?")
        await expect(bot.last).to_have_attribute("part", "turn thinking")
        await expect(bot.part("status")).to_have_text("Thinking…")
        await expect(bot.part("thought-label")).to_have_text(SECONDS)
        await expect(bot.part("thought-text")).to_be_hidden()
        assert await faults(bot.tab) == []
        gate.set()
        await bot.answered("Paris.")
        await expect(bot.part("thought-label")).to_have_text(TOOK)
        await bot.ask("And?")
        await bot.answered("Rome.")

        for number in (0, 1):
            await bot.part("thought-label").nth(number).click()
        for number, text in enumerate(("Hm.", "Ah.")):
            await expect(bot.part("thought-text").nth(number)).to_be_visible()
            await expect(bot.part("thought-text").nth(number)).to_have_text(text)
        assert await faults(bot.tab) == []
