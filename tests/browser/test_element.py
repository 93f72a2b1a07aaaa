"""`<ask-bot>` in pages of other people: one script tag, and a conversation that stays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from playwright.async_api import Locator, Page, Route, expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, Step, serving

from .breakable_proxy import BreakableProxy
from .other_origin import OtherOrigin, other_origin
from .sockets import SOCKETS
from .tab import IMPATIENT, PATIENT, Json, Tab, Tabs, until
from .test_access import PHONE
from .test_following import Growing, finger

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOT = "<ask-bot></ask-bot>"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>A shop</title>
<style>body {{ margin: 1rem; font: 1rem sans-serif }} {style}</style>
<script type="module" src="http://127.0.0.1:{port}/element.js"></script></head>
<body><main><h1>A shop</h1>{body}</main></body></html>"""
ANSWER_MODULE = "**/element-answer.js"
SCROLL_UP = "document.querySelector('ask-bot').shadowRoot.querySelector('[part=log]').scrollBy(0, -2)"
HEAR = """
    globalThis.heard = [];
    const hear = ({ type, detail, target }) => heard.push([type, detail.answer ?? detail.code, target.localName]);
    for (const type of ["askbot-done", "askbot-error"]) addEventListener(type, hear);
"""
STATES = """
    globalThis.states = [];
    addEventListener("load", () => customElements.whenDefined("ask-bot").then(() => {
        const { chat } = document.querySelector("ask-bot");
        chat.addEventListener("state", ({ detail }) => states.push(detail));
    }));
"""


@dataclass
class Bot:
    """One element, and what is in it."""

    tab: Tab
    host: Locator

    @property
    def page(self) -> Page:
        """The tab's."""
        return self.tab.page

    def part(self, name: str) -> Locator:
        """By the name that style sheets use."""
        return self.host.locator(f"[part~={name}]")

    @property
    def last(self) -> Locator:
        """The last turn."""
        return self.part("turn").last

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.last.locator("[part=answer]")

    async def ask(self, text: str) -> None:
        """Type a question and press Enter; on a touch screen, where that breaks the line, the button."""
        await self.part("field").fill(text)
        if await self.tab.page.evaluate("matchMedia('(hover: none) and (pointer: coarse)').matches"):
            await self.part("send").click()
        else:
            await self.part("field").press("Enter")

    async def shows(self, text: str) -> None:
        """Wait until the last answer has this in it."""
        await expect(self.answer).to_contain_text(text)

    async def answered(self, text: str) -> None:
        """Wait for the end of the last answer, which is this, to the letter."""
        await expect(self.answer).to_have_text(text)
        await expect(self.last).to_have_attribute("part", "turn ended")
        assert await self.answer.text_content() == text


@dataclass
class Shop:
    """Somebody's page, from another origin than the server's."""

    tabs: Tabs
    place: OtherOrigin
    port: int  # the server's, or that of the proxy to it

    async def open(self, body: str = BOT, *, style: str = "", script: str = "", **options: Any) -> Bot:
        """The page, as somebody sees it who was never there."""
        self.place.pages["/"] = PAGE.format(port=self.port, body=body, style=style)
        tab = await self.tabs.open(self.place.port, script=script + HEAR, **options)
        return bot(tab)


def bot(tab: Tab, place: int = 0) -> Bot:
    """One of the elements of a page."""
    return Bot(tab, tab.page.locator("ask-bot").nth(place))


@asynccontextmanager
async def shop(tabs: Tabs, upstream: ScriptedUpstream | None = None) -> AsyncGenerator[Shop]:
    """The page's origin is listed."""
    async with other_origin() as place, serving(upstream, origins=place.origin) as server:
        yield Shop(tabs, place, server.port)


async def heard(bot: Bot) -> list[list[str]]:
    """The events that reached the page."""
    events: list[list[str]] = await bot.tab.page.evaluate("heard")
    return events


# --- a conversation --------------------------------------------------------------------------------------------------


async def test_one_script_tag_puts_a_chat_into_a_page(tabs: Tabs) -> None:
    """It asks the server that the script came from, streams, shows Markdown, and tells the page."""
    gate = asyncio.Event()
    async with shop(tabs, ScriptedUpstream(["**Pa", "ris**, ", gate, "of course."])) as place:
        bot = await place.open()
        await bot.ask("The capital of France?")
        await bot.shows("Paris,")
        await expect(bot.answer.locator("strong")).to_have_text("Paris")
        await expect(bot.part("status")).to_have_text("Answering")
        assert await heard(bot) == []
        gate.set()
        await bot.answered("Paris, of course.")
        await expect(bot.part("status")).to_have_text("The answer is complete")
        assert await heard(bot) == [["askbot-done", "**Paris**, of course.", "ask-bot"]]
        assert await bot.part("question").all_text_contents() == ["The capital of France?"]


async def loaded(bot: Bot) -> list[str]:
    """The modules that its page has loaded, without those that are there at once."""
    names: list[str] = await bot.page.evaluate(
        "performance.getEntriesByType('resource').map(({ name }) => name.split('/').pop())"
    )
    return [name for name in names if name in ("element-answer.js", "markdown.js", "markdown-blocks.js")]


async def opened(bot: Bot) -> None:
    """Wait for its connection."""
    await until(bot.page, "document.querySelector('ask-bot').chat?.state === 'open'")


async def test_who_asks_nothing_loads_no_markdown(tabs: Tabs) -> None:
    """On the first visit and the next; the first letter loads it, before there is an answer to draw."""
    async with shop(tabs) as place:
        bot = await place.open()
        await opened(bot)
        assert await loaded(bot) == []
        await bot.page.reload()
        await opened(bot)
        assert await loaded(bot) == []
        await bot.part("field").fill("H")
        await until(
            bot.page, f"performance.getEntriesByName('http://127.0.0.1:{place.port}/markdown-blocks.js').length"
        )
        assert sorted(await loaded(bot)) == ["element-answer.js", "markdown-blocks.js", "markdown.js"]


async def test_what_another_tab_asks_in_a_new_conversation_is_drawn(tabs: Tabs) -> None:
    """Here nobody has typed anything."""
    async with shop(tabs, ScriptedUpstream(["**Paris**."])) as place:
        one = await place.open()
        await opened(one)
        other = bot(await tabs.beside(one.tab.page.context, place.place.port))
        await opened(other)
        await one.ask("The capital of France?")
        await other.answered("Paris.")
        await expect(other.answer.locator("strong")).to_have_text("Paris")


async def test_a_conversation_is_shown_at_once_with_its_answers(tabs: Tabs) -> None:
    """While what draws an answer is on its way, no question stands there alone: nothing jumps when the answers come."""
    async with shop(tabs, ScriptedUpstream(["**Paris**."])) as place:
        bot = await place.open()
        await bot.ask("The capital of France?")
        await bot.answered("Paris.")
        arrive = asyncio.Event()

        async def hold(route: Route) -> None:
            await arrive.wait()
            await route.continue_()

        await bot.page.route(ANSWER_MODULE, hold)
        async with bot.page.expect_request(ANSWER_MODULE):
            await bot.page.reload()
        await until(bot.page, "document.querySelector('ask-bot').chat.view.turns[0]?.answer")
        await bot.page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        await expect(bot.part("turn")).to_have_count(0)
        await expect(bot.part("hint")).to_be_hidden()
        arrive.set()
        await bot.answered("Paris.")


async def test_answers_are_plain_text_where_what_draws_them_cannot_be_loaded(tabs: Tabs) -> None:
    """As after a new version of a site, whose old modules are gone: the answer is there, line by line."""
    async with shop(tabs, ScriptedUpstream(["**Paris**\n", "it is."])) as place:
        bot = await place.open()
        await bot.page.route(ANSWER_MODULE, lambda route: route.abort())
        await bot.ask("The capital of France?")
        await bot.answered("**Paris**\nit is.")
        assert (
            await bot.answer.evaluate(
                "(answer) => answer.getClientRects().length && getComputedStyle(answer).whiteSpace"
            )
            == "pre-wrap"
        )
        await expect(bot.part("thought")).to_be_hidden()


async def test_it_works_under_the_servers_own_policy(tabs: Tabs) -> None:
    """No inline style, no inline script: nothing that a strict Content-Security-Policy forbids."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await tab.page.evaluate(
            "import('/element.js').then(() => document.body.append(document.createElement('ask-bot')))"
        )
        one = bot(tab)
        await one.ask("Hello?")
        await one.answered("You asked: Hello?")
        assert await one.host.evaluate("(host) => getComputedStyle(host).display") == "flex"


async def test_stop_stops_and_retry_asks_again(tabs: Tabs) -> None:
    """By button, or by Escape; what was said is kept until it is asked again."""
    upstream = ScriptedUpstream(["One", asyncio.Event()], ["Two", asyncio.Event()], ["Three."])
    async with shop(tabs, upstream) as place:
        bot = await place.open()
        await expect(bot.part("stop")).to_be_hidden()
        await bot.ask("Count!")
        await bot.shows("One")
        await expect(bot.part("retry")).to_be_hidden()
        await bot.part("stop").click()
        await bot.answered("One")
        await expect(bot.part("badge")).to_have_text("Stopped")
        await expect(bot.part("stop")).to_be_hidden()

        await bot.part("retry").click()
        await bot.shows("Two")
        await bot.part("field").press("Escape")
        await bot.answered("Two")
        await bot.part("retry").click()
        await bot.answered("Three.")
        await expect(bot.part("turn")).to_have_count(1)
    assert upstream.stopped == 2


async def test_a_reload_in_the_middle_of_an_answer_goes_on(tabs: Tabs) -> None:
    """The session is kept; nothing is asked twice."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["One ", gate, "two."])
    async with shop(tabs, upstream) as place:
        bot = await place.open()
        await bot.ask("Count!")
        await bot.shows("One")
        await bot.tab.page.reload()
        await bot.shows("One")
        gate.set()
        await bot.answered("One two.")
    assert len(upstream.prompts) == 1


async def test_a_reload_before_anything_was_asked_is_no_lost_connection(tabs: Tabs) -> None:
    """The server has forgotten the empty conversation, and there is another one at once: nothing is said of it."""
    async with shop(tabs) as place:
        bot = await place.open(script=STATES)
        is_open = "document.querySelector('ask-bot').chat?.state === 'open'"
        session = "document.querySelector('ask-bot').chat.session"
        await until(bot.page, is_open)
        first = await bot.page.evaluate(session)
        await bot.page.reload()
        await until(bot.page, is_open)
        assert await bot.page.evaluate(session) != first
        await expect(bot.part("status")).to_be_empty()
        assert "waiting" not in await bot.page.evaluate("states")
        assert await bot.page.evaluate("heard") == []


async def test_two_tabs_show_the_same_conversation(tabs: Tabs) -> None:
    """What one asks, the other sees being answered, and may stop."""
    async with shop(tabs, ScriptedUpstream(["Well."], ["One ", asyncio.Event()])) as place:
        one = await place.open()
        await one.ask("Hello?")
        await one.answered("Well.")
        other = bot(await tabs.beside(one.tab.page.context, place.place.port))
        await other.answered("Well.")
        await one.ask("Count!")
        await other.shows("One")
        await other.part("stop").click()
        await one.answered("One")


async def test_a_lost_network_costs_nothing(tabs: Tabs) -> None:
    """It says so, keeps what is asked meanwhile, and goes on from the letter where it was."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream = ScriptedUpstream(["하나 ", gates[0], "둘 ", gates[1], "셋."])
    async with shop(tabs, upstream) as place, BreakableProxy.start(place.port) as proxy:
        place.port = proxy.port
        bot = await place.open(script=IMPATIENT)
        await bot.ask("Count!")
        await bot.shows("하나")
        await bot.tab.page.context.set_offline(offline=True)
        proxy.is_down = True
        proxy.cut()
        await expect(bot.part("status")).to_have_text("Connecting")
        await bot.ask("And then?")
        await expect(bot.part("badge").last).to_have_text("Not sent yet")
        gates[0].set()
        proxy.is_down = False
        await bot.tab.page.context.set_offline(offline=False)
        await expect(bot.answer).to_have_count(1)
        first = bot.part("turn").first.locator("[part=answer]")
        await expect(first).to_have_text("하나 둘")
        gates[1].set()
        await bot.answered("You asked: And then?")
        assert await first.text_content() == "하나 둘 셋."
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["Count!", "And then?"]


async def test_elements_of_one_page_hold_conversations_of_their_own(tabs: Tabs) -> None:
    """Also after a reload, each its own."""
    async with shop(tabs) as place:
        one = await place.open('<ask-bot></ask-bot><ask-bot id="other"></ask-bot>')
        other = bot(one.tab, 1)
        await one.ask("One?")
        await other.ask("Two?")
        await one.answered("You asked: One?")
        await other.answered("You asked: Two?")
        await one.tab.page.reload()
        await one.answered("You asked: One?")
        await other.answered("You asked: Two?")
        await expect(one.part("turn")).to_have_count(1)


async def test_a_new_conversation_begins_empty(tabs: Tabs) -> None:
    """And is what a reload shows."""
    async with shop(tabs) as place:
        one = await place.open('<ask-bot><p slot="empty">Ask me anything</p></ask-bot>')
        await expect(one.tab.page.get_by_text("Ask me anything")).to_be_visible()
        await one.ask("One?")
        await one.answered("You asked: One?")
        await expect(one.tab.page.get_by_text("Ask me anything")).to_be_hidden()
        await one.part("fresh").click()
        await expect(one.part("turn")).to_have_count(0)
        await expect(one.part("field")).to_be_focused()
        await expect(one.tab.page.get_by_text("Ask me anything")).to_be_visible()
        await one.ask("Two?")
        await one.answered("You asked: Two?")
        await one.tab.page.reload()
        await one.answered("You asked: Two?")
        await expect(one.part("turn")).to_have_count(1)


async def test_older_turns_are_shown_when_they_are_wanted(tabs: Tabs) -> None:
    """A conversation of more than fifty turns is replayed from its newest fifty on."""
    async with shop(tabs) as place:
        one = await place.open()
        ask = "(bot) => (async () => { for (let turn = 0; turn < 55; turn += 1) await bot.ask(`${turn}?`); })()"
        await one.host.evaluate(ask)
        await one.tab.page.reload()
        await one.answered("You asked: 54?")
        await expect(one.part("turn")).to_have_count(50)
        await one.part("earlier").click()
        await expect(one.part("turn")).to_have_count(55)
        await expect(one.part("earlier")).to_be_hidden()
        await expect(one.part("question").first).to_have_text("0?")


# --- what a page may do with it --------------------------------------------------------------------------------------


async def test_its_methods_are_those_of_the_page(tabs: Tabs) -> None:
    """`ask` gives what the client's does; what is refused is an event, and is said."""
    async with shop(tabs, ScriptedUpstream(["Paris."], [UpstreamUnavailable()])) as place:
        one = await place.open()
        assert await one.host.evaluate("async (bot) => (await bot.ask('Where?')).answer") == "Paris."
        refused = "(bot) => bot.ask('x'.repeat(9000)).catch(({ code }) => code)"
        assert await one.host.evaluate(refused) == "question_too_long"
        events = [["askbot-done", "Paris.", "ask-bot"], ["askbot-error", "question_too_long", "ask-bot"]]
        assert await heard(one) == events
        await expect(one.part("status")).to_contain_text("8000")

        await one.ask("And now?")
        await expect(one.part("badge").last).to_have_text("The model cannot be reached.")
        assert await one.host.evaluate("(bot) => bot.chat.view.turns.length") == 2
        await one.host.evaluate("(bot) => bot.focus()")
        await expect(one.part("field")).to_be_focused()


async def test_after_a_refusal_it_connects_again_when_it_is_told_to(tabs: Tabs) -> None:
    """As a page does once its user has signed in again, where a function gives tickets; what was asked is not lost."""
    async with shop(tabs) as place:
        one = await place.open(script=SOCKETS)
        await one.ask("One?")
        await one.answered("You asked: One?")
        await one.page.evaluate("globalThis.isRefused = true; drain()")
        await one.ask("Two?")
        await one.page.evaluate("refuse()")
        await expect(one.part("status")).to_contain_text("Not signed in")
        await one.page.evaluate("globalThis.isRefused = false")
        await one.host.evaluate("(bot) => bot.reconnect()")
        await expect(one.part("field")).to_have_value("Two?")
        await one.part("field").press("Enter")
        await one.answered("You asked: Two?")


async def test_a_text_that_is_too_long_is_kept_counted_and_not_sent(tabs: Tabs) -> None:
    """In code points; it survives a reload, and so does what is refused."""
    async with shop(tabs) as place:
        one = await place.open()
        await expect(one.part("hint")).to_be_visible()
        for text in ("\N{GRINNING FACE}" * 8001, "x" * 100_000):
            await one.ask(text)
            said = f"Too long: {len(text)} characters, 8000 are possible. Nothing is cut, nothing is sent."
            await expect(one.part("length")).to_have_text(said)
            await expect(one.part("status")).to_have_text("Too long a question")
            await expect(one.part("field")).to_have_value(text)
        await one.tab.page.reload()
        await expect(one.part("field")).to_have_value("x" * 100_000)
        await expect(one.part("length")).to_contain_text("100000")
        assert one.tab.asked() == []

        await one.part("field").fill("")
        await one.host.evaluate("(bot) => bot.ask('y'.repeat(9000)).catch(() => {})")
        await expect(one.part("field")).to_have_value("y" * 9000)
        await one.tab.page.reload()
        await expect(one.part("field")).to_have_value("y" * 9000)
        await one.ask("Short?")
        await one.answered("You asked: Short?")
        await expect(one.part("length")).to_have_text("")


async def test_attributes_say_which_conversation_where(tabs: Tabs) -> None:
    """`server` and `session`, from the start or later; another element continues what this one began."""
    async with shop(tabs) as place, serving(ScriptedUpstream(["Elsewhere."]), origins=place.place.origin) as second:
        one = await place.open()
        await one.ask("One?")
        await one.answered("You asked: One?")
        session = await one.host.evaluate("(bot) => bot.chat.session")

        other = await place.open(f'<ask-bot server="http://127.0.0.1:{place.port}" session="{session}"></ask-bot>')
        await other.answered("You asked: One?")
        await other.host.evaluate("(bot, port) => bot.setAttribute('server', `http://127.0.0.1:${port}`)", second.port)
        await expect(other.part("turn")).to_have_count(0)
        await other.ask("Where?")
        await other.answered("Elsewhere.")
        await other.host.evaluate("(bot) => bot.setAttribute('placeholder', 'Where to?')")
        await expect(other.part("field")).to_have_attribute("placeholder", "Where to?")
        assert await other.host.evaluate("(bot) => bot.chat.view.turns.length") == 1


async def test_one_that_is_moved_stays_connected_and_one_that_is_removed_does_not(tabs: Tabs) -> None:
    """One socket for as long as it is in the page."""
    async with shop(tabs) as place:
        one = await place.open()
        await one.ask("One?")
        await one.answered("You asked: One?")
        sockets: list[object] = []
        one.tab.page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - playwright looks into it
        await one.host.evaluate("(bot) => document.body.append(document.createElement('main').appendChild(bot))")
        await one.ask("Two?")
        await one.answered("You asked: Two?")
        assert sockets == []
        remove = "async (bot) => { const { chat } = bot; bot.remove(); await 0; return [chat.state, bot.chat]; }"
        states = await one.host.evaluate(remove)
        assert states == ["closed", None]


async def test_looks_are_the_pages(tabs: Tabs) -> None:
    """Variables, parts and slots."""
    style = """
        ask-bot { --askbot-accent: rgb(1, 2, 3); --askbot-paper: rgb(250, 250, 240); block-size: 200px; }
        ask-bot::part(send) { border-radius: 9px; }
        ask-bot::part(ended) { opacity: 0.5; }
    """
    async with shop(tabs) as place:
        slots = '<b slot="header">Ask the shop</b><small slot="footer">No advice</small>'
        one = await place.open(f"<ask-bot>{slots}</ask-bot>", style=style)
        await one.ask("One?")
        await one.answered("You asked: One?")
        looks = """(part) => {
            const { backgroundColor, borderRadius, opacity } = getComputedStyle(part);
            return [backgroundColor, borderRadius, opacity];
        }"""
        assert await one.part("send").evaluate(looks) == ["rgb(1, 2, 3)", "9px", "1"]
        assert (await one.last.evaluate(looks))[2] == "0.5"
        box = await one.host.bounding_box()
        assert box
        assert box["height"] == 200
        for text in ("Ask the shop", "No advice"):
            await expect(one.tab.page.get_by_text(text)).to_be_visible()


# --- everybody can use it --------------------------------------------------------------------------------------------


async def test_a_screen_reader_is_told_what_everything_is(tabs: Tabs) -> None:
    """Roles and names; the state is said, and not each token."""
    async with shop(tabs, ScriptedUpstream(["Paris."])) as place:
        one = await place.open("<ask-bot></ask-bot>")
        await one.ask("The capital of France?")
        await one.answered("Paris.")
        await expect(one.tab.page.locator("body")).to_match_aria_snapshot("""
            - main:
              - heading "A shop" [level=1]
              - status: The answer is complete
              - button "New conversation"
              - region "Conversation":
                - article:
                  - heading "The capital of France?" [level=2]
                  - paragraph: Paris.
                  - button "Ask again"
              - textbox "Ask a question"
              - button "Send"
        """)
        live = one.host.locator("[aria-live], [role]")
        assert await live.evaluate_all("(all) => all.map(({ role }) => role)") == ["status"]


async def test_the_keyboard_reaches_everything(tabs: Tabs) -> None:
    """In the order in which it is seen."""
    async with shop(tabs) as place:
        one = await place.open()
        await one.ask("One?")
        await one.answered("You asked: One?")
        await one.part("fresh").focus()
        names: list[str] = []
        for _ in range(5):
            names.append(await one.host.evaluate("(host) => host.shadowRoot.activeElement.part.value"))
            await one.tab.page.keyboard.press("Tab")
        assert names == ["fresh", "log", "retry", "field", "send"]


async def composing(one: Bot, command: str, **how: Any) -> None:
    """What an input method does."""
    session = await one.tab.page.context.new_cdp_session(one.tab.page)
    await session.send(f"Input.{command}", how)  # pyright: ignore[reportUnknownMemberType]


async def test_keys_that_belong_to_something_else_neither_send_nor_stop(tabs: Tabs) -> None:
    """The first Enter ends a Korean syllable, the second sends; Escape too is first the syllable's, a dialog's."""
    body = """<dialog><ask-bot><input slot="header" aria-label="Search"></ask-bot></dialog>
        <script>document.querySelector("dialog").show()</script>"""
    async with shop(tabs, ScriptedUpstream(["One", asyncio.Event()])) as place:
        one = await place.open(body)
        page = one.tab.page
        await one.part("field").focus()
        await composing(one, "imeSetComposition", text="왜", selectionStart=1, selectionEnd=1)
        await composing(one, "dispatchKeyEvent", type="rawKeyDown", key="Enter", windowsVirtualKeyCode=229)
        await composing(one, "insertText", text="왜")
        await expect(one.part("field")).to_have_value("왜")
        await expect(one.part("turn")).to_have_count(0)
        await one.part("field").press("Shift+Enter")
        await page.keyboard.type("?")
        await one.part("field").press("Enter")
        await one.shows("One")
        assert one.tab.asked() == ["왜\n?"]

        await one.part("field").focus()
        await composing(one, "imeSetComposition", text="왜", selectionStart=1, selectionEnd=1)
        await composing(one, "dispatchKeyEvent", type="rawKeyDown", key="Escape", windowsVirtualKeyCode=229)
        await composing(one, "dispatchKeyEvent", type="rawKeyDown", key="Escape", windowsVirtualKeyCode=27)
        await composing(one, "insertText", text="")
        await page.get_by_label("Search").press("Escape")
        await page.evaluate("document.querySelector('dialog').close(); document.querySelector('dialog').showModal()")
        await one.part("log").press("Escape")
        await expect(page.locator("dialog")).not_to_have_attribute("open", "")
        await page.evaluate("document.querySelector('dialog').show()")
        assert [frame["type"] for frame in one.tab.sent if frame["type"] == "cancel"] == []
        await one.part("field").press("Escape")
        await expect(one.part("badge")).to_have_text("Stopped")


@pytest.mark.parametrize(("body", "options"), [
    ('<ask-bot lang="ko"></ask-bot>', {}),
    ('<main lang="ko-KR"><ask-bot></ask-bot></main>', {}),
    ("<ask-bot></ask-bot><script>document.documentElement.removeAttribute('lang')</script>", {"locale": "ko-KR"}),
])  # fmt: skip
async def test_it_speaks_korean_where_the_page_or_the_reader_does(tabs: Tabs, body: str, options: Json) -> None:
    """By the element's language, that of what is around it, or the browser's."""
    async with shop(tabs, ScriptedUpstream(["파리입니다."], [asyncio.Event()])) as place:
        one = await place.open(body, **options)
        await expect(one.part("field")).to_have_attribute("placeholder", "질문을 입력하세요")
        await one.ask("프랑스의 수도는?")
        await one.answered("파리입니다.")
        await expect(one.part("status")).to_have_text("답변이 끝났습니다")
        await expect(one.tab.page.get_by_role("button", name="다시 질문하기")).to_be_visible()
        await one.host.evaluate("(bot) => (bot.stop(), bot.ask('More?'), bot.stop())")
        await expect(one.part("badge").last).to_have_text("중지되었습니다")
        await one.host.evaluate("(bot) => (bot.lang = 'en')")
        await expect(one.part("send")).to_have_text("Send")
        await expect(one.part("badge").last).to_have_text("Stopped")


async def test_the_theme_is_the_pages_the_readers_or_as_is_said(tabs: Tabs) -> None:
    """Light without an attribute, as is a page that says nothing; all text can be read in both."""
    light = "(host) => getComputedStyle(host).backgroundColor"
    ratio = """(element) => {
        const scale = (text) => (text.startsWith("color(") ? 255 : 1);
        const channels = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((value) => value * scale(text));
        const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const shine = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const host = element.getRootNode().host;
        const under = element.part.value === "send" ? element : host;
        const pair = [getComputedStyle(element).color, getComputedStyle(under).backgroundColor].map(channels);
        const [one, two] = pair.map(shine).sort((a, b) => b - a);
        return (one + 0.05) / (two + 0.05);
    }"""
    async with shop(tabs) as place:
        paper: dict[str, str] = {}
        for theme in ("", 'theme="light"', 'theme="dark"', 'theme="auto"'):
            one = await place.open(f"<ask-bot {theme}></ask-bot>", color_scheme="dark")
            await one.ask("One?")
            await one.answered("You asked: One?")
            paper[theme] = await one.host.evaluate(light)
            for part in ("question", "answer", "status", "send", "field", "retry"):
                assert await one.part(part).evaluate(ratio) >= 4.5, (theme, part)
    dark, bright = "rgb(27, 32, 31)", "rgb(251, 249, 244)"
    assert list(paper.values()) == [bright, bright, dark, dark]


async def test_one_at_rest_is_still_within_five_seconds(tabs: Tabs) -> None:
    """WCAG 2.2, 2.2.2: what blinks for longer must be stoppable; and it draws the page 60 times a second."""
    animations = "document.querySelector('ask-bot').shadowRoot.getAnimations()"
    longest = f"Math.max(...{animations}.map(({{ effect }}) => effect.getComputedTiming().endTime), 0)"
    async with shop(tabs) as place:
        one = await place.open()
        await until(one.tab.page, f"{animations}.some(({{ animationName: name }}) => name === 'blink')")
        assert await one.tab.page.evaluate(longest) <= 5000
        await one.ask("Why?")
        await one.answered("You asked: Why?")
        assert await one.tab.page.evaluate(longest) <= 5000


async def test_on_a_phone_nothing_is_wider_than_the_screen(tabs: Tabs) -> None:
    """However wide an answer is; the field is large enough for fingers, and for iPhones not to zoom."""
    row = f"| {' | '.join(['column'] * 20)} |\n"
    wide = f"{'w' * 300}\n\n```\n{'code ' * 60}\n```\n\n{row}{row.replace('column', '---')}{row}"
    async with shop(tabs, ScriptedUpstream([wide])) as place:
        one = await place.open(**PHONE)
        await one.ask("w" * 300)
        await expect(one.last).to_have_attribute("part", "turn ended")
        widths = "[document.documentElement.scrollWidth, innerWidth, visualViewport.width]"
        assert set(await one.tab.page.evaluate(widths)) == {360}
        assert await one.part("log").evaluate("(log) => log.scrollWidth - log.clientWidth") == 0
        assert await one.part("field").evaluate("(field) => parseFloat(getComputedStyle(field).fontSize)") >= 16
        for part in ("send", "fresh"):
            box = await one.part(part).bounding_box()
            assert box
            assert min(box["width"], box["height"]) >= 24
            assert box["x"] + box["width"] <= 360


Way: TypeAlias = Callable[[Page], Awaitable[object]]  # to move the log


async def grown(one: Bot, answer: Growing) -> tuple[float, float]:
    """Where the log is once a line more is in it: the position, and what is left below."""
    await answer.grow(one)
    place = "(log) => [log.scrollTop, log.scrollHeight - log.clientHeight - log.scrollTop]"
    top, left = await one.part("log").evaluate(place)
    return top, left


async def test_reading_along_ends_with_any_movement_up_and_begins_again_at_the_end(tabs: Tabs) -> None:
    """A small step of the wheel, or a key; back to the end by wheel, key and button. To move the element is none."""
    ways: list[tuple[Way, Way]] = [
        (lambda page: page.mouse.wheel(0, -4), lambda page: page.mouse.wheel(0, 5000)),
        (lambda page: page.keyboard.press("ArrowUp"), lambda page: page.keyboard.press("End")),
        (lambda page: page.evaluate(SCROLL_UP), lambda page: page.get_by_role("button", name="Latest").click()),
    ]
    answer = Growing()
    async with shop(tabs, ScriptedUpstream(answer.steps())) as place:
        one = await place.open()
        page = one.tab.page
        await one.ask("Count!")
        await one.shows("59")
        await page.evaluate("document.body.append(Object.assign(document.createElement('div'), { id: 'other' }))")
        await one.host.evaluate("(bot) => document.getElementById('other').append(bot)")
        await one.part("log").hover()
        await one.part("log").focus()
        for up, to_the_end in ways:
            assert (await grown(one, answer))[1] <= 1
            await up(page)
            await expect(one.part("latest")).to_be_visible()
            await page.wait_for_timeout(250)  # the wheel's movement is spread over several frames
            before, left = await grown(one, answer)
            assert left > 1
            assert (await grown(one, answer))[0] == before
            await to_the_end(page)
            await expect(one.part("latest")).to_be_hidden()
            assert (await grown(one, answer))[1] <= 1


async def test_a_phone_breaks_lines_by_enter_and_scrolls_by_finger(tabs: Tabs) -> None:
    """Sending is the button's; however slowly a finger moves, it is not fought."""
    answer = Growing()
    async with shop(tabs, ScriptedUpstream(answer.steps())) as place:
        one = await place.open(**PHONE)
        await one.part("field").fill("Count")
        await one.part("field").press("Enter")
        await one.tab.page.keyboard.type("up!")
        await expect(one.part("field")).to_have_value("Count\nup!")
        await one.part("send").tap()
        await one.shows("59")
        cdp = await one.tab.page.context.new_cdp_session(one.tab.page)
        await finger(cdp, 250, *range(251, 275))
        before, left = await grown(one, answer)
        assert left > 1
        assert (await grown(one, answer))[0] == before
        await finger(cdp, 400, *range(380, 200, -20))
        await expect(one.part("latest")).to_be_hidden()
        assert (await grown(one, answer))[1] <= 1


async def test_a_command_shows_that_it_was_heard_and_a_connection_that_is_not_there_says_why(tabs: Tabs) -> None:
    """Offline, twice: it is sent once. What waits says where it stands; the focus goes on when its button goes."""
    gate = asyncio.Event()
    upstream = ScriptedUpstream(["One."], [gate, "Two ", asyncio.Event()])
    async with shop(tabs, upstream) as place, BreakableProxy.start(place.port) as proxy:
        place.port = proxy.port
        one = await place.open(script=PATIENT)
        page = one.tab.page
        await one.ask("Count!")
        await one.answered("One.")
        proxy.is_down = True
        proxy.cut()
        await one.part("reconnect").click()
        await expect(one.part("connection")).to_contain_text("The server cannot be reached. Tries so far: ")
        assert re.match(r"Offline since \d+:\d\d [AP]M\. ", (await one.part("connection").text_content()) or "")
        for _ in range(2):
            await one.part("retry").click(force=True)
            await expect(one.part("retry")).to_have_text("Asking again…")
        await expect(one.part("retry")).to_be_focused()
        await expect(one.part("retry")).to_be_disabled()
        proxy.is_down = False
        await one.part("reconnect").click()
        await expect(one.part("offline")).to_be_hidden()
        await expect(one.part("field")).to_be_focused()
        await one.ask("And then?")
        await expect(one.part("badge").last).to_have_text("Next in line")
        await expect(one.part("badge").first).to_have_text(re.compile(r"Waiting… \d s"))
        gate.set()
        await expect(one.part("answer").first).to_have_text("Two ")
        await one.part("stop").focus()
        await page.keyboard.press("Enter")
        await one.answered("You asked: And then?")
        await expect(one.part("field")).to_be_focused()
        await one.part("retry").last.focus()
        await page.keyboard.press("Enter")
        await expect(one.part("log")).to_be_focused()
        await one.answered("You asked: And then?")
    assert [frame["type"] for frame in one.tab.sent].count("retry") == 2


HOSTILE = """
    :root, body, main, ask-bot { color: rgb(9, 9, 9); font: 700 italic 7px/5 serif; text-align: center; cursor: wait;
        letter-spacing: 9px; word-spacing: 9px; white-space: pre; text-transform: uppercase; text-indent: 3em;
        direction: rtl; user-select: none; quotes: none; list-style: none; hyphens: auto; word-break: break-all; }
"""
INHERITED = [
    "color",
    "fontSize",
    "fontStyle",
    "fontWeight",
    "lineHeight",
    "textAlign",
    "cursor",
    "letterSpacing",
    "wordSpacing",
    "whiteSpace",
    "textTransform",
    "textIndent",
    "direction",
    "userSelect",
    "listStyleType",
    "hyphens",
    "wordBreak",
]


async def test_what_the_page_around_it_hands_down_does_not_reach_it(tabs: Tabs) -> None:
    """But for what is said to it: `hidden`, `dir`, its custom properties."""
    async with shop(tabs, ScriptedUpstream(*[["Paris.\n\n- one\n"]] * 2)) as place:
        looks: list[list[list[str]]] = []
        for style in ("", HOSTILE):
            one = await place.open(style=style)
            await one.ask("Where?")
            await expect(one.last).to_have_attribute("part", "turn ended")
            inner = [one.answer.locator("> p"), one.answer.locator("li"), one.part("question"), one.part("status")]
            values = "(part, names) => names.map((name) => getComputedStyle(part)[name])"
            looks.append([await each.evaluate(values, INHERITED) for each in inner])
        assert looks[0] == looks[1]
        assert looks[0][0][1:3] == ["16px", "normal"]
        direction = "(part) => getComputedStyle(part).direction"
        await one.host.evaluate("(bot) => (bot.dir = 'rtl')")
        assert await one.part("status").evaluate(direction) == "rtl"
        await one.host.evaluate("(bot) => (bot.hidden = true)")
        await expect(one.part("field")).to_be_hidden()
        await one.host.evaluate("(bot) => { bot.hidden = false; bot.parentNode.style.visibility = 'hidden'; }")
        await expect(one.part("field")).to_be_hidden()


async def test_an_answer_has_its_directions_its_cursor_its_formulas_and_prints_whole(tabs: Tabs) -> None:
    """Each block is in its own direction, the last one grows; a page's renderer draws the formulas."""
    gates = [asyncio.Event(), asyncio.Event()]
    pieces: list[Step] = [
        "שלום\n\n| a | b |\n|---|---|\n| c | d",
        gates[0],
        " |\n\n$$E=mc^2$$\n\nSee https://example.org/a",
        gates[1],
        "bc",
    ]
    long = "\n".join(f"line {place}" for place in range(60))
    before = """addEventListener("DOMContentLoaded", () => {
        const renderMath = (tex) => Object.assign(document.createElement("i"), { title: tex });
        document.querySelector("ask-bot").renderMath = renderMath;
    });"""
    async with shop(tabs, ScriptedUpstream(pieces)) as place:
        one = await place.open(style="ask-bot { block-size: 300px; }", script=before)
        await one.ask(long)
        await one.shows("d")
        await expect(one.answer.locator("[data-growing]")).to_have_text("d")
        await expect(one.part("question")).to_have_attribute("dir", "auto")
        assert await one.answer.locator("p").first.evaluate("(p) => getComputedStyle(p).direction") == "rtl"
        await expect(one.part("field")).to_have_attribute("dir", "auto")
        gates[0].set()
        await one.shows("example.org/a")
        await expect(one.answer.locator("i")).to_have_attribute("title", "E=mc^2")
        await expect(one.answer.locator("a[href]")).to_have_count(0)  # the address may go on
        gates[1].set()
        await expect(one.answer.locator("a")).to_have_attribute("href", "https://example.org/abc")
        await expect(one.answer.locator("[data-growing]")).to_have_count(0)

        height = "(part) => part.getBoundingClientRect().height"
        folded: float = await one.part("question").evaluate(height)
        assert folded < 250
        await one.part("fold").click()
        assert await one.part("question").evaluate(height) > 900
        await one.part("fold").click()
        assert await one.part("question").evaluate(height) == folded
        await one.tab.page.emulate_media(media="print")
        assert await one.part("question").evaluate(height) > 900
        assert await one.host.evaluate(height) > 900
        assert await one.part("log").evaluate("(log) => log.scrollHeight - log.clientHeight") == 0
        for part in ("field", "fold", "retry", "fresh"):
            await expect(one.part(part)).to_be_hidden()
        await one.tab.page.emulate_media(media="screen", forced_colors="active")
        edge = "(part, [pseudo, side]) => getComputedStyle(part, pseudo)[side]"
        paper = await one.host.evaluate("(host) => getComputedStyle(host).backgroundColor")
        assert await one.part("send").evaluate(edge, [None, "borderTopColor"]) != paper
