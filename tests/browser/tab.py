"""A tab of the browser with the page in it, and what is asked of every page in every test."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, WebSocket, expect

Json: TypeAlias = dict[str, Any]

SOON = 10_000  # milliseconds: nothing takes so long, on a busy machine either
WATCH = """
    addEventListener("securitypolicyviolation", ({ violatedDirective: directive, blockedURI: address }) =>
        trouble(`CSP: ${directive} ${address}`));
"""
UNANIMATED = """
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("*, ::before, ::after { animation: none !important; transition: none !important; }");
    document.adoptedStyleSheets = [sheet];
"""
"""A script for a page, whose own parts blink and slide no more: that would draw sixty frames a second."""

IMPATIENT = "Math.random = () => 0.1;"  # to come back sooner
PATIENT = "Math.random = () => 1000;"  # to come back minutes later

expect.set_options(timeout=SOON)


async def until(page: Page, expression: str, argument: object = None) -> None:
    """Wait until this is true in a page.

    `Page.wait_for_function` evaluates a string in the page itself, which the page's Content Security Policy refuses; it
    only works where it is true at once.
    """
    try:
        async with asyncio.timeout(SOON / 1000):
            while not await page.evaluate(expression, argument):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not true: {expression}, in: {await page.inner_text('body')}") from None


class Tab:
    """One tab. `sent` and `got` are the frames of all its sockets, `console` what it complains about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sent: list[Json] = []
        self.got: list[Json] = []
        self.console: list[str] = []
        self.turns = page.locator("#turns > article")
        self.last = self.turns.last
        self.answer = self.last.locator(".answer")
        self.question = page.locator("#question")
        self.stop = page.locator("#stop")
        self.announce = page.locator("#announce")
        page.on("websocket", self._on_socket)
        page.on("console", self._on_console)

    def _on_socket(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda data: self.sent.append(json.loads(data)))
        socket.on("framereceived", lambda data: self.got.append(json.loads(data)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(message.text)

    def asked(self) -> list[str]:
        """The texts of the questions that were sent."""
        return [frame["text"] for frame in self.sent if frame["type"] == "ask"]

    def button(self, name: str) -> Locator:
        """By its accessible name, as a screen reader finds it."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def click_latest(self) -> None:
        """Click "Latest" where it is. `Locator.click` scrolls before, and may reach the end by that."""
        box = await self.button("Latest").bounding_box()
        assert box
        await self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    async def connected(self, state: str = "open") -> None:
        """Wait for this state of the connection."""
        await expect(self.page.locator("#state")).to_have_attribute("data-state", state)

    async def ask(self, text: str) -> None:
        """Type a question and press Enter; on a touch screen, where that breaks the line, the button."""
        await self.question.fill(text)
        if await self.page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches"):
            await self.page.locator("#send").click()
        else:
            await self.question.press("Enter")

    async def shows(self, text: str) -> None:
        """Wait until the last answer begins with this."""
        await expect(self.answer).to_contain_text(text)

    async def ended(self, reason: str = "stop") -> None:
        """Wait until the last turn has ended, in this way."""
        await expect(self.last).to_have_attribute("data-reason", reason)

    async def answered(self, text: str, reason: str = "stop") -> None:
        """Wait for the end of the last answer, which is this, to the letter."""
        await expect(self.answer).to_have_text(text)  # first, as turns before it may come one by one
        await self.ended(reason)
        assert await self.answer.text_content() == text

    async def questions(self) -> list[str]:
        """What is shown as asked."""
        return await self.turns.locator(".question").all_text_contents()

    async def answers(self) -> list[str]:
        """What is shown as answered."""
        return await self.turns.locator(".answer").all_text_contents()


class Tabs:
    """The tabs of one test. In none of them may anything pop up, fail, or be asked of another host."""

    def __init__(self, browser: Browser) -> None:
        self.trouble: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    async def open(
        self, port: int, path: str = "/", *, script: str = "", animated: bool = False, **options: Any
    ) -> Tab:
        """The page of the server at a port, as somebody sees it who was never there; `script` runs before it."""
        context = await self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(SOON)
        context.on("request", lambda request: self._seen(request.url))
        await context.expose_function("trouble", self._tell)  # pyright: ignore[reportUnknownMemberType]
        await context.add_init_script(WATCH + script + UNANIMATED * (not animated))
        return await self.beside(context, port, path)

    async def beside(self, context: BrowserContext, port: int, path: str = "/") -> Tab:
        """One more tab of the same person."""
        page = await context.new_page()
        page.on("pageerror", lambda error: self.trouble.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))
        page.on("websocket", lambda socket: self._seen(socket.url))
        tab = Tab(page)
        await page.goto(f"http://127.0.0.1:{port}{path}")
        return tab

    async def without_scripts(self, locale: str) -> BrowserContext:
        """A reader who lets no page run anything."""
        context = await self._browser.new_context(java_script_enabled=False, locale=locale)
        self._contexts.append(context)
        context.on("request", lambda request: self._seen(request.url))
        return context

    def _tell(self, trouble: str) -> None:
        self.trouble.append(trouble)

    def _seen(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("data", "about", "blob") and address.hostname != "127.0.0.1":
            self.trouble.append(f"request: {url}")

    async def close(self) -> None:
        """The end of the test."""
        for context in self._contexts:
            await context.close()
        assert self.trouble == [], self.trouble
