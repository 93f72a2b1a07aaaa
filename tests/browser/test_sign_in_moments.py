"""Signing in and out at a wrong moment: nothing typed is lost, and nothing is one user's that was another's."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route, expect

from .sockets import SOCKETS
from .tab import IMPATIENT, Tab, Tabs
from .test_list import begin, entry
from .test_sign_in import listed, look, serving_users, sign_in, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHOUT_STORAGE = """
    for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(globalThis, name, { get: () => { throw new DOMException("No.", "SecurityError"); } });
"""


async def give(tab: Tab, port: int, user: str) -> None:
    """Sign in by a cookie, as an application in front does."""
    home = f"http://127.0.0.1:{port}/"
    await tab.page.context.add_cookies([{"name": "session", "value": token(user), "url": home, "httpOnly": True}])


async def test_a_connection_of_another_user_leaves_what_the_first_one_has_not_sent(tabs: Tabs) -> None:
    """Neither asked nor shown as the other's, though the page could not ask who is signed in; kept for the first."""
    async with serving_users(auth_cookie="session", sign_in_url="/login") as server:
        tab = await tabs.open(server.port, script=SOCKETS + IMPATIENT)
        await expect(tab.page.locator("#sign-in-link")).to_be_visible()
        await give(tab, server.port, "anna")
        await look(tab)
        await begin(tab, "One?")
        await tab.page.evaluate("drain()")
        await tab.ask("Anna's secret?")
        await tab.question.fill("Anna's draft")
        await tab.page.route("**/v1/identity", lambda route: route.abort())
        await give(tab, server.port, "ben")
        await tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 1006 }))")
        await expect(tab.page.locator("#notice")).to_contain_text("Somebody else is signed in now: ben")
        await tab.page.unroute("**/v1/identity")
        await tab.page.reload()
        await expect(tab.page.locator("#user")).to_have_text("ben")
        await tab.connected()
        await listed(tab)
        assert (await tab.question.input_value(), tab.asked()) == ("", ["One?"])

        await give(tab, server.port, "anna")
        await tab.page.reload()
        await expect(tab.page.locator("#user")).to_have_text("anna")
        await tab.page.get_by_role("link", name="One?").click()
        await tab.answered("You asked: Anna's secret?")
        assert await tab.question.input_value() == "Anna's draft"
        assert tab.asked() == ["One?", "Anna's secret?"]


async def test_the_page_waits_until_the_server_says_who_is_signed_in(tabs: Tabs) -> None:
    """And says so meanwhile; nobody's conversations are shown to a user, or asked in."""
    async with serving_users(allow_anonymous=True) as server:
        tab = await tabs.open(server.port, script=IMPATIENT)
        await begin(tab, "Nobody's?")
        is_back = asyncio.Event()

        async def answer(route: Route) -> None:
            await (route.continue_() if is_back.is_set() else route.fulfill(status=503))

        await tab.page.route("**/v1/identity", answer)
        await tab.page.goto(f"http://127.0.0.1:{server.port}/#token={token('anna')}")
        await tab.page.reload()
        await expect(tab.page.locator("#notice")).to_have_text("The server cannot be reached.")
        is_back.set()
        await expect(tab.page.locator("#user")).to_have_text("anna")
        await tab.connected()
        await expect(tab.page.locator("#notice")).to_be_empty()
        await expect(tab.turns).to_have_count(0)


async def test_a_key_that_has_expired_keeps_nobody_out_where_anybody_may_ask(tabs: Tabs) -> None:
    """The page goes on without it, says so, and offers to sign in."""
    async with serving_users(allow_anonymous=True) as server:
        tab = await tabs.open(server.port, "/#token=an-old-one")
        await tab.connected()
        await expect(tab.page.locator("#sign-in-about")).to_contain_text("does not know this key, or it has expired")
        await tab.ask("One?")
        await tab.answered("You asked: One?")
        await sign_in(tab, "anna")
        await expect(tab.page.locator("#take-along")).to_be_visible()


async def test_without_storage_one_signs_in_for_as_long_as_the_page_lasts(tabs: Tabs) -> None:
    """Where anybody may ask too, whose page is loaded again for that; the address keeps no key."""
    async with serving_users(allow_anonymous=True) as server:
        tab = await tabs.open(server.port, script=WITHOUT_STORAGE)
        await tab.connected()
        await tab.page.locator("#sign-in-open").click()
        await sign_in(tab, "anna", kept=True)
        assert "token" not in tab.page.url
        await begin(tab, "One?")
        await listed(tab, "One?")


async def test_what_could_not_be_taken_along_is_offered_again(tabs: Tabs) -> None:
    """A lost connection is no reason to leave it; what is typed comes along."""
    async with serving_users(allow_anonymous=True) as server:
        tab = await tabs.open(server.port, script=SOCKETS + IMPATIENT)
        await begin(tab, "One?")
        await tab.question.fill("A draft")
        await tab.page.locator("#sign-in-open").click()
        await sign_in(tab, "anna")
        await tab.page.evaluate("globalThis.isRefused = true")
        take = tab.page.locator("#take-along")
        await tab.button("Take along").click()
        await expect(tab.announce).to_have_text("0 of 1 conversations are yours now")
        await expect(take).to_be_visible()
        await tab.page.reload()
        await tab.connected()
        await tab.button("Take along").click()
        await expect(take).to_be_hidden()
        await entry(tab, "One?").get_by_role("link").click()
        await tab.answered("You asked: One?")
        assert await tab.question.input_value() == "A draft"
