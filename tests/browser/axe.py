"""axe: whether a page is WCAG 2.2 AA, as far as a program can tell."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from .tab import Tab

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = "(rules) => axe.run({ runOnly: rules, resultTypes: ['violations'] }).then(({ violations }) => violations)"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = {"type": "rule", "values": ["color-contrast"]}
STILL = """() => Promise.allSettled(document.getAnimations()
    .filter(({ effect }) => effect.getTiming().iterations === 1).map(({ finished }) => finished))"""


async def faults(tab: Tab, rules: object = RULES) -> list[str]:
    """What axe finds, each with the places."""
    await tab.page.evaluate(STILL)
    if not await tab.page.evaluate("'axe' in globalThis"):
        await tab.page.evaluate(AXE)
    violations: list[dict[str, Any]] = await tab.page.evaluate(RUN, rules)
    return [f"{one['id']}: {node['target']} {node['any']}" for one in violations for node in one["nodes"]]
