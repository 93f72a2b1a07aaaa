"""The pages that our documents and examples tell people to write, as they stand: from an origin of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..package.npm import EXAMPLE, built, needs
from ..package.test_programs import GUIDE, README, programs
from ..process import ROOT
from .other_origin import other_origin
from .tab import Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAIN = ROOT / "examples/plain.html"
PORT = ":8765"
SCRIPT = ["The capital of France ", "is **Paris**."]


async def test_the_plain_page_holds_a_conversation_in_fifteen_lines(tabs: Tabs) -> None:
    """Over a reload too."""
    page = PLAIN.read_text()
    assert len(page.splitlines()) == 15
    async with other_origin() as place, serving(ScriptedUpstream(["Paris."]), origins=place.origin) as server:
        place.pages["/"] = page.replace(PORT, f":{server.port}")
        tab = await tabs.open(place.port)
        field, shown = tab.page.get_by_role("textbox"), tab.page.locator("pre")
        for question in ("The capital of France?", "Really?"):
            await field.fill(question)
            await field.press("Enter")
        both = "> The capital of France? Paris. > Really? You asked: Really?"
        await expect(shown).to_have_text(both)
        await tab.page.reload()
        await expect(shown).to_have_text(both)
        assert tab.asked() == ["The capital of France?", "Really?"]


@pytest.mark.parametrize("page", [README, GUIDE], ids=["the package's README", "the guide"])
async def test_the_elements_two_lines_are_a_chat(tabs: Tabs, page: Path) -> None:
    """And nothing else is needed."""
    (lines,) = programs(page, "html")
    assert len(lines.splitlines()) == 2
    async with other_origin() as place, serving(ScriptedUpstream(SCRIPT), origins=place.origin) as server:
        place.pages["/"] = f"<!doctype html><title>A page</title>{lines.replace(PORT, f':{server.port}')}"
        tab = await tabs.open(place.port)
        field = tab.page.get_by_role("textbox", name="Ask a question")
        await field.fill("What is the capital of France?")
        await field.press("Enter")
        await expect(tab.page.get_by_role("article")).to_contain_text("The capital of France is Paris.")


async def test_the_component_asks_and_shows(tabs: Tabs, tmp_path: Path) -> None:
    """README's, in an app of nothing else."""
    needs(EXAMPLE / "node_modules/vite")
    (component,) = programs(README, "jsx")
    async with other_origin() as place, serving(ScriptedUpstream(SCRIPT), origins=place.origin) as server:
        (tmp_path / "node_modules").symlink_to(EXAMPLE / "node_modules")
        (tmp_path / "vite.config.js").write_text((EXAMPLE / "vite.config.js").read_text())
        (tmp_path / "Bot.jsx").write_text(component.replace(PORT, f":{server.port}"))
        (tmp_path / "main.jsx").write_text("""
            import { createRoot } from "react-dom/client";
            import { Bot } from "./Bot.jsx";
            createRoot(document.body).render(<Bot />);
        """)
        (tmp_path / "index.html").write_text(
            '<!doctype html><body></body><script type="module" src="main.jsx"></script>'
        )
        place.pages = await built(tmp_path, tmp_path / "dist")
        tab = await tabs.open(place.port)
        await tab.button("Ask").click()
        await expect(tab.page.get_by_role("paragraph")).to_have_text(
            "What is the capital of France? The capital of France is **Paris**."
        )
