"""A conversation as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import session_of
from .tab import Tab, Tabs
from .test_list import begin, do, told

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def saved(tab: Tab, act: str, folder: Path) -> tuple[str, str]:
    """The name and the text of the file that one gets."""
    async with tab.page.expect_download() as download:
        await tab.page.locator(f"#sessions li:has([aria-current]) [data-do={act}]").click()
    file = await download.value
    path = folder / file.suggested_filename
    await file.save_as(path)
    return file.suggested_filename, path.read_text(encoding="utf-8")


async def test_a_conversation_is_saved_as_markdown(tabs: Tabs, tmp_path: Path) -> None:
    """To be read: each question as a quotation, each answer as it was written, and what an answer lacks."""
    upstream = ScriptedUpstream(
        ["No."], ["Say **so**:\n\n```sh\nls\n```\n"], ["Half", UpstreamUnavailable()], model="m-1"
    )
    async with serving(upstream) as server:
        tab = await tabs.open(server.port)
        await tab.ask("What/how:\nis 그것?")
        await tab.answered("No.")
        await tab.button("Ask again").click()
        await expect(tab.answer).to_contain_text("Say so")
        await tab.ended()
        await tab.ask("More?")
        await tab.ended("error")
        await tab.button("More about “What/how:”").click()
        name, text = await saved(tab, "as_markdown", tmp_path)
        await expect(tab.announce).to_have_text("Saved as What how.md")

    assert name == "What how.md"
    lines = [line for line in text.splitlines() if not line.startswith("*")]
    assert lines == [
        "# What/how:", "", "> What/how:", "> is 그것?", "", "Say **so**:", "", "```sh", "ls", "```", "",
        "", "---", "", "> More?", "", "Half", "",
    ]  # fmt: skip
    assert [line.split(" · ")[:-1] for line in text.splitlines() if line.startswith("*")] == [
        ["*m-1"],
        ["*It broke off. The model cannot be reached.", "m-1"],
    ]


async def test_a_conversation_is_saved_as_json(tabs: Tabs, tmp_path: Path) -> None:
    """For a program: all that the log has of it, what was replaced too, and more than the page has loaded."""
    questions = [f"Question {place}." for place in range(60)]
    async with serving() as server:
        session = await session_of(server.port, questions)
        tab = await tabs.open(server.port, f"/?session={session}")
        await expect(tab.turns).to_have_count(50)
        replaced = await tab.last.get_attribute("data-turn")
        assert replaced
        await tab.button("Ask again").last.click()
        await expect(tab.last).not_to_have_attribute("data-turn", replaced)
        await tab.ended()
        await tab.page.locator("[data-do=more]").click()
        name, text = await saved(tab, "as_json", tmp_path)
        await expect(tab.turns).to_have_count(50)

    kept = json.loads(text)
    assert name.endswith(".json")
    assert kept["session"] == session
    assert [turn["question"] for turn in kept["turns"]] == [*questions, questions[-1]]
    assert kept["turns"][-1]["replaces"] == kept["turns"][-2]["turn"]
    assert kept["turns"][0]["answer"] == f"You asked: {questions[0]}"
    assert kept["turns"][0]["check"]["chars"] == len(kept["turns"][0]["answer"])


async def test_a_conversation_that_is_gone_is_not_saved_as_an_empty_file(tabs: Tabs) -> None:
    """It says so instead, and leaves the list."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        first = tab.page.url.partition(str(server.port))[2]
        await begin(tab, "Two?")
        other = await tabs.open(server.port, first)
        await other.ended()
        await do(other, "One?", "Delete")
        await other.page.locator("#confirm-yes").click()
        await told(other)

        await do(tab, "One?", "Save as Markdown")
        await expect(tab.page.get_by_role("alert")).to_have_text("It could not be fetched from the server.")
        await expect(tab.page.locator("#sessions > li")).to_have_count(1)
        assert await tab.questions() == ["Two?"]
