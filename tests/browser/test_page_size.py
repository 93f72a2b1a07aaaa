"""The size of the page as it is served."""

from __future__ import annotations

import asyncio
import gzip
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Response

from askbot_ws.http import pages
from askbot_ws.testing import serving

from .tab import Tab, Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAX_PAGE_BYTES = 48 * 1024  # gzipped, as a proxy in front of the server sends them


def listen(tab: Tab) -> list[Response]:
    """All that the page will get."""
    got: list[Response] = []

    def take(response: Response) -> None:
        got.append(response)

    tab.page.on("response", take)
    return got


async def test_the_whole_page_is_less_than_48_kb_in_few_files(tabs: Tabs) -> None:
    """All that is loaded up to the first answer, in English and Korean; tests/js/size.test.js bounds the code alone."""
    async with serving() as server:
        for locale in ("en-US", "ko-KR"):
            tab = await tabs.open(server.port, "/healthz", locale=locale)
            got = listen(tab)
            await tab.page.goto(f"http://127.0.0.1:{server.port}/")
            await tab.ask("One?")
            await tab.answered("You asked: One?")
            bodies = dict(
                zip([one.url for one in got], await asyncio.gather(*[one.body() for one in got]), strict=True)
            )

            paths = [urlsplit(url).path for url in bodies]
            assert {path for path in paths if path.endswith(".js")} == {"/page/early-text.js", "/page/bundle.js"}
            assert len(paths) < 12, paths
            assert all(one.status == 200 for one in got)
            size = sum(len(gzip.compress(body)) for body in bodies.values())
            assert size < MAX_PAGE_BYTES, size


async def test_without_a_bundle_every_module_of_the_page_is_preloaded(
    tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the browser would hear of it only when it has read the one that imports it: a round trip each."""
    monkeypatch.setattr(pages, "BUNDLE", "page/none.js")
    async with serving() as server:
        tab = await tabs.open(server.port)
        await tab.ask("One?")
        await tab.answered("You asked: One?")
        loaded: list[str] = await tab.page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
        hinted: list[str] = await tab.page.locator("link[rel=modulepreload], script[src]").evaluate_all(
            "(all) => all.map(({ href, src }) => href || src)"
        )
        modules = [urlsplit(name).path for name in loaded if name.endswith(".js")]
        assert sorted(set(modules)) == sorted(urlsplit(name).path for name in hinted)
