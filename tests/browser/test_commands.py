"""Commands about a turn: they show that they were heard, say what goes before it goes, and can be taken back."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Locator, expect

from askbot_ws.testing import ScriptedUpstream, serving

from .breakable_proxy import BreakableProxy
from .sockets import SOCKETS
from .tab import IMPATIENT, Tab, Tabs
from .test_list import begin, titles

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRESS_COMPOSING = """() => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true, keyCode: 229 }))"""


def action(article: Locator, name: str) -> Locator:
    """The button of an action that is shown."""
    return article.locator(f"[data-do={name}]:visible")


async def types_sent(tab: Tab) -> list[str]:
    """Of the frames that were sent, but for those that only check the connection."""
    return [frame["type"] for frame in tab.sent if frame["type"] not in ("ping", "detach")]


async def test_what_goes_is_said_before_and_can_be_taken_back(tabs: Tabs) -> None:
    """By a retry and by an edit of an earlier turn; its course as it was is a conversation again."""
    upstream = ScriptedUpstream(["One."], ["Two."], ["Three."], ["One again."], ["Uno."], ["Four."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?", "Two?", "Three?")
        first, undo = tab.turns.first, tab.page.locator("#undo")
        await first.hover()
        await action(first, "retry").click()
        dialog = tab.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("2 later turns will leave the conversation.")
        await tab.page.keyboard.press("Escape")
        await expect(tab.turns).to_have_count(3)
        await expect(action(first, "retry")).to_be_focused()
        assert "retry" not in await types_sent(tab)

        await action(first, "retry").click()
        await dialog.get_by_role("button", name="Ask again").click()
        await expect(tab.turns).to_have_count(1)
        await tab.answered("One again.")
        await expect(undo).to_contain_text("2 turns have left the conversation.")
        await expect(tab.question).to_be_focused()  # the button has gone with its turn
        await tab.button("Take back").click()
        await expect(tab.turns).to_have_count(3)
        assert await tab.answers() == ["One.", "Two.", "Three."]
        await expect(undo).to_be_hidden()
        await expect(tab.question).to_be_focused()
        assert await titles(tab) == ["One? (branch)", "One?"]

        await first.hover()
        await action(first, "edit").click()
        await expect(tab.page.locator("form.edit")).to_contain_text("2 later turns will leave the conversation.")
        await tab.page.locator("form.edit textarea").fill("Uno?")
        await tab.page.keyboard.press("Enter")
        await tab.answered("Uno.")
        await expect(undo).to_contain_text("2 turns have left")
        await tab.ask("Four?")  # it is not wanted back
        await expect(tab.turns).to_have_count(2)
        await tab.answered("Four.")
        await expect(undo).to_be_hidden()


async def test_nothing_goes_but_what_was_agreed_to(tabs: Tabs) -> None:
    """While the dialog asks, another tab adds a turn, then replaces the one that it is about; or it is left by Back."""
    upstream = ScriptedUpstream(["One."], ["Two."], ["Three."], ["Other."], ["More."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?", "Two?")
        other = await tabs.beside(tab.page.context, server.port)
        await other.answered("Two.")
        dialog = tab.page.locator("#confirm")
        await action(tab.turns.first, "retry").click()
        await other.ask("Three?")
        await tab.answered("Three.")
        await dialog.locator("#confirm-yes").click()
        await expect(dialog).to_contain_text("2")
        await action(other.turns.first, "edit").click()
        await other.page.locator("form.edit textarea").fill("Other?")
        await other.page.keyboard.press("Enter")
        await tab.answered("Other.")
        await dialog.locator("#confirm-yes").click()
        await tab.ask("More?")
        await tab.answered("More.")
        assert await tab.questions() == ["Other?", "More?"]
        await tab.button("New conversation").click()
        await tab.page.go_back()
        await expect(tab.turns).to_have_count(2)
        await action(tab.turns.first, "retry").click()
        await expect(dialog).to_be_visible()
        await tab.page.go_forward()
        await expect(dialog).to_be_hidden()
    assert len(upstream.prompts) == 5


async def test_a_branch_is_a_conversation_of_its_own(tabs: Tabs) -> None:
    """It has all up to its turn; the other one stays as it is, and so does it over a reload."""
    upstream = ScriptedUpstream(["One."], ["Two."], ["Three."])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?", "Two?")
        address = tab.page.url
        await tab.turns.first.hover()
        await tab.turns.first.get_by_role("button", name="Branch from here").click()
        await expect(tab.turns).to_have_count(1)
        await tab.answered("One.")
        assert tab.page.url != address
        assert await titles(tab) == ["One? (branch)", "One?"]
        await tab.ask("Three?")
        await expect(tab.turns).to_have_count(2)
        await tab.answered("Three.")
        await tab.page.reload()
        await tab.answered("Three.")
        assert await tab.questions() == ["One?", "Three?"]
        assert await titles(tab) == ["One? (branch)", "One?"]
        await tab.page.go_back()
        await tab.answered("Two.")
    assert [message.text for message in upstream.prompts[-1].messages][-3:] == ["One?", "One.", "Three?"]


async def test_a_command_shows_that_it_was_heard_and_is_sent_once(tabs: Tabs) -> None:
    """Without a connection too: it says that it waits, and is done when the connection is back."""
    upstream = ScriptedUpstream(["One."], ["Again", asyncio.Event()])
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT + SOCKETS)
        await begin(tab, "One?")
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        retry = action(tab.last, "retry")
        await retry.click()
        await expect(retry).to_have_attribute("aria-busy", "true")
        await expect(tab.last.locator(".badge")).to_have_text("Will be done when the connection is back")
        await retry.click(force=True)
        await expect(action(tab.last, "edit")).to_have_attribute("aria-disabled", "true")
        proxy.is_down = False
        await tab.shows("Again")
        assert (await types_sent(tab)).count("retry") == 1

        await tab.page.evaluate("deafen()")
        await tab.stop.focus()
        await tab.stop.press("Enter")
        await expect(tab.stop).to_have_attribute("aria-busy", "true")
        proxy.cut()
        await tab.ended("cancelled")
        await expect(tab.stop).to_be_hidden()
        await expect(tab.question).to_be_focused()
    assert len(upstream.prompts) == 2


async def test_escape_stops_the_answer_only_where_it_is_nobody_elses(tabs: Tabs) -> None:
    """Not in another field, a form, a dialog, an open detail; and not while a word is composed."""
    async with serving(ScriptedUpstream(["One."], ["Two", asyncio.Event()])) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await tab.ask("Two?")
        await tab.shows("Two")
        first, page = tab.turns.first, tab.page
        for composed in (page.locator("#search"), tab.question):
            await composed.focus()
            await page.evaluate(PRESS_COMPOSING)
        await page.locator("#search").fill("one")
        await page.keyboard.press("Escape")

        await first.hover()
        await action(first, "edit").click()
        await page.evaluate(PRESS_COMPOSING)
        await expect(page.locator("form.edit")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("form.edit")).to_have_count(0)
        await expect(action(first, "edit")).to_be_focused()

        await first.locator(".about summary").click()
        await page.keyboard.press("Escape")
        await expect(first.locator(".about")).not_to_have_attribute("open", "")
        await expect(first.locator(".about summary")).to_be_focused()

        await page.locator("[data-do=more]").click()
        await page.locator("[data-do=rename]").click()
        await page.evaluate(PRESS_COMPOSING)
        await expect(page.locator("form.rename")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("form.rename")).to_have_count(0)
        await page.locator("[data-do=delete]").click()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()

        assert "cancel" not in await types_sent(tab)
        await tab.question.focus()
        await page.keyboard.press("Escape")
        await tab.ended("cancelled")
