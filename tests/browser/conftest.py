"""One Chromium for all tests here, in one event loop; each test has contexts of its own, which share nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from ..programs import CHROMIUM
from .tab import Tabs

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


@asynccontextmanager
async def launched(*flags: str) -> AsyncGenerator[Browser]:
    """A Chromium, until the block ends; with these flags besides the usual ones."""
    async with async_playwright() as playwright:
        path = CHROMIUM.path()  # None: playwright's own
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield browser
        await browser.close()


@pytest.fixture(scope="session", autouse=True)
def waiting_by_until() -> Iterator[None]:
    """Refuse what works only where it is true at once, see `until`: a test with it passes on most machines."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("use until() of tests/browser/tab.py")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Page, "wait_for_function", refuse)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    """One process for all tests."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(browser: Browser) -> AsyncGenerator[Tabs]:
    """Tabs that are looked after."""
    tabs = Tabs(browser)
    yield tabs
    await tabs.close()
