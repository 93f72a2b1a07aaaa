"""WCAG 2.2 AA, as far as a program can tell: axe finds nothing, in whatever state the page is."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, serving

from .tab import Tab, Tabs
from .test_access import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = "(rules) => axe.run({ runOnly: rules, resultTypes: ['violations'] }).then(({ violations }) => violations)"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STILL = """() => Promise.allSettled(document.getAnimations()
    .filter(({ effect }) => effect.getTiming().iterations === 1).map(({ finished }) => finished))"""
ANSWER = """\
# Colours

See [this](https://example.org/), **that** and `those`:

- one
- two

1. three

> four

```python
def scattered(nm: float, name="blue") -> float:  # by Rayleigh
    return (700 / nm) ** 4
```

| a | b |
|---|--:|
| 1 | 2 |
"""
TALL = PHONE | {"viewport": {"width": 360, "height": 1600}}  # what lies under the footer, axe takes for covered
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "korean": {"locale": "ko-KR"},
    "phone": TALL,
    "dark phone": TALL | {"color_scheme": "dark"},
}


async def faults(tab: Tab) -> list[str]:
    """What axe finds, each with the places."""
    await tab.page.evaluate(STILL)
    await tab.page.evaluate(AXE)
    violations: list[dict[str, Any]] = await tab.page.evaluate(RUN, RULES)
    return [f"{one['id']}: {node['target']} {node['any']}" for one in violations for node in one["nodes"]]


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing(tabs: Tabs, look: str) -> None:
    """Empty, with answers of all kinds, while one is written, edited, searched, renamed, deleted."""
    upstream = ScriptedUpstream([ANSWER], ["Half an", UpstreamUnavailable()], ["One", asyncio.Event()])
    async with serving(upstream) as server:
        tab = await tabs.open(server.port, **LOOKS[look])
        page = tab.page
        await expect(page.locator("#empty")).to_be_visible()
        assert await faults(tab) == []

        for count, question in enumerate(("Colours?", "More?", "And?"), start=1):
            await tab.ask(question)
            await expect(tab.turns).to_have_count(count)
            if count < 3:
                await expect(tab.last).to_have_attribute("data-status", "ended")
        await tab.shows("One")
        await tab.turns.first.hover()
        await expect(page.locator(".line .k").first).to_be_visible()
        assert await faults(tab) == []

        await tab.turns.first.locator("[data-do=retry]:visible").click()
        assert await faults(tab) == []
        await page.keyboard.press("Escape")

        await tab.turns.first.locator(".about summary").click()
        await tab.turns.first.locator("[data-do=edit]").click()
        await page.locator("form.edit textarea").fill("x" * 9000)
        await page.evaluate("for (const id of ['undo', 'offline']) document.getElementById(id).hidden = false")
        await page.evaluate("document.getElementById('notice').textContent = 'Too many questions are waiting.'")
        assert await faults(tab) == []

        if await page.locator("#menu").is_visible():
            await page.locator("#menu").click()
        await page.locator("#search").fill("rayleigh")
        await page.locator("[data-do=more]").click()
        assert await faults(tab) == []
        await page.locator("[data-do=rename]").click()
        assert await faults(tab) == []
        await page.locator("form.rename [type=submit]").click()
        await page.locator("[data-do=delete]").click()
        assert await faults(tab) == []
