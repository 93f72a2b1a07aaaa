"""The page and the element in Firefox and in WebKit: all else here is tried in Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from askbot_ws.testing import ScriptedUpstream, Step, serving

from ..programs import HAS_WEBKIT
from .drivers import BrowserDriver, firefox, webkit
from .other_origin import other_origin
from .test_element import BOT
from .test_element import PAGE as SHOP

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "하늘은 왜 파란가요?"


@dataclass
class Selectors:
    """Where things are, as JavaScript."""

    root: str  # an element that is not defined yet has none
    ready: str  # is there once the field can be used
    field: str
    question: str
    answer: str
    stop: str
    stopped: str

    def one(self, selector: str) -> str:
        """The element."""
        return f"{self.root}?.querySelector({selector!r})"

    def count(self, selector: str) -> str:
        """How many elements there are."""
        return f"{self.root}?.querySelectorAll({selector!r}).length"

    def texts(self, selector: str) -> str:
        """The texts of all elements."""
        return f"[...{self.root}?.querySelectorAll({selector!r}) ?? []].map((found) => found.textContent.trim())"


PAGE = Selectors(
    root="document",
    ready="#state[data-state=open]",
    field="#question",
    question="#turns .question",
    answer="#turns .answer",
    stop="#stop",
    stopped="#turns [data-reason=cancelled]",
)
ELEMENT = Selectors(
    root="document.querySelector('ask-bot').shadowRoot",
    ready="[part~=field]",
    field="[part~=field]",
    question="[part~=question]",
    answer="[part~=answer]",
    stop="[part~=stop]",
    stopped="[part~=turn][part~=ended]",
)


class Question:
    """Its answer goes on where the test says, and never ends."""

    def __init__(self) -> None:
        self.gates = [asyncio.Event(), asyncio.Event()]
        self.script: list[Step] = ["하나 ", self.gates[0], "**둘** ", self.gates[1], "셋", asyncio.Event()]


async def ask_reload_stop(browser: BrowserDriver, place: Selectors, question: Question) -> None:
    """What both tests do in a page that is open."""
    answers = place.texts(place.answer)
    await browser.until(place.count(place.ready), 1)
    await browser.submit(place.one(place.field), QUESTION)
    await browser.until(answers, ["하나"])
    question.gates[0].set()
    await browser.until(answers, ["하나 둘"])

    question.gates[1].set()  # so that the last word comes while there is no page, or one that is loading
    await browser.reload()
    await browser.until(answers, ["하나 둘 셋"])
    assert await browser.evaluate(place.texts(place.question)) == [QUESTION]
    assert await browser.evaluate(place.count(place.stopped)) == 0

    await browser.click(place.one(place.stop))
    await browser.until(place.count(place.stopped), 1)
    assert await browser.evaluate(answers) == ["하나 둘 셋"]
    assert await browser.errors() == []


WITH_WEBKIT = pytest.param(webkit, marks=pytest.mark.skipif(not HAS_WEBKIT, reason="macOS has no WebKitGTK"))


@pytest.mark.parametrize("browser", [firefox, WITH_WEBKIT])
async def test_an_answer_goes_on_after_a_reload_and_can_be_stopped(
    browser: Callable[[], AbstractAsyncContextManager[BrowserDriver]],
) -> None:
    """On the page and in the element: nothing is lost, nothing is there twice, and the provider is stopped."""
    questions = [Question(), Question()]
    upstream = ScriptedUpstream(*(question.script for question in questions))
    async with other_origin() as shop, serving(upstream, origins=shop.origin) as server, browser() as driver:
        await driver.open(f"http://127.0.0.1:{server.port}/")
        await ask_reload_stop(driver, PAGE, questions[0])

        shop.pages["/"] = SHOP.format(port=server.port, body=BOT, style="")
        await driver.open(f"{shop.origin}/")
        await ask_reload_stop(driver, ELEMENT, questions[1])
        assert [prompt.messages[-1].text for prompt in upstream.prompts] == [QUESTION, QUESTION]
        assert upstream.stopped == 2
