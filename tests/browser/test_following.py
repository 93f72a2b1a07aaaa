"""Following: a reader is kept at the end of an answer that grows, until they move up, however little."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import pytest
from playwright.async_api import CDPSession, Page, expect

from askbot_ws.testing import ScriptedUpstream, Step, serving

from .tab import Tab, Tabs, until
from .test_access import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

Way: TypeAlias = Callable[[Tab], Awaitable[object]]

LEFT = "document.documentElement.scrollHeight - innerHeight - scrollY"
FRAMES = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
LINES = "".join(f"{place}\n\n" for place in range(60))


class Shown(Protocol):
    """What shows an answer: a tab, or an element."""

    @property
    def page(self) -> Page:
        """It is on this page."""
        ...

    async def shows(self, text: str) -> None:
        """Wait until the last answer has this in it."""


class Growing:
    """An answer that grows by a line, whenever a test wants it."""

    def __init__(self) -> None:
        self.gates = [asyncio.Event() for _ in range(40)]
        self._place = 0

    def steps(self) -> list[Step]:
        """What answers."""
        return [LINES, *(step for place, gate in enumerate(self.gates) for step in (gate, f"more {place}\n\n"))]

    async def grow(self, tab: Shown) -> None:
        """Wait until one more line is drawn."""
        self.gates[self._place].set()
        await tab.shows(f"more {self._place}")
        self._place += 1
        await tab.page.evaluate(FRAMES)


async def finger(cdp: CDPSession, *places: int) -> None:
    """Touch the screen at the first place, and move slowly to the others."""

    async def touch(type_: str, *points: int) -> None:
        given: dict[str, Any] = {"type": type_, "touchPoints": [{"x": 150, "y": y} for y in points]}
        await cdp.send("Input.dispatchTouchEvent", given)  # pyright: ignore[reportUnknownMemberType]

    await touch("touchStart", places[0])
    for place in places[1:]:
        await touch("touchMove", place)
        await asyncio.sleep(0.02)
    await touch("touchEnd")


async def test_any_movement_up_ends_following_and_only_the_end_begins_it_again(tabs: Tabs) -> None:
    """By wheel, key, and what a page is not told of: the scrollbar, a search in the page."""
    ways_up: list[Way] = [
        lambda tab: tab.page.mouse.wheel(0, -4),
        lambda tab: tab.page.keyboard.press("ArrowUp"),
        lambda tab: tab.page.evaluate("scrollBy(0, -2)"),
    ]
    ways_to_the_end: list[Way] = [
        lambda tab: tab.page.mouse.wheel(0, 5000),
        lambda tab: tab.page.keyboard.press("End"),
        lambda tab: tab.click_latest(),
    ]
    answer = Growing()
    async with serving(ScriptedUpstream(answer.steps())) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Count!")
        await tab.shows("59")
        await tab.page.mouse.move(640, 300)
        for up, to_the_end in zip(ways_up, ways_to_the_end, strict=True):
            await answer.grow(tab)
            assert await tab.page.evaluate(LEFT) <= 1
            await tab.page.evaluate("document.activeElement.blur()")
            await up(tab)
            await until(tab.page, f"() => {LEFT} > 1")
            await tab.page.wait_for_timeout(250)  # the wheel's movement is spread over several frames
            before: float = await tab.page.evaluate("scrollY")
            for _ in range(2):
                await answer.grow(tab)
            assert await tab.page.evaluate("scrollY") == before
            await expect(tab.button("Latest")).to_be_visible()
            await to_the_end(tab)
            await expect(tab.button("Latest")).to_be_hidden()
            await until(tab.page, f"() => {LEFT} <= 1")
            await answer.grow(tab)
            assert await tab.page.evaluate(LEFT) <= 1


async def test_a_slow_finger_is_not_fought_and_a_smaller_window_is_no_movement(tabs: Tabs) -> None:
    """As where the keyboard comes up."""
    answer = Growing()
    async with serving(ScriptedUpstream(answer.steps())) as server:
        tab = await tabs.open(server.port, **PHONE)
        await tab.ask("Count!")
        await tab.shows("59")
        for height in (400, 740):
            await tab.page.set_viewport_size({"width": 360, "height": height})
            await answer.grow(tab)
            assert await tab.page.evaluate(LEFT) <= 1
        cdp = await tab.page.context.new_cdp_session(tab.page)
        await finger(cdp, 300, *range(301, 325))
        before: float = await tab.page.evaluate("scrollY")
        assert await tab.page.evaluate(LEFT) > 1
        await answer.grow(tab)
        assert await tab.page.evaluate("scrollY") == before
        await finger(cdp, 400, *range(380, 200, -20))
        await until(tab.page, f"() => {LEFT} <= 1")
        await answer.grow(tab)
        assert await tab.page.evaluate(LEFT) <= 1
