"""README's JavaScript and HTML, as they stand, in a page from the server and in one of another origin."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..test_readme import PORT, blocks
from .other_origin import other_origin
from .tab import Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (
    '<!doctype html><meta charset="utf-8"><title>A page</title><body><script type="module" src="program.js"></script>'
)
ANSWER = "The capital of France is Paris."
SCRIPT = ["The capital of France ", "is Paris."]


def program(port: int) -> str:
    """The program, for the server at this port."""
    (text,) = blocks("js")
    assert PORT in text
    return text.replace(PORT, f":{port}")


async def instead_of_ours(page: Page, text: str) -> None:
    """Let a program take the place of the page's own: the page is the server's, and so is its policy."""
    await page.route("**/page/bundle.js", lambda route: route.fulfill(body=text, content_type="text/javascript"))


async def test_the_program_writes_the_answer_into_a_page_of_the_server(tabs: Tabs) -> None:
    """Under the server's own Content-Security-Policy."""
    upstream = ScriptedUpstream(SCRIPT)
    async with serving(upstream) as server:
        tab = await tabs.open(server.port, "/healthz")
        await instead_of_ours(tab.page, program(server.port))
        await tab.page.goto(f"http://127.0.0.1:{server.port}/")
        await expect(tab.page.locator("body")).to_contain_text(ANSWER)
    assert [message.text for message in upstream.prompts[0].messages if message.role == "user"] == [
        "What is the capital of France?"
    ]


async def test_the_program_works_in_a_page_of_an_origin_that_is_named(tabs: Tabs) -> None:
    """ASKBOT_ORIGINS lets it import the client, and connect."""
    async with other_origin() as place, serving(ScriptedUpstream(SCRIPT), origins=place.origin) as server:
        place.pages = {"/": PAGE, "/program.js": program(server.port)}
        tab = await tabs.open(place.port)
        await expect(tab.page.locator("body")).to_have_text(ANSWER, timeout=5000)


async def test_the_line_of_html_is_a_chat(tabs: Tabs) -> None:
    """In a page that has nothing else in it."""
    (line,) = blocks("html")
    assert len(line.splitlines()) == 1
    assert len(blocks("js")[0].splitlines()) <= 10
    async with other_origin() as place, serving(ScriptedUpstream(SCRIPT), origins=place.origin) as server:
        place.pages["/"] = f"<!doctype html><title>A page</title>{line.replace(PORT, f':{server.port}')}"
        tab = await tabs.open(place.port)
        field = tab.page.get_by_role("textbox", name="Ask a question")
        await field.fill("What is the capital of France?")
        await field.press("Enter")
        await expect(tab.page.get_by_role("article")).to_contain_text(ANSWER)
