"""The list of conversations: finding one's way back, naming, searching, deleting."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Locator, expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..process import address, reading
from .breakable_proxy import BreakableProxy
from .tab import IMPATIENT, Tab, Tabs
from .test_access import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")


def entries(tab: Tab) -> Locator:
    """The conversations that are listed."""
    return tab.page.locator("#sessions > li")


def entry(tab: Tab, title: str) -> Locator:
    """The one of this title."""
    return entries(tab).filter(has=tab.page.get_by_role("link", name=title))


async def begin(tab: Tab, *questions: str) -> None:
    """A conversation of its own, in which these are asked."""
    await tab.button("New conversation").click()
    await expect(tab.turns).to_have_count(0)
    await tab.connected()
    for count, question in enumerate(questions, start=1):
        await tab.ask(question)
        await expect(tab.turns).to_have_count(count)
        await tab.ended()


async def do(tab: Tab, title: str, act: str) -> None:
    """One of the acts of a conversation."""
    await tab.button(f"More about “{title}”").click()
    await entry(tab, title).get_by_role("button", name=act, exact=True).click()


async def told(tab: Tab) -> None:
    """Wait until the server has deleted all that was deleted here."""
    await tab.page.evaluate(
        """() => new Promise((resolve) => {
            const look = () => (localStorage["askbot.gone"] === "[]" ? resolve() : requestAnimationFrame(look));
            look();
        })"""
    )


async def titles(tab: Tab) -> list[str]:
    """As they are listed."""
    return await entries(tab).locator(".title").all_text_contents()


async def test_conversations_are_listed_by_their_first_question_the_last_used_first(tabs: Tabs) -> None:
    """One that is still empty is none; the one on the page is marked, for all senses."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await expect(tab.page.locator("#none")).to_have_text("What you ask is listed here, in this browser only.")
        await begin(tab, "One?", "And more?")
        await begin(tab, "  Two,\nin two lines?")
        assert await titles(tab) == ["Two,", "One?"]
        await expect(tab.page.locator("#none")).to_be_empty()
        current = tab.page.locator("#sessions [aria-current=page]")
        await expect(current).to_have_text("Two,")
        await expect(tab.page).to_have_title("Two, · Askbot")

        await begin(tab)
        await expect(current).to_have_count(0)
        await expect(tab.page).to_have_title("Askbot")
        assert await titles(tab) == ["Two,", "One?"]

        await entry(tab, "One?").get_by_role("link").click()
        await tab.answered("You asked: And more?")
        assert await titles(tab) == ["Two,", "One?"]  # looking is no use
        await tab.ask("Used!")
        await expect(tab.turns).to_have_count(3)
        await tab.ended()
        assert await titles(tab) == ["One?", "Two,"]


async def test_one_goes_from_one_conversation_to_another_and_back(tabs: Tabs) -> None:
    """By the list and by the browser's own keys; the address says where one is, so that a reload stays there."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        second = tab.page.url
        assert "?session=" in second
        await entry(tab, "One?").get_by_role("link").click()
        await tab.answered("You asked: One?")
        first = tab.page.url
        assert first != second
        await tab.page.reload()
        await tab.answered("You asked: One?")
        await tab.page.go_back()
        await tab.answered("You asked: Two?")
        assert tab.page.url == second
        await tab.page.go_forward()
        await tab.answered("You asked: One?")
        assert tab.asked() == ["One?", "Two?"]


async def test_an_answer_goes_on_while_one_is_elsewhere(tabs: Tabs) -> None:
    """Who comes back finds all of it; and it never shows in the other conversation."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["Half ", gate, "and half."], ["Two."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("One?")
        await tab.shows("Half")
        await begin(tab, "Two?")
        gate.set()
        await tab.answered("Two.")
        assert await tab.questions() == ["Two?"]
        await entry(tab, "One?").get_by_role("link").click()
        await tab.answered("Half and half.")


async def test_each_tab_has_its_own_conversation_and_all_have_one_list(tabs: Tabs) -> None:
    """What is asked in one tab is listed in the other at once, and moves nothing there."""
    async with serving() as server:
        one = await tabs.open(server.port)
        await begin(one, "One?")
        two = await tabs.beside(one.page.context, server.port)
        await two.answered("You asked: One?")
        await begin(two, "Two?")
        await expect(entries(one)).to_have_count(2)
        await one.page.reload()
        await one.answered("You asked: One?")


async def test_a_conversation_can_be_renamed(tabs: Tabs) -> None:
    """The name stays, whatever is asked later; Escape leaves it, and so does a name of blanks."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await do(tab, "One?", "Rename")
        field = tab.page.get_by_role("textbox", name="The conversation's title")
        await expect(field).to_be_focused()
        await field.fill("  Numbers  ")
        await field.press("Enter")
        assert await titles(tab) == ["Numbers"]
        more = tab.button("More about “Numbers”")
        await expect(more).to_be_focused()
        await expect(tab.page).to_have_title("Numbers · Askbot")
        await tab.ask("Two?")
        await expect(tab.turns).to_have_count(2)
        await tab.ended()
        await tab.page.reload()
        await tab.ended()
        await expect(tab.page).to_have_title("Numbers · Askbot")

        for text, key in (("Other", "Escape"), ("   ", "Enter")):
            await do(tab, "Numbers", "Rename")
            await field.fill(text)
            await field.press(key)
            await expect(field).to_have_count(0)
            assert await titles(tab) == ["Numbers"]
            await more.click()


async def test_the_list_is_searched_in_titles_and_in_texts(tabs: Tabs) -> None:
    """All words have to be there, in either; what was found in a text is shown with what is around it."""
    script = ["Nitrogen and **oxygen** scatter it."], ["Because of iron oxide."], ["서울입니다."]
    async with serving(ScriptedUpstream(*script)) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "Why is the sky blue?")
        await begin(tab, "Why is Mars red?")
        await begin(tab, "한국의 수도는?")
        search = tab.page.get_by_role("searchbox", name="Search in titles and texts")
        for query, found in (
            ("why", ["Why is Mars red?", "Why is the sky blue?"]),
            ("BLUE oxygen", ["Why is the sky blue?"]),
            ("서울", ["한국의 수도는?"]),
            ("nothing of it", []),
        ):
            await search.fill(query)
            await expect(tab.announce).to_have_text(f"{len(found)} found")
            assert await titles(tab) == found
        await expect(tab.page.locator("#none")).to_have_text("Nothing found.")
        await search.fill("oxygen")
        await expect(entries(tab).locator("mark")).to_have_text("oxygen")
        await expect(entries(tab).locator(".excerpt")).to_have_text(
            "Why is the sky blue? Nitrogen and **oxygen** scatter it."
        )
        await entry(tab, "Why is the sky blue?").get_by_role("link").click()
        await tab.ended()
        await expect(search).to_have_value("oxygen")


async def test_what_was_read_in_another_browser_can_be_found_once_it_was_here(tabs: Tabs) -> None:
    """A conversation that was begun elsewhere is listed when it is opened by its address, with its own time."""
    async with serving() as server:
        async with reading(address(server.port)) as reader:
            await reader.answer("Elsewhere?")
        tab = await tabs.open(server.port)
        await begin(tab, "Here?")
        await tab.page.goto(f"http://127.0.0.1:{server.port}/?session={reader.story.session}")
        await tab.answered("You asked: Elsewhere?")
        await expect(entries(tab)).to_have_count(2)
        assert await titles(tab) == ["Here?", "Elsewhere?"]


async def test_a_deleted_conversation_is_gone_here_and_on_the_server(tabs: Tabs) -> None:
    """After a question, which Escape answers with no; the focus goes to what takes its place."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        await entry(tab, "One?").get_by_role("link").click()
        await tab.answered("You asked: One?")
        first = tab.page.url
        await do(tab, "One?", "Delete")
        await expect(tab.page.get_by_role("dialog")).to_contain_text("Delete “One?” for good, here and on the server?")
        await expect(tab.button("Cancel")).to_be_focused()
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.get_by_role("dialog")).to_be_hidden()
        assert await titles(tab) == ["Two?", "One?"]

        await entry(tab, "One?").get_by_role("button", name="Delete", exact=True).click()
        await tab.page.locator("#confirm-yes").click()
        await expect(tab.announce).to_have_text("Deleted")
        await expect(entries(tab)).to_have_count(1)
        await expect(entry(tab, "Two?").get_by_role("link")).to_be_focused()
        await expect(tab.turns).to_have_count(0)
        await expect(tab.page.locator("#empty")).to_be_visible()
        await told(tab)
        kept = await tab.page.evaluate("Object.entries(localStorage).filter((one) => `${one}`.includes('One?'))")
        assert kept == []

        await tab.page.goto(first)
        await expect(tab.page.get_by_role("alert")).to_have_text("That conversation is gone. This is a new one.")


async def test_what_is_deleted_without_a_network_is_deleted_when_it_is_back(tabs: Tabs) -> None:
    """Here it is gone at once; the server is told later, by a page that was opened later, too."""
    async with serving() as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT)
        await begin(tab, "One?")
        session = tab.page.url.partition("session=")[2]
        await begin(tab, "Two?")
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await do(tab, "One?", "Delete")
        await tab.page.locator("#confirm-yes").click()
        await expect(entries(tab)).to_have_count(1)
        await tab.page.close()
        proxy.is_down = False
        again = await tabs.beside(tab.page.context, proxy.port)
        await told(again)
        assert await titles(again) == ["Two?"]
        other = await tabs.open(server.port, f"/?session={session}")
        await expect(other.page.get_by_role("alert")).to_have_text("That conversation is gone. This is a new one.")


async def test_all_that_is_to_be_deleted_is_deleted_over_the_pages_own_connection(tabs: Tabs) -> None:
    """Not one for each, which a reload in a loop would multiply."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        for question in ("One?", "Two?", "Three?"):
            await begin(tab, question)
        sessions = "JSON.stringify(JSON.parse(localStorage['askbot.list']).map(({ session }) => session))"
        await tab.page.evaluate(f"localStorage['askbot.gone'] = {sessions}")
        sockets: list[str] = []
        tab.page.on("websocket", lambda socket: sockets.append(socket.url))
        await tab.page.goto(f"http://127.0.0.1:{server.port}/?session={'0' * 32}")
        await told(tab)
        assert len(sockets) <= 2  # the second is of the new session


async def test_a_conversation_that_another_tab_deletes_leaves_the_page(tabs: Tabs) -> None:
    """It says so, and has room for a new one."""
    async with serving() as server:
        one = await tabs.open(server.port)
        await begin(one, "One?")
        two = await tabs.beside(one.page.context, server.port)
        await two.answered("You asked: One?")
        await do(one, "One?", "Delete")
        await one.page.locator("#confirm-yes").click()
        await expect(two.turns).to_have_count(0)
        await expect(two.page.locator("#notice")).to_contain_text("gone")
        await expect(entries(two)).to_have_count(0)
        await two.connected()
        await two.ask("Two?")
        await two.answered("You asked: Two?")


async def test_each_conversation_keeps_its_draft(tabs: Tabs) -> None:
    """What is typed in one is not in the way in another, and is there when one comes back, after a reload too."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await tab.question.fill("more about one")
        await begin(tab, "Two?")
        await expect(tab.question).to_have_value("")
        await tab.question.fill("more about two")
        await entry(tab, "One?").get_by_role("link").click()
        await expect(tab.question).to_have_value("more about one")
        await tab.page.reload()
        await tab.answered("You asked: One?")
        await expect(tab.question).to_have_value("more about one")
        await tab.question.press("Enter")
        await expect(tab.turns).to_have_count(2)
        await tab.answered("You asked: more about one")
        await entry(tab, "Two?").get_by_role("link").click()
        await expect(tab.question).to_have_value("more about two")
        await entry(tab, "One?").get_by_role("link").click()
        await expect(tab.question).to_have_value("")


async def test_a_question_that_waits_for_the_network_is_asked_when_one_comes_back(tabs: Tabs) -> None:
    """It is not lost, and not asked behind one's back."""
    async with serving() as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await tab.ask("Three?")
        await expect(tab.turns).to_have_count(2)
        await entry(tab, "One?").get_by_role("link").click()
        proxy.is_down = False
        await tab.answered("You asked: One?")
        assert tab.asked() == ["One?", "Two?"]
        await entry(tab, "Two?").get_by_role("link").click()
        await tab.answered("You asked: Three?")
        assert tab.asked() == ["One?", "Two?", "Three?"]


async def test_on_a_phone_the_list_is_a_drawer(tabs: Tabs) -> None:
    """It is opened by a button and closed by choosing, by a button, by Escape or a touch beside it."""
    async with serving() as server:
        tab = await tabs.open(server.port, **PHONE)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        drawer, menu = tab.page.locator("#drawer"), tab.page.locator("#menu")
        for close in ("button", "Escape", "beside"):
            await menu.tap()
            await expect(drawer).to_be_visible()
            assert await drawer.evaluate("(drawer) => drawer.contains(document.activeElement)")
            if close == "button":
                await tab.button("Close").tap()
            elif close == "Escape":
                await tab.page.keyboard.press("Escape")
            else:
                await tab.page.touchscreen.tap(350, 400)
            await expect(drawer).to_be_hidden()
            await expect(menu).to_be_focused()
        await menu.tap()
        await entry(tab, "One?").get_by_role("link").tap()
        await expect(drawer).to_be_hidden()
        await tab.answered("You asked: One?")
        await menu.tap()
        await do(tab, "One?", "Delete")
        await tab.page.locator("#confirm-yes").tap()
        await expect(entries(tab)).to_have_count(1)
        await expect(drawer).to_be_visible()


async def test_the_list_needs_no_mouse(tabs: Tabs) -> None:
    """Finding, opening, and what is behind each entry, by keys."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        keyboard = tab.page.keyboard
        await tab.page.locator("#search").focus()
        await keyboard.type("one")
        await expect(entries(tab)).to_have_count(1)
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await tab.answered("You asked: One?")
        await expect(entry(tab, "One?").get_by_role("link")).to_be_focused()
        await keyboard.press("Tab")
        await expect(tab.button("More about “One?”")).to_have_attribute("aria-expanded", "false")
        await keyboard.press("Enter")
        await expect(tab.button("More about “One?”")).to_have_attribute("aria-expanded", "true")
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await keyboard.type("Number one")
        await keyboard.press("Enter")
        await tab.page.locator("#search").fill("")
        assert await titles(tab) == ["Two?", "Number one"]
