"""Signing in on the page, each user's own conversations, and signing out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from playwright.async_api import Page, expect

from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from .sockets import SOCKETS
from .tab import IMPATIENT, Json, Tab, Tabs, until
from .test_list import begin, do, entry, titles

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWO_DAYS = Path(__file__).with_name("two_days.js").read_text("utf-8")
SECRET = "no secret of anybody, but long enough for one"


def token(user: str, *, lifetime: timedelta = timedelta(hours=1)) -> str:
    """A JSON Web Token for a user."""
    return jwt.encode({"sub": user, "exp": time.time() + lifetime.total_seconds()}, SECRET, algorithm="HS256")


@asynccontextmanager
async def serving_users(upstream: ScriptedUpstream | None = None, **settings: object) -> AsyncGenerator[Server]:
    """A server that wants a token."""
    async with serving(upstream, jwt_secret=SECRET, **settings) as server:
        yield server


async def sign_in(tab: Tab, user: str, *, kept: bool = False) -> None:
    """Type a key, and wait until the page is there."""
    await tab.page.locator("#key").fill(token(user))
    await tab.page.locator("#keep").set_checked(kept)
    await tab.page.locator("#key").press("Enter")
    await expect(tab.page.locator("#user")).to_have_text(user)
    await tab.connected()


async def listed(tab: Tab, *wanted: str) -> None:
    """Wait until these are listed, the last used first."""
    await expect(tab.page.locator("#sessions .title")).to_have_text(list(wanted))


async def look(tab: Tab) -> None:
    """Come back to the tab: it asks the server for the list."""
    await tab.page.evaluate("dispatchEvent(new Event('focus'))")


async def leftovers(page: Page) -> list[str]:
    """What storages have, but for when somebody has signed out."""
    names: list[str] = await page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    return [name for name in names if not name.startswith("askbot.signed_out")]


async def test_two_users_each_find_their_own_conversations_on_a_second_device(tabs: Tabs) -> None:
    """By JWT, in browsers that share nothing; names and deletions are the same everywhere, and a search finds both."""
    async with serving_users() as server:
        devices = {user: [await tabs.open(server.port) for _ in range(2)] for user in ("anna", "ben")}
        for user, (first, second) in devices.items():
            await expect(first.page.locator("#key")).to_be_focused()
            await sign_in(first, user)
            await begin(first, f"One of {user}?")
            await begin(first, f"Two of {user}?")
            await sign_in(second, user)
            await listed(second, f"Two of {user}?", f"One of {user}?")

        first, second = devices["anna"]
        await second.page.get_by_role("link", name="One of anna?").click()
        await second.answered("You asked: One of anna?")
        await do(second, "Two of anna?", "Rename")
        await second.page.locator("form.rename input").fill("Colours")
        await second.page.locator("form.rename input").press("Enter")
        await do(second, "One of anna?", "Rename")
        await second.page.locator("form.rename input").fill("Sounds")
        await second.page.locator("form.rename input").press("Enter")
        await expect(second.page).to_have_title("Sounds · Askbot")
        await expect(second.page.locator("#notice")).to_be_empty()
        await look(first)
        await expect(first.page.locator("#sessions .title").filter(has_text="Colours")).to_have_count(1)
        await expect(first.page.locator("#sessions .title").filter(has_text="Sounds")).to_have_count(1)
        await entry(second, "Colours").get_by_role("button", name="Delete").click()  # its menu is still open
        await second.page.locator("#confirm-yes").click()
        await listed(second, "Sounds")
        await look(first)
        await expect(first.page.locator("#sessions .title").filter(has_text="Sounds")).to_have_count(1)
        await listed(devices["ben"][1], "Two of ben?", "One of ben?")


async def test_a_key_is_refused_kept_and_forgotten(tabs: Tabs) -> None:
    """A wrong one is said; a right one is kept for the tab, or the browser; signing out leaves nothing, in any tab."""
    async with serving_users() as server:
        tab = await tabs.open(server.port)
        for wrong in ("wrong", "no tokén at all", token("anna", lifetime=timedelta(hours=-1))):
            await tab.page.locator("#key").fill(wrong)
            await tab.page.locator("#key").press("Enter")
            await expect(tab.page.locator("#sign-in-error")).not_to_be_empty()
            await expect(tab.page.locator("#key")).to_be_focused()
        await expect(tab.page.locator("#question")).to_be_hidden()
        await sign_in(tab, "anna")
        await begin(tab, "One?")
        await tab.page.reload()
        await tab.answered("You asked: One?")
        beside = await tabs.beside(tab.page.context, server.port)
        await sign_in(beside, "anna", kept=True)
        await listed(beside, "One?")
        third = await tabs.beside(tab.page.context, server.port)
        await expect(third.page.locator("#user")).to_have_text("anna")

        await third.question.fill("Not sent")
        await third.button("Sign out").click()
        await expect(third.page.locator("#confirm")).to_be_visible()
        await third.page.locator("#confirm-yes").click()
        for each in (third, beside, tab):
            await expect(each.page.locator("#key")).to_be_visible()
            await expect(each.turns).to_have_count(0)
            assert "session" not in each.page.url
            assert await leftovers(each.page) == []
        await sign_in(third, "ben")
        await listed(third)
        assert await third.question.input_value() == ""


async def test_who_is_signed_out_in_mid_sentence_signs_in_again_and_goes_on(tabs: Tabs) -> None:
    """What was typed, asked and shown stays where it is; as another user nothing of it is shown or asked."""
    async with serving_users(ScriptedUpstream(["One."], ["Two."])) as server:
        tab = await tabs.open(server.port, script=SOCKETS + IMPATIENT)
        await sign_in(tab, "anna")
        await begin(tab, "One?")
        await tab.page.evaluate("globalThis.article = document.querySelector('article')")
        await tab.question.fill("Half a qu")
        await tab.page.evaluate("refuse()")
        panel = tab.page.locator("#sign-in")
        await expect(panel).to_be_visible()
        await expect(tab.question).to_be_focused()
        await expect(tab.page.locator("#state")).to_have_text("Signed out")
        await expect(tab.page.locator("#offline")).to_be_hidden()
        await tab.question.press_sequentially("estion?")
        await tab.question.press("Enter")
        await tab.question.fill("And a draft")
        assert tab.asked() == ["One?"]
        await sign_in(tab, "anna")
        await expect(panel).to_be_hidden()
        await tab.answered("Two.")
        assert await tab.question.input_value() == "And a draft"
        assert await tab.page.evaluate("article.isConnected")

        await tab.page.evaluate("refuse()")
        await expect(panel).to_be_visible()
        await tab.ask("Anna's secret?")
        await tab.page.locator("#key").fill(token("ben"))
        await tab.page.locator("#key").press("Enter")
        await expect(tab.page.locator("#user")).to_have_text("ben")
        await tab.connected()
        await expect(tab.turns).to_have_count(0)
        await listed(tab)
        assert await tab.question.input_value() == ""
        assert "Anna's secret?" not in tab.asked()

        await tab.button("Sign out").click()
        await sign_in(tab, "anna")
        await tab.page.get_by_role("link", name="One?").click()
        await expect(tab.last.locator(".question")).to_have_text("Anna's secret?")


async def test_a_page_that_anybody_may_use_takes_its_conversations_along(tabs: Tabs) -> None:
    """They are offered to each user once; those that are taken are on every device, under their names."""
    async with serving_users(allow_anonymous=True) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await begin(tab, "Two?")
        await do(tab, "One?", "Rename")
        await tab.page.locator("form.rename input").fill("Colours")
        await tab.page.locator("form.rename input").press("Enter")
        await expect(tab.page.locator("#user")).to_have_text("Not signed in")
        await tab.page.locator("#sign-in-open").click()
        await sign_in(tab, "ben")
        await tab.button("Leave").click()
        await tab.page.reload()
        await tab.connected()
        await expect(tab.page.locator("#take-along")).to_be_hidden()
        await tab.button("Sign out").click()
        await listed(tab, "Two?", "Colours")
        await tab.page.locator("#sign-in-open").click()
        await sign_in(tab, "anna")
        await listed(tab)
        await expect(tab.page.locator("#take-along")).to_contain_text("2 conversations")
        await tab.button("Take along").click()
        await expect(tab.page.locator("#take-along")).to_be_hidden()
        await expect(tab.announce).to_have_text("2 of 2 conversations are yours now")
        other = await tabs.open(server.port)
        await other.page.locator("#sign-in-open").click()
        await sign_in(other, "anna")
        await expect(other.page.locator("#sessions .title")).to_have_count(2)
        assert sorted(await titles(other)) == ["Colours", "Two?"]
        await other.page.get_by_role("link", name="Colours").click()
        await other.answered("You asked: One?")
        assert await tab.page.evaluate("localStorage['askbot.list']") == "[]"


async def test_the_page_of_another_login_is_where_one_signs_in_and_out(tabs: Tabs) -> None:
    """It gets the page's address, and gives a cookie, by which one is signed in; that of another user begins anew."""
    async with serving_users(auth_cookie="session", sign_in_url="/login?app=1", sign_out_url="/out") as server:
        tab = await tabs.open(server.port, script=SOCKETS + IMPATIENT)
        home = f"http://127.0.0.1:{server.port}/"
        link = f"{home}login?app=1&return_to={home.replace(':', '%3A').replace('/', '%2F')}"
        await expect(tab.page.locator("#sign-in-link")).to_have_attribute("href", link)

        async def give(user: str) -> None:
            await tab.page.context.add_cookies(
                [{"name": "session", "value": token(user), "url": home, "httpOnly": True}]
            )

        await give("anna")
        await look(tab)
        await expect(tab.page.locator("#user")).to_have_text("anna")
        await begin(tab, "One?")
        await tab.question.fill("A draft")
        await tab.page.context.clear_cookies()
        await tab.page.evaluate("refuse()")
        await expect(tab.page.locator("#sign-in-link")).to_be_visible()
        await give("anna")
        await look(tab)
        await tab.connected()
        assert await tab.question.input_value() == "A draft"

        await give("ben")
        await tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 1006 }))")
        await expect(tab.page.locator("#user")).to_have_text("ben")
        await listed(tab)
        assert await tab.question.input_value() == ""
        await tab.page.route("**/out*", lambda route: route.fulfill(body="Bye."))
        await tab.button("Sign out").click()
        await expect(tab.page.locator("body")).to_have_text("Bye.")


async def test_the_list_goes_on_and_a_search_finds_what_was_not_fetched(tabs: Tabs) -> None:
    """A page of it at a time, by a button; a search fetches the rest."""
    async with serving_users() as server:
        tab = await tabs.open(server.port, "/#token=" + token("anna"))
        await tab.connected()
        await tab.page.evaluate(
            """async (token) => {
                const { connect } = await import("./askbot.js");
                for (let number = 0; number < 60; number += 1) {
                    const chat = connect({ token, storage: {} });
                    await chat.ask(`Number ${number}?`);
                    chat.close();
                }
            }""",
            token("anna"),
        )
        entries = tab.page.locator("#sessions > li")
        await look(tab)
        await expect(entries).to_have_count(50)
        more = tab.page.locator("#more-conversations")
        await expect(more).to_be_visible()
        await tab.page.locator("#search").fill("Number 3?")
        await expect(entries).to_have_count(6)  # 53, 43, … and 3, which was not fetched
        await tab.page.locator("#search").fill("")
        await expect(entries).to_have_count(60)
        await expect(more).to_be_hidden()


async def test_a_page_lasts_two_days_over_credentials_of_five_minutes(tabs: Tabs) -> None:
    """A cookie that the login in front renews; nobody is asked for anything, and what is typed stays."""
    async with serving() as server:
        tab = await tabs.open(server.port, script=TWO_DAYS)
        pass_time = "(minutes) => pass(minutes * 60_000)"
        await until(tab.page, "server.hasBegun")
        await tab.page.evaluate(pass_time, 1)
        await tab.connected()
        await tab.ask("First?")
        await tab.question.fill("A draft")
        for _ in range(2):
            await tab.page.evaluate(pass_time, 24 * 60)
        await tab.connected()
        await expect(tab.turns).to_have_count(1)
        assert await tab.question.input_value() == "A draft"
        await tab.question.press("Enter")
        await expect(tab.turns).to_have_count(2)
        await tab.page.evaluate(pass_time, 1)
        await tab.ended()
        said: Json = await tab.page.evaluate("({ ...server, current: null })")
        assert said["asked"] == ["First?", "A draft"]
        assert (said["expired"], said["panels"]) == (0, 0)
        assert 48 * 60 / 5 <= said["connections"] <= 48 * 60 / 4 + 10
