"""`useAskbot`, and the example that is built on it: as its README says, in a browser, from an origin of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, WebSocket, expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..package.npm import EXAMPLE, built_once, needs, started
from ..process import ROOT, address, reading
from .axe import faults
from .breakable_proxy import BreakableProxy
from .other_origin import OtherOrigin, other_origin
from .sockets import SOCKETS
from .tab import IMPATIENT, PATIENT, Tab, Tabs, until
from .test_access import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

ARTEFACTS = ROOT / "test-artefacts"
SERVER = "127.0.0.1:8765"  # where the example looks for one
HOOK = ROOT / "tests/browser/hook"
TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{3}")


@dataclass
class App:
    """A tab with the example in it."""

    tab: Tab

    @property
    def turns(self) -> Locator:
        """All of them."""
        return self.tab.page.locator("article")

    @property
    def pieces(self) -> Locator:
        """Of the last answer."""
        return self.turns.last.locator("details li")

    async def ask(self, text: str) -> None:
        """Type a question and press Enter."""
        field = self.tab.page.get_by_role("textbox", name="Your question")
        await field.fill(text)
        await field.press("Enter")

    async def shows(self, text: str) -> None:
        """Wait until the pieces of the last answer, joined, are this."""
        joined = "() => [...document.querySelectorAll('article:last-of-type details li span')]"
        joined += ".map(({ textContent }) => textContent).join('')"
        await until(self.tab.page, f"(text) => ({joined})() === text", text)

    async def ended(self, reason: str = "stop") -> None:
        """Wait until the last turn has ended so."""
        await expect(self.turns.last).to_have_attribute("data-reason", reason)

    async def state(self, state: str) -> None:
        """Wait for this state of the connection."""
        await expect(self.tab.page.get_by_role("status")).to_have_attribute("data-state", state)


@asynccontextmanager
async def running(
    upstream: ScriptedUpstream, *, proxied: bool = False
) -> AsyncGenerator[tuple[OtherOrigin, BreakableProxy]]:
    """The example on a web server of its own, askbot beside it, and the proxy between them."""
    pages = await built_once(EXAMPLE)
    async with (
        other_origin() as place,
        serving(upstream, origins=place.origin) as server,
        BreakableProxy.start(server.port) as proxy,
    ):
        port = proxy.port if proxied else server.port
        assert sum(page.count(SERVER) for page in pages.values()) == 1
        place.pages = {path: page.replace(SERVER, f"127.0.0.1:{port}") for path, page in pages.items()}
        yield place, proxy


# --- the example -----------------------------------------------------------------------------------------------------


async def test_each_piece_of_an_answer_is_shown_with_its_time(tabs: Tabs) -> None:
    """As it comes: there are as many pieces as the reader could see."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream = ScriptedUpstream(["Pa", gates[0], "ris, ", gates[1], "baby!"], model="funky-1")
    async with running(upstream) as (place, _):
        app = App(await tabs.open(place.port))
        await expect(app.tab.page).to_have_title("Askbot")
        await expect(app.tab.page.get_by_role("status")).to_have_text("connected, funky-1")
        await app.ask("The capital of France?")
        await app.shows("Pa")
        gates[0].set()
        await app.shows("Paris, ")
        gates[1].set()
        await app.shows("Paris, baby!")
        await app.ended()

        assert await app.pieces.locator("span").all_text_contents() == ["Pa", "ris, ", "baby!"]
        times = await app.pieces.locator("time").all_text_contents()
        assert times == sorted(times)
        assert all(TIME.fullmatch(time) for time in times)
        assert await app.turns.locator("h2").all_text_contents() == ["The capital of France?"]
        await app.tab.page.screenshot(path=ARTEFACTS / "react.png")
        assert await faults(app.tab) == []
    assert upstream.prompts[0].messages[-1].text == "The capital of France?"


async def test_stop_stops_and_ask_again_asks_again(tabs: Tabs) -> None:
    """The button is there while there is something to stop."""
    upstream = ScriptedUpstream(["One", asyncio.Event()], ["Two."])
    async with running(upstream) as (place, _):
        app = App(await tabs.open(place.port))
        await app.ask("Count!")
        await app.shows("One")
        await app.tab.button("Stop").click()
        await app.ended("cancelled")
        await expect(app.tab.button("Stop")).to_have_count(0)
        await app.tab.button("Ask again").click()
        await app.shows("Two.")
        await app.ended()
        await expect(app.turns).to_have_count(1)
    assert upstream.stopped == 1


async def test_a_reload_in_the_middle_of_an_answer_goes_on(tabs: Tabs) -> None:
    """What was written is there at once, and the rest comes, exactly once."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["One ", gate, "two."])
    async with running(upstream) as (place, _):
        app = App(await tabs.open(place.port))
        await app.ask("Count!")
        await app.shows("One ")
        await app.tab.page.reload()
        await app.shows("One ")
        gate.set()
        await app.shows("One two.")
        await app.ended()
    assert len(upstream.prompts) == 1


async def test_two_tabs_show_the_same_conversation(tabs: Tabs) -> None:
    """What one asks, the other shows, and may stop."""
    upstream = ScriptedUpstream(["Well."], ["One ", asyncio.Event()])
    async with running(upstream) as (place, _):
        one = App(await tabs.open(place.port))
        await one.ask("Hello?")
        await one.ended()
        other = App(await tabs.beside(one.tab.page.context, place.port))
        await other.shows("Well.")
        await one.ask("Count!")
        await other.shows("One ")
        await other.tab.button("Stop").click()
        await one.ended("cancelled")


async def test_a_lost_network_costs_nothing(tabs: Tabs) -> None:
    """What is asked meanwhile is asked later, and the answer goes on from the letter where it was."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["하나 ", gate, "둘."])
    async with running(upstream, proxied=True) as (place, proxy):
        app = App(await tabs.open(place.port, script=IMPATIENT))
        await app.ask("Count!")
        await app.shows("하나 ")
        await app.tab.page.context.set_offline(offline=True)
        proxy.is_down = True
        proxy.cut()
        await app.state("waiting")
        await app.ask("And then?")
        await expect(app.turns.last).to_have_attribute("data-status", "sending")
        gate.set()
        proxy.is_down = False
        await app.tab.page.context.set_offline(offline=False)
        await app.shows("You asked: And then?")
        answers = app.turns.first.locator("details li span")
        assert "".join(await answers.all_text_contents()) == "하나 둘."
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["Count!", "And then?"]


async def test_what_waits_when_the_page_is_left_is_asked_on_the_next_visit(tabs: Tabs) -> None:
    """Once, also where only the acknowledgement was lost. The first session is empty: the next page finds it gone."""
    upstream = ScriptedUpstream()
    async with running(upstream) as (place, _):
        app = App(await tabs.open(place.port, script=SOCKETS))
        for question, event in (("One?", "drain()"), ("Two?", "deafen()")):
            await app.state("open")
            await app.tab.page.evaluate(event)
            await app.ask(question)
            await expect(app.turns.last).to_have_attribute("data-status", "sending")
            await app.tab.page.reload()
            await app.shows(f"You asked: {question}")
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["One?", "Two?"]


async def test_what_is_too_long_is_counted_and_kept_and_not_sent(tabs: Tabs) -> None:
    """Over a reload too."""
    async with running(ScriptedUpstream()) as (place, _):
        app = App(await tabs.open(place.port))
        await app.state("open")  # how long a question may be, it is told by then
        await app.ask("x" * 9000)
        await expect(app.tab.page.get_by_role("alert")).to_contain_text("9000 characters; at most 8000")
        await app.tab.page.reload()
        await expect(app.tab.page.get_by_role("textbox")).to_have_value("x" * 9000)
        assert app.tab.asked() == []
        await app.ask("Hello?")
        await app.shows("You asked: Hello?")
        await expect(app.tab.page.get_by_role("alert")).to_have_count(0)


async def test_on_a_phone_in_the_dark_korean_is_asked_and_read(tabs: Tabs) -> None:
    """Nothing is wider than the screen, what is dark is dark, axe finds nothing, and a syllable is no question."""
    upstream = ScriptedUpstream(["파리", "입니다. ", "아" * 300])
    async with running(upstream) as (place, _):
        app = App(await tabs.open(place.port, color_scheme="dark", locale="ko-KR", **PHONE))
        page = app.tab.page
        await app.state("open")
        await page.get_by_role("textbox").focus()
        session = await page.context.new_cdp_session(page)
        composed = {"text": "왜", "selectionStart": 1, "selectionEnd": 1}
        enter = {"type": "rawKeyDown", "key": "Enter", "windowsVirtualKeyCode": 229}
        await session.send("Input.imeSetComposition", composed)  # pyright: ignore[reportUnknownMemberType]
        await session.send("Input.dispatchKeyEvent", enter)  # pyright: ignore[reportUnknownMemberType]
        await session.send("Input.insertText", {"text": "왜"})  # pyright: ignore[reportUnknownMemberType]
        await expect(page.get_by_role("textbox")).to_have_value("왜")
        await expect(app.turns).to_have_count(0)

        await app.ask("프랑스의 수도는?")
        await app.shows("파리입니다. " + "아" * 300)
        await app.ended()
        assert set(await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")) == {360}
        assert await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        colour = "((style) => style.color)(getComputedStyle(document.querySelector('h1')))"
        assert await page.evaluate(colour) == "rgb(255, 255, 255)"
        assert await faults(app.tab) == []
        await page.screenshot(path=ARTEFACTS / "react-dark-phone.png")


async def test_an_answer_has_formulas_and_can_be_asked_again_edited_and_branched(tabs: Tabs) -> None:
    """With temml's MathML; a command is shown until it has an answer, and "Try now" does not wait."""
    upstream = ScriptedUpstream([r"So \(E=mc^2\) and **", "more**."])
    async with running(upstream, proxied=True) as (place, proxy):
        app = App(await tabs.open(place.port, script=PATIENT))
        page, answers = app.tab.page, app.turns.locator(".answer")
        await app.ask("Why?")
        await expect(answers.locator("math")).to_have_text("E=mc2")
        await expect(answers.locator("strong")).to_have_text("more")
        await app.ask("And then?")
        await app.shows("You asked: And then?")
        await app.ended()
        assert await faults(app.tab) == []

        proxy.is_down = True
        proxy.cut()
        await expect(page.get_by_role("status")).to_contain_text("offline since")
        again = app.turns.last.get_by_role("button", name="Ask again")
        await again.click()
        await expect(again).to_be_disabled()
        await page.screenshot(path=ARTEFACTS / "react-offline.png")
        proxy.is_down = False
        await app.tab.button("Try now").click()
        await app.state("open")
        await expect(again).to_be_enabled()
        await expect(app.tab.button("Try now")).to_have_count(0)

        await app.turns.first.get_by_role("button", name="Branch from here").click()
        await expect(app.turns).to_have_count(1)
        await app.tab.button("Edit").click()
        await page.get_by_role("textbox", name="Edit the question").fill("Who?")
        await app.tab.button("Ask this instead").click()
        await app.shows("You asked: Who?")
        await app.tab.button("Back to the conversation before").click()
        await expect(app.turns.locator("h2")).to_have_text(["Why?", "And then?"])
        await expect(app.turns.locator("strong")).to_have_text("more")
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["Why?", "And then?", "And then?", "Who?"]


async def test_the_commands_of_its_readme_serve_it_for_development(tabs: Tabs) -> None:
    """`npm run dev`, after `npm install`: React's development build, whose strict mode mounts everything twice."""
    needs(EXAMPLE / "node_modules/vite")
    readme = (EXAMPLE / "README.md").read_text()
    commands = re.search(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert commands
    assert [line.partition("#")[0].strip() for line in commands[1].splitlines()] == [
        "ASKBOT_ORIGINS=http://localhost:5173 make -C ../.. serve",
        "npm install",
        "npm run dev",
    ]
    async with other_origin() as free:
        port = free.port
    async with (
        serving(ScriptedUpstream(["Paris."]), origins=f"http://127.0.0.1:{port}") as server,
        started(
            "npm", "run", "dev", "--", "--port", str(port), "--strictPort", "--host", "127.0.0.1",
            folder=EXAMPLE, VITE_ASKBOT=address(server.port),
        ) as vite,
    ):  # fmt: skip
        assert vite.stdout
        async with asyncio.timeout(30):
            while b"Local" not in (line := await vite.stdout.readline()):
                assert line, "it did not start"
        app = App(await tabs.open(port))
        await app.ask("The capital of France?")
        await app.shows("Paris.")
        await app.ended()
        assert [frame["type"] for frame in app.tab.got].count("ready") == 1


# --- the hook --------------------------------------------------------------------------------------------------------


@dataclass
class Hooked:
    """A page with a component that uses the hook, under React's strict mode."""

    tab: Tab
    url: str
    sockets: list[WebSocket]

    async def show(self, **options: Any) -> None:
        """Mount it, or change its options; it is connected then."""
        await self.tab.page.evaluate("show", {"url": self.url} | options)
        await self.until("bot.state === 'open'")

    async def hide(self) -> None:
        """Take it away."""
        await self.tab.page.evaluate("hide()")

    async def last(self, expression: str) -> Any:
        """Of what the hook returned last."""
        return await self.tab.page.evaluate(f"((bot) => {expression})(seen.last)")

    async def seen(self, name: str) -> Any:
        """What the component noted."""
        return await self.tab.page.evaluate(f"seen.{name}")

    async def until(self, expression: str) -> None:
        """Wait until this is true of what the hook returned last."""
        await until(self.tab.page, f"(() => {{ const bot = seen.last; return bot && ({expression}); }})()")


@asynccontextmanager
async def hooked(tabs: Tabs, upstream: ScriptedUpstream | None = None, **options: Any) -> AsyncGenerator[Hooked]:
    """The page, before anything is mounted."""
    pages = await built_once(HOOK, mode="development")
    async with other_origin() as place, serving(upstream, origins=place.origin) as server:
        place.pages = pages
        tab = await tabs.open(place.port, **options)
        sockets: list[WebSocket] = []
        tab.page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - playwright looks into it
        yield Hooked(tab, address(server.port), sockets)


async def test_strict_mode_makes_one_connection_and_leaving_closes_it(tabs: Tabs) -> None:
    """Mounting twice is one connection; coming back later continues the same session."""
    async with hooked(tabs) as hook:
        await hook.show()
        assert len(hook.sockets) == 1
        assert await hook.last("bot.ask('One?').then(({ answer }) => answer)") == "You asked: One?"
        async with hook.sockets[0].expect_event("close"):
            await hook.hide()
        assert await hook.last("bot.ask('Two?').catch(({ code }) => code)") == "closed"
        session = await hook.last("bot.session")
        await hook.show()
        await hook.until(f"bot.session === '{session}' && bot.turns.length === 1")


async def test_a_hundred_pieces_are_a_few_renders_and_none_is_torn(tabs: Tabs) -> None:
    """Once a frame at most, and everybody sees the same."""
    words = [f"{place} " for place in range(400)]
    async with hooked(tabs, ScriptedUpstream([step for word in words for step in (word, 0.001)])) as hook:
        await hook.show()
        before = await hook.seen("renders")
        counted = """(async () => {
            let frames = 0;
            let over = false;
            const tick = () => { frames += 1; if (!over) requestAnimationFrame(tick); };
            tick();
            await seen.last.ask("Count!");
            over = true;
            return frames;
        })()"""
        painted = await hook.tab.page.evaluate(counted)
        await hook.until("bot.turns[0]?.status === 'ended'")
        renders = await hook.seen("renders") - before

        assert await hook.last("bot.turns[0].answer") == "".join(words)
        assert (await hook.seen("frames")).count("token") > 100
        assert renders <= 2 * (painted + 2)  # strict mode renders twice
        assert await hook.seen("torn") == 0


async def test_its_functions_stay_the_same_and_do_what_they_say(tabs: Tabs) -> None:
    """Asking, stopping, asking again, editing, forgetting, beginning anew."""
    upstream = ScriptedUpstream(["One", asyncio.Event()], ["Two."])
    async with hooked(tabs, upstream) as hook:
        await hook.show()
        assert await hook.last("bot.running") is False
        names = "[bot.ask, bot.stop, bot.retry, bot.edit, bot.forget, bot.history, bot.fresh]"
        await hook.tab.page.evaluate(f"const bot = seen.last; globalThis.first = {names}")
        await hook.last("void bot.ask('Count!')")
        await hook.until("bot.turns[0]?.answer === 'One' && bot.running")
        await hook.last("bot.stop()")
        await hook.until("bot.turns[0].reason === 'cancelled' && !bot.running")
        await hook.last("bot.retry(bot.turns[0].turn)")
        await hook.until("bot.turns.length === 1 && bot.turns[0].answer === 'Two.'")
        await hook.last("bot.edit(bot.turns[0].turn, 'Who?')")
        await hook.until("bot.turns.length === 1 && bot.turns[0].answer === 'You asked: Who?'")
        assert (await hook.last("bot.history({ limit: 1 })"))["more"] is False
        session = await hook.last("bot.session")
        await hook.last("bot.forget()")
        await hook.until(f"bot.turns.length === 0 && bot.session && bot.session !== '{session}'")
        await hook.last("bot.ask('Kept?')")
        await hook.last("bot.fresh()")
        await hook.until("bot.state === 'open' && bot.turns.length === 0 && bot.error === null")
        assert await hook.tab.page.evaluate(
            f"(() => {{ const bot = seen.last; return {names}.every((one, at) => one === first[at]); }})()"
        )


async def test_what_is_refused_is_in_error_until_something_is_asked(tabs: Tabs) -> None:
    """And nothing is left unhandled."""
    async with hooked(tabs) as hook:
        await hook.show()
        await hook.last("void bot.ask('x'.repeat(9000))")
        await hook.until("bot.error?.code === 'question_too_long'")
        await hook.last("void bot.ask('Hello?')")
        await hook.until("bot.error === null && bot.turns[0]?.status === 'ended'")


async def test_another_session_is_another_conversation_and_its_own_is_not(tabs: Tabs) -> None:
    """A page that puts the session into its address, and gives it back, keeps its connection."""
    async with hooked(tabs) as hook:
        await hook.show()
        await hook.last("bot.ask('One?')")
        first = await hook.last("bot.session")
        await hook.show(session=first)
        await hook.last("bot.ask('Two?')")
        await hook.until("bot.turns.length === 2")
        assert len(hook.sockets) == 1
        await hook.last("bot.fresh()")
        await hook.last("bot.ask('Three?')")
        await hook.until(f"bot.session && bot.session !== '{first}'")
        await hook.show(session=await hook.last("bot.session"))
        await hook.show(session=first)
        await hook.until("bot.turns.length === 2 && bot.turns[1].question === 'Two?'")
        assert len(hook.sockets) == 3


@pytest.mark.parametrize(("user", "asked"), [(None, ["Whose?"]), ("ann", [])])
async def test_what_somebody_else_has_left_is_not_asked(tabs: Tabs, user: str | None, asked: list[str]) -> None:
    """Whoever signs in next may use the same browser."""
    upstream = ScriptedUpstream()
    async with hooked(tabs, upstream, script=SOCKETS) as hook:
        await hook.show()
        await hook.tab.page.evaluate("drain(); void seen.last.ask('Whose?')")
        await hook.until("bot.pending().length === 1")
        await hook.hide()
        await hook.tab.page.evaluate(
            """(user) => {
                const key = Object.keys(localStorage).find((each) => each.startsWith("askbot.unsent"));
                const items = JSON.parse(localStorage.getItem(key));
                localStorage.setItem(key, JSON.stringify(items.map((item) => ({ ...item, user }))));
            }""",
            user,
        )
        await hook.show()
        await hook.until(f"bot.turns.filter(({{ status }}) => status === 'ended').length === {len(asked)}")
        assert await hook.last("bot.ask('Mine?').then(({ answer }) => answer)") == "You asked: Mine?"
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == [*asked, "Mine?"]


async def test_a_reload_before_anything_was_asked_is_no_error(tabs: Tabs) -> None:
    """The server has forgotten the empty conversation, and there is another one at once."""
    async with hooked(tabs) as hook:
        await hook.show()
        await hook.until("bot.state === 'open'")
        session = await hook.last("bot.session")
        await hook.tab.page.reload()
        await hook.show()
        await hook.until("bot.state === 'open'")
        assert await hook.last("bot.session") != session
        assert await hook.last("[bot.error, bot.connection.cause]") == [None, None]


@pytest.mark.parametrize("fresh", [False, True])
async def test_what_another_tab_leaves_of_a_session_that_is_gone_is_asked_in_its_place(
    tabs: Tabs, *, fresh: bool
) -> None:
    """But not in a conversation that was begun afresh since."""
    upstream = ScriptedUpstream()
    async with hooked(tabs, upstream, script=SOCKETS) as hook:
        await hook.show()
        session = await hook.last("bot.ask('One?').then(() => bot.session)")
        other = await tabs.beside(hook.tab.page.context, urlsplit(hook.tab.page.url).port or 0)
        await other.page.evaluate("show", {"url": hook.url})
        await until(other.page, f"seen.last?.state === 'open' && seen.last.session === '{session}'")
        await other.page.evaluate("drain(); void seen.last.ask('Two?')")
        await hook.hide()
        await hook.show()

        await hook.tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 4404 }))")
        await hook.until(f"bot.state === 'open' && bot.session !== '{session}'")
        if fresh:
            second = await hook.last("(bot.fresh(), bot.session)")
            await hook.until(f"bot.state === 'open' && bot.session !== '{second}'")
        await other.page.close()
        await until(hook.tab.page, "navigator.locks.query().then(({ pending }) => pending.length === 0)")
        assert await hook.last("bot.ask('Three?').then(({ answer }) => answer)") == "You asked: Three?"
    asked = [prompt.messages[-1].text for prompt in upstream.prompts]
    assert asked == (["One?", "Three?"] if fresh else ["One?", "Two?", "Three?"])


async def test_a_component_that_names_each_session_it_hears_of_keeps_its_connection(tabs: Tabs) -> None:
    """`onFrame` tells it before the next animation frame does, and what it asks meanwhile is answered."""
    async with hooked(tabs) as hook:
        await hook.show(keeps=True)
        assert await hook.last("bot.ask('One?').then(({ answer }) => answer)") == "You asked: One?"
        fresh = "(bot.fresh(), bot.ask('Two?').then(({ answer }) => answer))"
        assert await hook.last(fresh) == "You asked: Two?"
        assert len(hook.sockets) == 2


async def test_a_component_that_names_no_session_any_more_keeps_its_conversation(tabs: Tabs) -> None:
    """Null is no other conversation, and the session that is named after it is one only where it is another."""
    async with hooked(tabs) as hook:
        await hook.show()
        await hook.last("bot.ask('One?')")
        first = await hook.last("bot.session")
        await hook.show(session=first)
        await hook.last("bot.fresh()")
        await hook.until(f"bot.session && bot.session !== '{first}'")
        await hook.show(session=None)
        assert await hook.last("bot.ask('Two?').then(({ answer }) => answer)") == "You asked: Two?"
        assert len(hook.sockets) == 2
        await hook.show(session=first)
        await hook.until("bot.turns[0]?.question === 'One?'")
        assert len(hook.sockets) == 3


async def test_what_is_not_sent_is_given_back_where_the_conversation_is_left(tabs: Tabs) -> None:
    """Its promise says so, and the draft has it, until it is asked again."""
    asked = "void (globalThis.asked = bot.ask('Two?').catch(({ code, text }) => `${code} ${text}`))"
    async with hooked(tabs, script=SOCKETS) as hook:
        await hook.show()
        await hook.last("bot.ask('One?')")
        first = await hook.last("bot.session")
        for leave in ({"session": first}, {"name": "other"}, None):
            await hook.show()
            await hook.until("bot.draft === ''")
            await hook.last("bot.fresh()")
            await hook.until(f"bot.state === 'open' && bot.session && bot.session !== '{first}'")
            await hook.tab.page.evaluate("drain()")
            await hook.last(asked)
            if leave is None:
                await hook.last("bot.fresh()")
            else:
                await hook.show(**leave)
            assert await hook.tab.page.evaluate("asked") == "closed Two?"
            await hook.until("bot.draft === 'Two?' && bot.state === 'open'")
            assert await hook.last("bot.ask(bot.draft).then(({ answer }) => answer)") == "You asked: Two?"
            await hook.until("bot.draft === ''")


async def test_what_has_no_acknowledgement_is_asked_where_its_conversation_is_next(tabs: Tabs) -> None:
    """Under its id, once, by one tab, in strict mode too; another session's is left alone. What is refused stays."""
    upstream = ScriptedUpstream()
    async with hooked(tabs, upstream, script=SOCKETS) as hook:
        page = hook.tab.page
        await hook.show()
        await hook.last("bot.ask('Zero?')")
        first = await hook.last("bot.session")
        for question, event in (("One?", "drain()"), ("Two?", "deafen()")):
            await page.evaluate(event)
            await hook.last(f"void bot.ask('{question}')")
            await page.reload()
            await hook.show(session="0" * 32)
            await hook.until("bot.session && bot.turns.length === 0")
            await hook.hide()
            await hook.show(session=first)
            await hook.until(f"bot.turns.at(-1)?.answer === 'You asked: {question}' && bot.draft === ''")
        await hook.last("void bot.ask('x'.repeat(9000))")
        await hook.until("bot.draft.length === 9000")
        await page.reload()
        await hook.show(session=first)
        await hook.until("bot.draft.length === 9000 && bot.turns.length === 3")
        await page.evaluate("drain()")
        await hook.last("void (globalThis.asked = bot.ask('Three?').catch(({ code, text }) => `${code} ${text}`))")
        await hook.until("bot.draft === ''")

        others = [await tabs.beside(page.context, urlsplit(page.url).port or 0) for _ in range(2)]
        for other in others:
            await other.page.evaluate("show", {"url": hook.url, "session": first})
            await until(other.page, "seen.last?.turns.length === 3 && seen.last.state === 'open'")
        assert [other.asked() for other in others] == [[], []]
        await hook.hide()
        assert await page.evaluate("asked") == "closed Three?"
        for other in others:
            await until(other.page, "seen.last.turns.at(-1).answer === 'You asked: Three?'")
        assert sorted(other.asked() for other in others) == [[], ["Three?"]]
        assert await page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('askbot.unsent'))") == []
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["Zero?", "One?", "Two?", "Three?"]


async def test_a_question_that_another_conversation_replaces_is_only_in_the_draft(tabs: Tabs) -> None:
    """It is not asked where it was asked first, too; and without a storage nothing is kept."""
    upstream = ScriptedUpstream()
    async with hooked(tabs, upstream, script=SOCKETS) as hook:
        await hook.show(name="one")
        await hook.tab.page.evaluate("drain()")
        await hook.last("void bot.ask('One?')")
        await hook.show(name="two")
        await hook.until("bot.draft === 'One?'")
        await hook.hide()
        await hook.show(name="one")
        await hook.until("bot.draft === '' && bot.turns.length === 0")
        await hook.hide()
        await hook.show(name="two")
        await hook.until("bot.draft === 'One?'")
        await hook.hide()
        await hook.show(name="three", unsentStorage={})
        await hook.tab.page.evaluate("drain()")
        await hook.last("void bot.ask('Two?')")
        await hook.hide()
        await hook.show(name="three", unsentStorage={})
        await hook.until("bot.turns.length === 0")
    assert hook.tab.asked() == []
    assert upstream.prompts == []


async def test_it_says_how_the_connection_is_and_what_is_pending_and_forks(tabs: Tabs) -> None:
    """`reconnect` does not wait; a command is shown at once, and made once; a fork is a session to name."""
    upstream = ScriptedUpstream(model="funky-1")
    async with hooked(tabs, upstream, script=SOCKETS + PATIENT) as hook:
        await hook.show()
        await hook.until("bot.connection.state === 'open' && !bot.connection.cause && bot.models?.[0] === bot.model")
        await hook.last("bot.ask('One?')")
        await hook.last("bot.ask('Two?')")
        await hook.until("bot.turns[1]?.status === 'ended' && bot.turns[1].pending === null")
        first = await hook.last("bot.session")

        await hook.tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 1006 }))")
        await hook.until("bot.connection.cause?.code === 'lost' && bot.connection.nextTry > Date.now()")
        await hook.last("void [1, 2].map(() => bot.retry(bot.turns[1].turn))")
        await hook.until("bot.turns[1].pending === 'retry'")
        await hook.last("bot.reconnect()")
        await hook.until("bot.connection.state === 'open' && bot.turns[1].replaces && bot.turns[1].status === 'ended'")
        assert len(upstream.prompts) == 3

        fork = await hook.last("bot.fork(bot.turns[0].turn).then(({ session }) => session)")
        await hook.show(session=fork)
        await hook.until(f"bot.session === '{fork}' && bot.turns.length === 1 && bot.turns[0].question === 'One?'")
        await hook.show(session=first)
        await hook.until("bot.turns.length === 2")


async def test_another_token_is_for_the_next_connection(tabs: Tabs) -> None:
    """Which is made at once where the last one was refused."""
    async with hooked(tabs, script=SOCKETS) as hook:
        await hook.show(token="old")
        await hook.last("bot.ask('One?')")
        await hook.show(token="new")
        await hook.last("bot.ask('Two?')")
        assert await hook.tab.page.evaluate("offered") == [["askbot.v1", "askbot.bearer.old"]]
        await hook.tab.page.evaluate("globalThis.isRefused = true; refuse()")
        await hook.until("bot.state === 'closed' && bot.error.code === 'unauthorized'")
        await hook.tab.page.evaluate("globalThis.isRefused = false")
        await hook.show(token="newest")
        await hook.last("bot.ask('Three?')")
        await hook.until("bot.turns.length === 3")
        await hook.tab.page.evaluate("globalThis.isRefused = true; refuse()")
        await hook.until("bot.state === 'closed'")
        await hook.tab.page.evaluate("globalThis.isRefused = false")
        await hook.last("bot.reconnect()")  # a function may have another one now
        await hook.until("bot.state === 'open' && bot.turns.length === 3")
        offered = [["askbot.v1", f"askbot.bearer.{token}"] for token in ("old", "new", "newest", "newest", "newest")]
        assert await hook.tab.page.evaluate("offered") == offered


async def test_a_token_that_comes_while_the_old_one_is_refused_connects_again(tabs: Tabs) -> None:
    """The component has rendered with it before the refusal."""
    async with hooked(tabs, script=SOCKETS) as hook:
        await hook.show(token="old")
        await hook.tab.page.evaluate("globalThis.isRefused = true; refuse = deafen")
        await hook.tab.page.evaluate("show", {"url": hook.url, "name": "other", "token": "old"})
        await until(hook.tab.page, "sockets.length === 2")
        await hook.tab.page.evaluate("isRefused = false")
        await hook.tab.page.evaluate("show", {"url": hook.url, "name": "other", "token": "new"})
        await hook.until("bot.state === 'connecting'")
        await hook.tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 4401 }))")
        await hook.until("bot.state === 'open' && bot.error === null")
        assert (await hook.tab.page.evaluate("offered"))[-1] == ["askbot.v1", "askbot.bearer.new"]


@pytest.mark.parametrize("asked", [False, True])
async def test_a_conversation_that_is_gone_when_another_token_comes_is_missed_if_it_was_one(
    tabs: Tabs, *, asked: bool
) -> None:
    """The server forgets an empty one meanwhile, and somebody deletes the other."""
    async with hooked(tabs, script=SOCKETS) as hook:
        await hook.show(token="old")
        if asked:
            await hook.last("bot.ask('One?').then(() => null)")
        for sockets in (1, 2):  # it is asked once more
            await hook.until(f"bot.connection.tries === 0 && sockets.length >= {sockets}")
            session = await hook.last("bot.session")
            await hook.tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 4401 }))")
        await hook.until("bot.state === 'closed' && bot.error.code === 'unauthorized'")
        if asked:
            async with reading(hook.url) as reader:
                await reader.send(type="forget", id="f", session=session)
                await reader.until("error")
        await hook.show(token="new")
        await hook.until(f"bot.state === 'open' && bot.session !== '{session}'")
        assert await hook.last("bot.error?.code") == ("session_not_found" if asked else None)


async def test_a_question_that_is_asked_twice_under_its_id_is_given_back_once(tabs: Tabs) -> None:
    """As an effect does in strict mode."""
    async with hooked(tabs, script=SOCKETS) as hook:
        await hook.show()
        await hook.tab.page.evaluate("drain()")
        await hook.last("void [1, 2].map(() => bot.ask('One?', { id: 'q1' }).catch(() => {}))")
        await hook.last("bot.fresh()")
        await hook.until("bot.draft === 'One?'")


async def test_conversations_of_other_names_are_other_ones(tabs: Tabs) -> None:
    """Each is continued as its own."""
    async with hooked(tabs) as hook:
        for name in ("one", "two"):
            await hook.show(name=name)
            await hook.last(f"bot.ask('{name}?')")
        await hook.hide()
        for name in ("one", "two"):
            await hook.show(name=name)
            await hook.until(f"bot.turns.length === 1 && bot.turns[0].question === '{name}?'")


async def test_a_child_may_ask_as_soon_as_it_is_there(tabs: Tabs) -> None:
    """Effects of children run first: before their parent watches the conversation."""
    upstream = ScriptedUpstream()
    async with hooked(tabs, upstream) as hook:
        await hook.show(early="Early?")
        await hook.until("bot.turns.at(-1)?.status === 'ended'")
        assert await hook.last("bot.turns.every(({ answer }) => answer === 'You asked: Early?')")
        assert len(hook.sockets) == 1
