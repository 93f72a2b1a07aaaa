"""Answers come from a model, and what that has read, nobody knows: they are text, on the page too."""

from __future__ import annotations

import asyncio
import time

import jwt
import pytest
from playwright.async_api import Browser, expect

from askbot_ws.testing import ScriptedUpstream, Step, serving

from .other_origin import other_origin
from .tab import Tab, Tabs
from .trace import task_times

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = """\
<script>alert(1)</script>

<img src=x onerror="alert(2)"> and <iframe src="javascript:alert(3)"></iframe> <svg onload=alert(4)>

[a](javascript:alert(5)) [b](JaVaScRiPt:alert(6)) [c](data:text/html,<script>alert(7)</script>) [d](vbscript:x)

[e]( javascript:alert(8)) [f](&#106;avascript:alert(9)) [g](java\tscript:alert(10)) <javascript:alert(11)>

![h](http://tracker.test/pixel.png) ![i](//tracker.test/pixel.png) [j](//tracker.test) [k](file:///etc/passwd)

[l](https://example.org/"onmouseover="alert(12)) [m](https://example.org/' onclick='alert(13))

`<b onclick=alert(14)>` **<u onmouseover=alert(15)>**

```html"><img src=x onerror=alert(16)>
<script>alert(17)</script>
```

| <img src=x onerror=alert(18)> | b |
|---|---|
| <script>alert(19)</script> | [n](javascript:alert(20)) |

[good](https://example.org/page) and <mailto:a@example.org> and http://example.org/plain.
"""

LOOK = """() => ({
    elements: [...new Set([...document.querySelectorAll(".answer *")].map(({ localName }) => localName))],
    attributes: [...new Set([...document.querySelectorAll(".answer *")].flatMap((one) => one.getAttributeNames()))],
    links: [...document.querySelectorAll(".answer a")].map(({ href }) => href),
    rel: [...new Set([...document.querySelectorAll(".answer a")].map(({ rel }) => rel))],
})"""

TEXT = {"p", "br", "a", "em", "strong", "code", "pre", "figure", "figcaption", "span", "button"}
TABLES = {"div", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"href", "rel", "target", "class", "tabindex", "type", "data-do", "aria-label", "dir"}


async def answered(tab: Tab, question: str) -> dict[str, list[str]]:
    """Ask, wait for the end, and say what became of the answer."""
    await tab.ask(question)
    await tab.ended()
    found: dict[str, list[str]] = await tab.page.evaluate(LOOK)
    return found


@pytest.mark.parametrize("pieces", [[HOSTILE], list(HOSTILE)], ids=["at once", "letter by letter"])
async def test_hostile_markdown_is_inert(tabs: Tabs, pieces: list[str]) -> None:
    """Whole and at every letter where it may be cut: no elements but text's own, no script, no request, no dialog."""
    script: list[Step] = []
    for place, piece in enumerate(pieces):
        script += (piece, 0.001) if place % 7 == 0 else (piece,)
    async with serving(ScriptedUpstream(script)) as server:
        tab = await tabs.open(server.port)
        found = await answered(tab, "<img src=x onerror=alert(0)>")
        await tab.answer.locator("a").first.hover()

        assert set(found["elements"]) <= TEXT | TABLES
        assert set(found["attributes"]) <= ATTRIBUTES
        assert {link.partition(":")[0] for link in found["links"]} == {"https", "http", "mailto"}
        assert "https://example.org/page" in found["links"]
        assert found["rel"] == ["noopener noreferrer nofollow"]
        assert await tab.questions() == ["<img src=x onerror=alert(0)>"]
        assert await tab.page.locator("img, iframe, script:not([src], #strings), svg:not([aria-hidden])").count() == 0
        assert [line for line in tab.console if "Content Security Policy" in line] == []
    # what popped up, was violated or asked of another host: see Tabs


async def test_markdown_is_rendered_while_it_is_written(tabs: Tabs) -> None:
    """A list is a list before it is complete, and code is code before its fence is closed."""
    one, two, three = (asyncio.Event() for _ in range(3))
    first: list[Step] = ["# Colours\n\n- **red", one, "**\n- green\n\n"]
    script: list[Step] = [*first, "```python\nprint(", two, "1)\n", three, "```\n\nDone."]
    async with serving(ScriptedUpstream(script)) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Colours?")
        await expect(tab.answer.locator("h3")).to_have_text("Colours")
        await expect(tab.answer.locator("li")).to_contain_text(["red"])
        one.set()
        await expect(tab.answer.locator("li")).to_have_text(["red", "green"])
        await expect(tab.answer.locator("strong")).to_have_text("red")
        await expect(tab.answer.locator("pre code")).to_have_text("print(")
        two.set()
        await expect(tab.answer.locator("pre code")).to_have_text("print(1)")
        three.set()
        await expect(tab.answer.locator("> p")).to_have_text("Done.")
        await expect(tab.answer.locator("pre")).to_have_count(1)


async def test_a_long_answer_does_not_freeze_the_page(browser: Browser, tabs: Tabs) -> None:
    """3,000 tokens in one burst: each task of the page is short, and all together; keys are taken meanwhile."""
    block = ["A line with **bold** and `code`.\n", "- an item\n", "- another\n\n", "```js\n", "let x = 1;\n", "```\n\n"]
    pieces = [block[place % len(block)] for place in range(3000)]
    async with serving(ScriptedUpstream(["Now.\n\n", 0.3, *pieces])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Much!")
        await tab.shows("Now.")
        await browser.start_tracing(page=tab.page, categories=["toplevel"])
        await tab.question.press_sequentially("and next")
        await tab.ended()
        await expect(tab.answer.locator("pre")).to_have_count(500)
        await expect(tab.question).to_have_value("and next")
        tasks = task_times(await browser.stop_tracing())

    assert 0 < tasks[-1] < 500  # milliseconds of a processor; some 200
    assert sum(tasks) < 5000  # some 1,000; many short ones that draw all of it anew would take more


async def test_the_page_works_without_storage(tabs: Tabs) -> None:
    """Where the browser forbids it, or it is full, only a reload forgets."""
    script = """
        const get = () => { throw new DOMException("No.", "SecurityError"); };
        Object.defineProperty(globalThis, "localStorage", { get });
    """
    async with serving() as server:
        tab = await tabs.open(server.port, script=script)
        for place, text in enumerate(("One?", "Two?")):
            await tab.ask(text)
            await expect(tab.turns).to_have_count(place + 1)
            await tab.answered(f"You asked: {text}")
        await tab.button("New conversation").click()
        await expect(tab.turns).to_have_count(0)
        await tab.ask("Three?")
        await tab.answered("You asked: Three?")


async def test_no_page_of_ours_may_be_framed_or_run_what_is_not_ours(tabs: Tabs) -> None:
    """The policy that the browser was given holds: an inline script does not run."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await tab.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "globalThis.ran = true";
                document.body.append(script);
            }"""
        )
        assert await tab.page.evaluate("globalThis.ran") is None
        assert [trouble.split()[1] for trouble in tabs.trouble] == ["script-src-elem"]
        tabs.trouble.clear()


# --- other origins ---------------------------------------------------------------------------------------------------


KNOCK = """(address) => new Promise((resolve) => {
    const socket = new WebSocket(address, ["askbot.v1"]);
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
    socket.onclose = ({ code }) => resolve(code);
})"""


FETCH = """(address) => fetch(address, { credentials: "include" })
    .then((response) => response.text(), () => "refused")"""
SECRET = "a secret of tests that has more than 32 bytes"


async def test_a_page_of_another_origin_is_refused(tabs: Tabs) -> None:
    """With 403, before there is a socket; docs/protocol.md, "What can go wrong"."""
    async with serving() as server, other_origin() as place:
        tab = await tabs.open(place.port)
        assert await tab.page.evaluate(KNOCK, f"ws://127.0.0.1:{server.port}/v1/chat") == 1006
        assert any("Unexpected response code: 403" in line for line in tab.console)
        assert server.connection_count == 0


async def test_a_foreign_page_cannot_use_the_cookie_of_its_reader(tabs: Tabs) -> None:
    """The browser sends the cookie with the handshake; the origin decides, whether or not anonymous users may come."""
    token = jwt.encode({"sub": "alice", "exp": time.time() + 60}, SECRET, algorithm="HS256")
    async with other_origin() as place, serving(jwt_secret=SECRET, auth_cookie="login") as server:
        own = await tabs.open(server.port)
        address = f"ws://127.0.0.1:{server.port}/v1/chat"
        await own.page.context.add_cookies([{"name": "login", "value": token, "domain": "127.0.0.1", "path": "/"}])
        assert await own.page.evaluate(KNOCK, address) == "ready"
        foreign = await tabs.beside(own.page.context, place.port)
        assert await foreign.page.evaluate(KNOCK, address) == 1006
        assert await foreign.page.evaluate(FETCH, f"http://127.0.0.1:{server.port}/v1/identity") == "refused"


async def test_a_page_of_an_origin_that_is_named_is_let_in(tabs: Tabs) -> None:
    """ASKBOT_ORIGINS."""
    async with other_origin() as place, serving(origins=place.origin) as server:
        tab = await tabs.open(place.port)
        assert await tab.page.evaluate(KNOCK, f"ws://127.0.0.1:{server.port}/v1/chat") == "ready"
