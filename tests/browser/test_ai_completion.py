"""`examples/aicompletion.html`: a page of another origin that reads an answer by `fetch`, in the real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import ROOT, eventually
from .other_origin import other_origin
from .tab import Tab, Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = ROOT / "examples/aicompletion.html"


@asynccontextmanager
async def page(tabs: Tabs, upstream: ScriptedUpstream, **settings: object) -> AsyncGenerator[tuple[Tab, Server]]:
    """The page as it stands, but for the port; served by another server of this machine, which nobody has listed."""
    async with other_origin() as place, serving(upstream, **settings) as server:
        place.pages["/"] = PAGE.read_text().replace(":8765", f":{server.port}")
        yield await tabs.open(place.port), server


async def ask(tab: Tab, question: str) -> None:
    """Type it and press Enter."""
    field = tab.page.get_by_role("textbox")
    await field.fill(question)
    await field.press("Enter")


async def test_the_answer_is_shown_as_it_comes(tabs: Tabs) -> None:
    """Piece by piece; a second question begins anew, and nothing is kept."""
    gate = asyncio.Event()
    async with page(tabs, ScriptedUpstream(["The Föhn 🌬 ", gate, "is a wind."], ["Yes."])) as (tab, server):
        answer = tab.page.get_by_label("Answer")
        await ask(tab, "What is the Föhn?")
        await expect(answer).to_have_text("The Föhn 🌬 ")
        gate.set()
        await expect(answer).to_have_text("The Föhn 🌬 is a wind.")
        await ask(tab, "Really?")
        await expect(answer).to_have_text("Yes.")
        await expect(tab.page.get_by_role("alert")).to_be_empty()
        await eventually(lambda: server.hub.session_count == 0)
        assert tab.console == []


async def test_the_page_is_told_why_there_is_no_answer(tabs: Tabs) -> None:
    """By the server's words, or by the end of the stream, where the answer broke off."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream([UpstreamUnavailable()], ["So ", gate, UpstreamUnavailable()])
    async with page(tabs, upstream) as (tab, _):
        alert = tab.page.get_by_role("alert")
        await ask(tab, "")
        await expect(alert).to_have_text("No whole answer: The question is empty.")
        await ask(tab, "One?")
        await expect(alert).to_have_text("No whole answer: The model cannot be reached.")
        await ask(tab, "Two?")
        await expect(tab.page.get_by_label("Answer")).to_have_text("So ")
        await expect(alert).to_be_empty()
        gate.set()
        await expect(alert).to_contain_text("No whole answer: ")
        await expect(tab.page.get_by_label("Answer")).to_have_text("So ")


async def test_stopping_and_leaving_stop_the_model(tabs: Tabs) -> None:
    """By the button, by another question, by closing the tab."""
    upstream = ScriptedUpstream(["So ", 60.0], ["So ", 60.0], ["So ", 60.0])
    async with page(tabs, upstream) as (tab, server):
        answer = tab.page.get_by_label("Answer")
        await ask(tab, "One?")
        await expect(answer).to_have_text("So ")
        await tab.page.get_by_role("button", name="Stop").click()
        await eventually(lambda: upstream.stopped == 1)
        await expect(tab.page.get_by_role("button", name="Stop")).to_be_disabled()
        await ask(tab, "Two?")
        await expect(answer).to_have_text("So ")
        await ask(tab, "Three?")
        await eventually(lambda: upstream.stopped == 2)
        await expect(answer).to_have_text("So ")
        await tab.page.close()
        await eventually(lambda: upstream.stopped == 3)
        await eventually(lambda: server.hub.session_count == 0)


async def test_the_conversation_goes_on_where_the_page_names_a_session(tabs: Tabs) -> None:
    """The browser lets it read the header."""
    upstream = ScriptedUpstream(["One."], ["Two."])
    async with page(tabs, upstream) as (tab, server):
        texts: list[str] = await tab.page.evaluate(
            """async (address) => {
                const texts = [];
                let session = "new";
                for (const userPrompt of ["First?", "Second?"]) {
                    const headers = { "Content-Type": "application/json", "Askbot-Session": session };
                    const body = JSON.stringify({ userPrompt });
                    const response = await fetch(address, { method: "POST", headers, body });
                    session = response.headers.get("Askbot-Session");
                    texts.push(await response.text());
                }
                return texts;
            }""",
            f"http://127.0.0.1:{server.port}/aiCompletion",
        )
    assert texts == ["One.", "Two."]
    assert [message.text for message in upstream.prompts[1].messages] == ["First?", "One.", "Second?"]


async def test_a_page_of_another_site_reads_nothing(tabs: Tabs) -> None:
    """Where loopback pages are strangers too: bound to all addresses, as in a container."""
    upstream = ScriptedUpstream()
    async with page(tabs, upstream, host="0.0.0.0", allow_anonymous=True) as (tab, _):
        await ask(tab, "Why?")
        await expect(tab.page.get_by_role("alert")).to_contain_text("No whole answer: ")
    assert upstream.prompts == []
