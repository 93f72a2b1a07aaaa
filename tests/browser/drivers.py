"""BrowserDriver: what a test does in a browser that playwright can't start: Debian's Firefox, and its WebKit.

Elements and conditions are named by JavaScript expressions, so that one test runs in each of them. Chromium has
playwright: tab.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from abc import ABC, abstractmethod
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..ports import free_port
from ..programs import FIREFOX, WEBKIT, XVFB

NODE = Path(sys.executable).parent / "node"
FIREFOX_DRIVER = Path(__file__).parent / "firefox.js"
LIMIT = 30  # seconds that anything may take on a busy machine
ENTER = "\ue007"  # https://www.w3.org/TR/webdriver2/#keyboard-actions
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's reference, by the same standard
WATCH = """
    globalThis.problems = [];
    addEventListener("error", ({ message }) => problems.push(message));
    addEventListener("unhandledrejection", ({ reason }) => problems.push(String(reason)));
    addEventListener("securitypolicyviolation", ({ violatedDirective }) => problems.push(violatedDirective));
    for (const level of ["error", "warn"]) {
        const write = console[level];
        console[level] = (...values) => { problems.push(values.join(" ")); write(...values); };
    }
"""


class BrowserDriver(ABC):
    """One tab of one browser."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""

    @abstractmethod
    async def reload(self) -> None:
        """Load the page anew."""

    @abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""

    @abstractmethod
    async def submit(self, element: str, text: str) -> None:
        """Type a text into an element, and press Enter."""

    @abstractmethod
    async def click(self, element: str) -> None:
        """Click on an element."""

    @abstractmethod
    async def errors(self) -> list[str]:
        """What the page's console complains of."""

    async def until(self, expression: str, value: object) -> None:
        """Wait until an expression has a value."""
        found: object = None
        try:
            async with asyncio.timeout(LIMIT):
                while (found := await self.evaluate(expression)) != value:  # noqa: ASYNC110 - browsers tell of nothing
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{expression} is {found!r}, not {value!r}") from None


class FirefoxDriver(BrowserDriver):
    """Firefox, by puppeteer over WebDriver BiDi: firefox.js, one JSON object a line."""

    def __init__(self, node: Process) -> None:
        self._node = node

    async def _call(self, method: str, *arguments: str) -> Any:
        assert self._node.stdin
        assert self._node.stdout
        self._node.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
        async with asyncio.timeout(LIMIT):
            line = await self._node.stdout.readline()
        assert line, "firefox.js has ended"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    async def open(self, url: str) -> None:
        await self._call("open", url)

    async def reload(self) -> None:
        await self._call("reload")

    async def evaluate(self, expression: str) -> Any:
        return await self._call("evaluate", expression)

    async def submit(self, element: str, text: str) -> None:
        await self._call("submit", element, text)

    async def click(self, element: str) -> None:
        await self._call("click", element)

    async def errors(self) -> list[str]:
        found: list[str] = await self._call("errors")
        return found


@asynccontextmanager
async def firefox() -> AsyncGenerator[BrowserDriver]:
    """A Firefox without a window."""
    path = FIREFOX.path() or pytest.fail(FIREFOX.how_to_get(), pytrace=False)
    async with _running(str(NODE), str(FIREFOX_DRIVER), path, stdin=PIPE, stdout=PIPE) as node:
        try:
            yield FirefoxDriver(node)
        finally:
            assert node.stdin
            node.stdin.close()  # which ends the browser, and then itself
            async with asyncio.timeout(LIMIT):
                await node.wait()


class WebKitDriver(BrowserDriver):
    """WebKit, by WebDriver over HTTP: https://www.w3.org/TR/webdriver2/. Errors are known from a page's load on."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def call(self, path: str, **body: object) -> Any:
        """Post a command; AssertionError where it fails."""
        response = await self._client.post(path, json=body)
        assert response.is_success, response.text
        return response.json()["value"]

    async def open(self, url: str) -> None:
        await self.call("url", url=url)
        await self.call("execute/sync", script=WATCH, args=[])

    async def reload(self) -> None:
        await self.call("refresh")
        await self.call("execute/sync", script=WATCH, args=[])

    async def evaluate(self, expression: str) -> Any:
        return await self.call("execute/sync", script=f"return {expression}", args=[])

    async def submit(self, element: str, text: str) -> None:
        await self.call(f"element/{await self._find(element)}/value", text=text + ENTER)

    async def click(self, element: str) -> None:
        await self.call(f"element/{await self._find(element)}/click")

    async def _find(self, element: str) -> str:
        return str((await self.evaluate(element))[ELEMENT])

    async def errors(self) -> list[str]:
        found: list[str] = await self.evaluate("problems")
        return found


@asynccontextmanager
async def webkit() -> AsyncGenerator[BrowserDriver]:
    """WebKitGTK's browser on a screen of its own."""
    driver = WEBKIT.path() or pytest.fail(WEBKIT.how_to_get(), pytrace=False)
    screen = XVFB.path() or pytest.fail(XVFB.how_to_get(), pytrace=False)
    async with _running(screen, "-displayfd", "1", "-nolisten", "tcp", stdout=PIPE) as xvfb:
        assert xvfb.stdout
        display = (await xvfb.stdout.readline()).decode().strip()
        environ = os.environ | {"DISPLAY": f":{display}", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        port = free_port()
        async with (
            _running(driver, f"--port={port}", environ=environ) as process,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT, trust_env=False) as client,
        ):
            await _listening(process, client)
            session = (await WebKitDriver(client).call("session", capabilities={}))["sessionId"]
            client.base_url = client.base_url.join(f"session/{session}/")
            yield WebKitDriver(client)
            await client.delete("")


@asynccontextmanager
async def _running(
    program: str,
    *arguments: str,
    stdin: int | None = None,
    stdout: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncGenerator[Process]:
    """A process that is ended with the block."""
    process = await asyncio.create_subprocess_exec(program, *arguments, stdin=stdin, stdout=stdout, env=environ)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(process: Process, client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(LIMIT):
        while process.returncode is None:
            try:
                await client.get("status")
            except httpx2.ConnectError:
                await asyncio.sleep(0.02)
            else:
                return
    raise AssertionError("WebKit's driver has ended")
