"""The page speaks its reader's language."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, serving

from .tab import Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_korean_reader_gets_a_korean_page(tabs: Tabs) -> None:
    """All of it, by Accept-Language: what stands there, what is said while things happen, numbers and errors."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["서울", gate, "입니다."], [UpstreamUnavailable()])) as server:
        tab = await tabs.open(server.port, locale="ko-KR")
        await expect(tab.page.locator("html")).to_have_attribute("lang", "ko")
        await expect(tab.page.get_by_role("heading", name="무엇이든 물어보세요.")).to_be_visible()
        await expect(tab.question).to_have_attribute("placeholder", "질문을 입력하세요")
        await tab.ask("한국의 수도는?")
        await expect(tab.button("답변 중지")).to_be_visible()
        await expect(tab.announce).to_have_text("답변을 기다리는 중")
        gate.set()
        await tab.answered("서울입니다.")
        await expect(tab.announce).to_have_text("답변이 끝났습니다")
        await expect(tab.last.locator(".meta")).to_contain_text("첫 토큰까지")
        await tab.ask("그리고?")
        await tab.ended("error")
        await expect(tab.last.locator(".badge")).to_have_text("모델에 연결할 수 없습니다.")
        await expect(tab.button("다시 질문하기").last).to_be_visible()
        await expect(tab.button("“한국의 수도는?” 더보기")).to_be_visible()
        english = await tab.page.evaluate(
            """() => [...document.querySelectorAll("button, [aria-label], [title], [placeholder]")]
                .flatMap((one) => [one.textContent, one.title, one.placeholder, one.getAttribute("aria-label")])
                .filter((text) => /[a-z]{4}/.test((text ?? "").replace(/Markdown|Enter|scripted/g, "")))"""
        )
        assert english == []


async def test_a_page_without_javascript_says_so_in_the_readers_language(tabs: Tabs) -> None:
    """As the words come with the page, not with its scripts."""
    async with serving() as server:
        for locale, text in (("ko-KR", "꺼져 있습니다"), ("en-GB", "turned off here"), ("fr-FR", "turned off here")):
            context = await tabs.without_scripts(locale)
            page = await context.new_page()
            await page.goto(f"http://127.0.0.1:{server.port}/")
            assert text in await page.locator("noscript").inner_text()
