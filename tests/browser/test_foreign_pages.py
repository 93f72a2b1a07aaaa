"""Foreign pages: a real browser with a victim's cookie, on a page of an attacker's."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import jwt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from askbot_ws.testing import ScriptedUpstream, serving

from ..chaos.proxy import proxied
from .conftest import launched
from .other_origin import other_origin

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "no secret of anybody, but long enough for one"
KNOCK = """(address) => new Promise((resolve) => {
    const socket = new WebSocket(address, ["askbot.v1"]);
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).user);
    socket.onclose = ({ code }) => resolve(code);
})"""
REQUEST = """([address, method]) => fetch(address, {
    method,
    mode: new URL(address, location).origin === location.origin ? "same-origin" : "no-cors",
    credentials: "include",
    body: method === "POST" ? '{"userPrompt": "What is the time?"}' : undefined,
}).then((response) => response.status, () => "failed")"""


@pytest_asyncio.fixture(loop_scope="session")
async def page() -> AsyncGenerator[Page]:
    """A page of a browser for which names under evil.example lead to this machine, signed in at 127.0.0.1."""
    async with launched("--host-resolver-rules=MAP *.evil.example 127.0.0.1") as browser:
        yield await signed_in(browser)


async def signed_in(browser: Browser) -> Page:
    """A page with alice's cookie, which no script can read."""
    context = await browser.new_context()
    token = jwt.encode({"sub": "alice", "exp": time.time() + 600}, SECRET, algorithm="HS256")
    await context.add_cookies(
        [{"name": "signed_in", "value": token, "domain": "127.0.0.1", "path": "/", "httpOnly": True}]
    )
    return await context.new_page()


async def test_a_foreign_page_cannot_use_the_victims_cookie(page: Page) -> None:
    """Cross-site WebSocket hijacking: the browser sends the cookie, as the other page is of the same site."""
    upstream = ScriptedUpstream()
    async with serving(upstream, jwt_secret=SECRET, auth_cookie="signed_in") as server, other_origin() as place:
        address = f"127.0.0.1:{server.port}"
        await page.goto(f"http://{address}/")
        assert await page.evaluate(KNOCK, f"ws://{address}/v1/chat") == "alice"

        for url in (place.origin, f"http://www.evil.example:{place.port}"):
            await page.goto(url)
            assert await page.evaluate(KNOCK, f"ws://{address}/v1/chat") == 1006
            await page.evaluate(REQUEST, [f"http://{address}/aiCompletion", "POST"])
            await page.evaluate(REQUEST, [f"http://{address}/v1/tickets", "POST"])
        assert upstream.prompts == []
        assert server.connection_count == 0


async def test_a_page_whose_name_leads_here_afterwards_gets_nothing(page: Page) -> None:
    """DNS rebinding: for the browser, the attacker's page and the server are one origin, and no cookie is needed."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, other_origin() as place, proxied(place.port) as front:
        origin = f"www.evil.example:{front.port}"
        await page.goto(f"http://{origin}/")
        front.target = server.port  # from now on, the name leads to the server

        for path, method in (("/", "GET"), ("/v1/identity", "GET"), ("/metrics", "GET"), ("/aiCompletion", "POST")):
            assert await page.evaluate(REQUEST, [path, method]) == 403, path
        assert await page.evaluate(KNOCK, f"ws://{origin}/v1/chat") == 1006
        assert upstream.prompts == []
        assert server.connection_count == 0
