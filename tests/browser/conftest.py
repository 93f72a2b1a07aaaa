"""One Chromium for all tests here, in one event loop; each test has contexts of its own, which share nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from .programs import CHROMIUM
from .tab import Tabs

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


def chromium(playwrights: str) -> str:
    """The machine's own Chromium, or playwright's. There is no going without."""
    found = CHROMIUM.path() or playwrights
    if not Path(found).exists():
        pytest.fail(CHROMIUM.how_to_get(), pytrace=False)
    return found


@asynccontextmanager
async def launched() -> AsyncGenerator[Browser]:
    """A Chromium, until the block ends."""
    async with async_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


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
