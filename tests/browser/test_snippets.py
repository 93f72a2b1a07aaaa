"""The pages that our documents and examples tell people to write, as they stand: from an origin of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..package.npm import EXAMPLE, MODULES, built, needs, run
from ..package.test_programs import GUIDE, README, programs
from ..process import ROOT
from .other_origin import other_origin
from .tab import Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAIN = ROOT / "examples/plain.html"
DEPLOY, MARKDOWN = ROOT / "docs/deploy.md", ROOT / "docs/markdown.md"
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


async def bundled(program: str, folder: Path) -> Path:
    """A module that imports packages, made one file by the command that docs/deploy.md gives for it."""
    needs(MODULES / "temml")
    (folder / "node_modules").symlink_to(MODULES)
    (command,) = re.findall(r"by: npx (esbuild .*)", DEPLOY.read_text())
    (folder / "math.js").write_text(program)
    esbuild, *flags = command.split()
    await run(MODULES / ".bin" / esbuild, *flags, folder=folder)
    return folder / "page-module.js"


async def test_a_library_draws_the_formulas_of_page_and_element(tabs: Tabs, tmp_path: Path) -> None:
    """Temml, by the programs of the documentation; the page's Content-Security-Policy has nothing against it."""
    (program,) = programs(MARKDOWN)
    module = await bundled(program, tmp_path)
    assert program in programs(DEPLOY)[0]
    (line,) = re.findall(r"`(document\.querySelector\(.*\.renderMath = renderMath)`", MARKDOWN.read_text())
    answer = [r"So \(E=mc^2\), and:", "\n\n$$\n\\frac{a}{b}\n$$\n"]
    async with (
        other_origin() as place,
        serving(ScriptedUpstream(answer, answer), origins=place.origin, page_module=module) as server,
    ):
        page = await tabs.open(server.port)
        await page.ask("Why?")
        await page.ended()
        (element,) = programs(README, "html")
        place.pages["/math.js"] = module.read_text()
        script = f"<script type=module>import {{ renderMath }} from './math.js'; {line};</script>"
        place.pages["/"] = f"<!doctype html><title>A page</title>{element.replace(PORT, f':{server.port}')}{script}"
        beside = await tabs.open(place.port)
        field = beside.page.get_by_role("textbox", name="Ask a question")
        await field.fill("Why?")
        await field.press("Enter")
        for drawn in (page.answer.locator("math"), beside.page.get_by_role("article").locator("math")):
            await expect(drawn).to_have_text(["E=mc2", "ab"])
            displays = "(all) => all.map((each) => each.getAttribute('display'))"
            assert await drawn.evaluate_all(displays) == [None, "block"]


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
