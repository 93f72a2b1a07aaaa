"""What was asked and not sent, or typed, is not lost: page and element keep it, give it back, and say so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route, expect

from askbot_ws.testing import ScriptedUpstream, serving

from .breakable_proxy import BreakableProxy
from .sockets import SOCKETS
from .tab import IMPATIENT, Tab, Tabs, until
from .test_element import bot, heard, shop
from .test_list import begin, entry

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOLD = "A question was not sent yet. It is asked when its conversation is opened again."
TOLD_BY_THE_ELEMENT = "A question may not have been sent: it is in the field"


NEVER_HIDDEN = """; for (const type of ["pagehide", "visibilitychange"])
    addEventListener(type, (event) => event.stopImmediatePropagation(), true);
"""  # a browser that ends a tab on a phone tells it nothing


REFUSE = """
    globalThis.refuseAll = () => {
        const key = Object.keys(localStorage).find((each) => each.startsWith("askbot.unsent."));
        for (const { id, isDraft } of JSON.parse(localStorage[key])) {
            const data = JSON.stringify({ type: "error", code: "quota_exceeded", message: "", id, retry_after: 6500 });
            if (!isDraft) sockets.at(-1).onmessage(new MessageEvent("message", { data }));
        }
    };
"""


KEPT = "Object.keys(localStorage).filter((key) => key.startsWith('askbot.unsent'))"


async def sockets(page: Page) -> int:
    """How many were opened."""
    count: int = await page.evaluate("sockets.length")
    return count


# --- the page --------------------------------------------------------------------------------------------------------


async def test_a_question_that_a_draining_server_does_not_take_is_asked_when_one_is_back(tabs: Tabs) -> None:
    """In its conversation, which is in the list from then on; others have nothing of it, but say that it is kept."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        for before in ([], ["Zero?"]):
            tab = await tabs.open(server.port, script=SOCKETS)
            await begin(tab, *before)
            await tab.page.evaluate("drain()")
            await tab.ask("One?")
            await tab.question.fill("two")
            await expect(tab.last).to_have_attribute("data-status", "sending")
            await tab.button("New conversation").click()
            await expect(tab.turns).to_have_count(0)
            await expect(tab.question).to_have_value("")
            await expect(tab.page.get_by_role("alert")).to_have_text(TOLD)
            await entry(tab, [*before, "One?"][0]).get_by_role("link").click()
            await expect(tab.turns).to_have_count(len(before) + 1)
            await tab.answered("You asked: One?")
            await expect(tab.question).to_have_value("two")
            await expect(tab.page.locator("#notice")).to_be_empty()
    assert len(upstream.prompts) == 3


async def test_what_waits_when_a_tab_ends_is_asked_once_on_the_next_visit(tabs: Tabs) -> None:
    """By one of the tabs that are opened then; what was typed is there too. The tab is not told that it ends."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        for before in ([], ["One?"]):
            tab = await tabs.open(proxy.port, script=IMPATIENT + NEVER_HIDDEN)
            await begin(tab, *before)
            proxy.is_down = True
            proxy.cut()
            await tab.connected("waiting")
            await tab.ask("Two?")
            await tab.question.fill("three")
            query = urlsplit(tab.page.url).query
            await tab.page.close()
            proxy.is_down = False
            visits = [await tabs.beside(tab.page.context, proxy.port, f"/?{query}") for _ in "12"]
            asking = visits if before else visits[:1]  # a new conversation is the first one's own
            for visit in asking:
                await expect(visit.turns).to_have_count(len(before) + 1)
                await visit.answered("You asked: Two?")
            assert [text for visit in visits for text in visit.asked()] == ["Two?"]
            assert sorted([await visit.question.input_value() for visit in visits]) == ["", "three"]
    assert len(upstream.prompts) == 3


async def test_a_question_in_a_new_conversation_without_a_network_is_shown_again_by_a_reload(tabs: Tabs) -> None:
    """It has no session yet: the tab does not go back to the conversation before it, where nothing is seen of it."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT)
        await begin(tab, "One?")
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await tab.button("New conversation").click()
        await tab.ask("Two?")
        await expect(tab.turns).to_have_count(1)
        proxy.is_down = False
        await tab.page.reload()
        await tab.answered("You asked: Two?")
        assert await tab.questions() == ["Two?"]
    assert len(upstream.prompts) == 2


@asynccontextmanager
async def loading(tab: Tab, path: str = "/v1/identity") -> AsyncGenerator[None]:
    """Load the page anew, and run what is within before it is ready: it waits for an answer to this request."""
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await tab.page.route(f"**{path}", hold)
    async with tab.page.expect_request(f"**{path}"):
        await tab.page.reload(wait_until="commit")
    yield
    held.set()
    await tab.connected()


async def test_what_is_typed_while_the_page_is_loaded_stays(tabs: Tabs) -> None:
    """Nobody asked it yet."""
    async with serving(ScriptedUpstream()) as server:
        tab = await tabs.open(server.port)
        await tab.connected()
        async with loading(tab):
            await tab.question.fill("Typed early?")
        await expect(tab.question).to_have_value("Typed early?")
        await tab.page.locator("#send").click()
        await expect(tab.answer).to_have_text("You asked: Typed early?")


@pytest.mark.parametrize("path", ["/v1/identity", "/page/bundle.js"])
async def test_what_is_typed_while_the_page_is_loaded_outlasts_that_page(tabs: Tabs, path: str) -> None:
    """The reader loads it anew before it is ready, and that again: all that was typed is in the field, and is kept."""
    async with serving(ScriptedUpstream()) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await tab.question.fill("half of a")
        async with loading(tab, path):
            for text in "question.", "Another", "one?":
                await tab.page.evaluate("import('/page/early-text.js').then(() => null)")  # it runs before the others
                await tab.question.fill(text)
                async with tab.page.expect_request(f"**{path}"):
                    await tab.page.reload(wait_until="commit")
            await tab.question.fill("No.")
            await tab.question.fill("")
        typed = "half of a\n\nquestion.\n\nAnother\n\none?"
        await expect(tab.question).to_have_value(typed)
        await tab.page.reload()
        await expect(tab.question).to_have_value(typed)
        await tab.connected()
        assert await tab.page.evaluate("sessionStorage.getItem('askbot.early /')") is None


async def test_what_is_asked_while_the_page_is_loaded_is_asked_once_it_can_be(tabs: Tabs) -> None:
    """A draft of the conversation is left as it was, and is not asked."""
    async with serving(ScriptedUpstream()) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await tab.question.fill("half of a")
        async with loading(tab):
            await tab.ask("Asked early?")
        await tab.answered("You asked: Asked early?")
        assert await tab.questions() == ["One?", "Asked early?"]
        await expect(tab.question).to_have_value("half of a")


async def test_what_is_typed_after_an_early_question_is_not_asked(tabs: Tabs) -> None:
    """All of it stays in the field, as nobody knows any more what was meant."""
    async with serving(ScriptedUpstream()) as server:
        tab = await tabs.open(server.port)
        await tab.connected()
        async with loading(tab):
            await tab.ask("Asked early?")
            await tab.question.press_sequentially(" No")
        await expect(tab.question).to_have_value("Asked early? No")
        assert tab.asked() == []


async def test_a_question_that_the_server_had_got_is_not_given_back(tabs: Tabs) -> None:
    """Only its acknowledgement was lost: its answer is there, and what was typed after it."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server:
        tab = await tabs.open(server.port, script=SOCKETS)
        await begin(tab, "One?")
        await tab.page.evaluate("deafen()")
        await tab.ask("Two?")
        await tab.question.fill("three")
        await expect(tab.last).to_have_attribute("data-status", "sending")
        await tab.page.reload()
        await tab.answered("You asked: Two?")
        await expect(tab.question).to_have_value("three")
        await expect(tab.page.locator("#notice")).to_be_empty()
    assert len(upstream.prompts) == 2


LEAVE_AND_COME_BACK = """() => {
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    const kept = Object.keys(localStorage).filter((key) => key.startsWith("askbot.unsent"));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    return [kept.length, Object.keys(localStorage).filter((key) => key.startsWith("askbot.unsent")).length];
}"""


async def test_a_page_that_is_shown_again_without_being_loaded_keeps_no_second_question(tabs: Tabs) -> None:
    """The browser had it in its back/forward cache: its question is still its own, and is not in the field too."""
    async with shop(tabs) as place:
        one = await place.open(script=SOCKETS)
        await one.ask("One?")
        await one.answered("You asked: One?")
        tab = await tabs.open(place.port, script=SOCKETS)
        await begin(tab, "One?")
        for page in (one.tab.page, tab.page):
            await page.evaluate("drain()")
        await one.ask("Two?")
        await tab.ask("Two?")
        for page in (one.tab.page, tab.page):
            assert await page.evaluate(LEAVE_AND_COME_BACK) == [1, 1]
        await expect(one.part("field")).to_have_value("")
        await expect(tab.question).to_have_value("")


async def test_what_is_refused_is_back_where_it_was_typed(tabs: Tabs) -> None:
    """A question in its field, before what was typed there meanwhile; an edit in its form."""
    async with serving() as server:
        tab = await tabs.open(server.port, script=SOCKETS + REFUSE)
        await begin(tab, "One?")
        await tab.page.evaluate("drain()")
        await tab.button("Edit the question").click()
        form = tab.page.locator("form.edit textarea")
        await form.fill("One, please?")
        await form.press("Enter")
        await expect(form).to_have_count(0)
        await tab.ask("Two?")
        await tab.question.fill("next")
        await tab.page.evaluate("refuseAll()")
        await expect(tab.page.get_by_role("alert")).to_have_text("The quota is used up. Try again in 7 s.")
        await expect(form).to_have_value("One, please?")
        await expect(form).to_be_focused()
        await expect(tab.question).to_have_value("Two?\n\nnext")


async def test_what_is_too_long_is_kept_counted_and_not_sent(tabs: Tabs) -> None:
    """A paste of 100 KB, in the field and in the form of an edit, over a reload too."""
    text = "🌤" * 100_000
    async with serving() as server:
        tab = await tabs.open(server.port, permissions=["clipboard-read", "clipboard-write"])
        await tab.ask("One?")
        await tab.answered("You asked: One?")
        await tab.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
        await tab.button("Edit the question").click()
        form = tab.page.locator("form.edit")
        for field, note in (
            (form.locator("textarea"), form.locator(".length")),
            (tab.question, tab.page.locator("#length")),
        ):
            await field.fill("")
            await field.press("Control+V")
            await expect(note).to_have_text(re.compile("^Too long: 100,000 characters, 8,000 are possible"))
            await field.press("Enter")
        await tab.page.reload()
        await tab.connected()
        assert await form.locator("textarea").input_value() == text
        await expect(tab.question).to_have_value(text)
        await expect(tab.button("Send")).to_be_disabled()
        await tab.question.fill("x" * 8000)
        await expect(tab.page.locator("#length")).to_have_text("8,000 of 8,000 characters")
        await expect(tab.button("Send")).to_be_enabled()
        assert [frame["type"] for frame in tab.sent if frame["type"] != "ping"] == ["ask"]


async def test_an_edit_that_is_open_or_offline_survives_the_page(tabs: Tabs) -> None:
    """Its form is open again in its conversation; one that was sent, and not acknowledged, is asked again."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT + NEVER_HIDDEN)
        await begin(tab, "One?")
        await tab.button("Edit the question").click()
        form = tab.page.locator("form.edit textarea")
        await form.fill("Two?")
        await tab.button("New conversation").click()
        await expect(form).to_have_count(0)
        await entry(tab, "One?").get_by_role("link").click()
        await expect(form).to_have_value("Two?")
        await tab.page.reload()
        await expect(form).to_have_value("Two?")
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await form.press("Enter")
        await expect(form).to_have_count(0)
        proxy.is_down = False
        await tab.page.reload()
        await tab.answered("You asked: Two?")
        await expect(tab.turns).to_have_count(1)
        await expect(form).to_have_count(0)

        await tab.button("Edit the question").click()
        await form.fill("Three?")
        other = await tabs.beside(tab.page.context, proxy.port, f"/?{urlsplit(tab.page.url).query}")
        await other.button("Ask again").click()  # the turn that is edited is gone
        await expect(form).to_have_count(0)
        await expect(tab.question).to_have_value("Three?")
    assert len(upstream.prompts) == 3


async def test_what_is_typed_outlasts_its_conversation(tabs: Tabs) -> None:
    """It is in the field after a reload too, where the server has not got the conversation any more."""
    async with serving() as server:
        tab = await tabs.open(server.port, script=SOCKETS)
        await begin(tab, "One?")
        await tab.question.fill("two")
        await tab.page.evaluate("sockets.at(-1).onclose(new CloseEvent('close', { code: 4404 }))")
        await expect(tab.turns).to_have_count(0)
        await tab.connected()
        await expect(tab.page).to_have_url(re.compile("/$"))
        await tab.page.reload()
        await expect(tab.question).to_have_value("two")


async def test_what_is_typed_is_its_tabs_own_as_long_as_that_lives(tabs: Tabs) -> None:
    """Another tab has its own, and neither loses its own by a reload; a tab that comes later has it."""
    async with serving() as server:
        one = await tabs.open(server.port)
        await begin(one, "One?")
        await begin(one)
        await one.question.fill("more of one")
        two = await tabs.beside(one.page.context, server.port)
        await begin(two)
        await expect(two.question).to_have_value("")
        await two.question.fill("more of two")
        for tab, text in ((one, "more of one"), (two, "more of two")):
            await tab.page.reload()
            await tab.connected()
            await expect(tab.question).to_have_value(text)
        await one.page.close()
        three = await tabs.beside(one.page.context, server.port)
        await begin(three)
        await expect(three.question).to_have_value("more of one")


async def test_servers_under_two_paths_of_one_host_share_nothing(tabs: Tabs) -> None:
    """Their conversations are not the same ones."""
    async with serving() as server:
        tab = await tabs.open(server.port, "/healthz")
        await tab.page.route(
            re.compile("/[ab]/"), lambda route: route.continue_(url=re.sub("/[ab]/", "/", route.request.url))
        )
        await tab.page.goto(f"http://127.0.0.1:{server.port}/a/")
        await tab.question.fill("of a")
        await tab.page.goto(f"http://127.0.0.1:{server.port}/b/")
        await tab.connected("waiting")
        await expect(tab.question).to_have_value("")
        await tab.page.goto(f"http://127.0.0.1:{server.port}/a/")
        await expect(tab.question).to_have_value("of a")
        assert await tab.page.evaluate("Object.keys(sessionStorage)") == ["askbot/a.unsent owner"]


async def test_a_token_is_in_no_link_and_not_in_the_address(tabs: Tabs) -> None:
    """It is sent all the same, after a reload and in another conversation too."""
    async with serving() as server:
        tab = await tabs.open(server.port, "/#token=secret", script=SOCKETS)
        await begin(tab, "One?")
        session = await tab.page.evaluate("new URL(location).searchParams.get('session')")
        address = f"http://127.0.0.1:{server.port}/?session={session}"
        assert tab.page.url == address
        assert await entry(tab, "One?").get_by_role("link").get_attribute("href") == address
        await tab.page.reload()
        await begin(tab, "Two?")
        offered = await tab.page.evaluate("offered")
        assert offered
        assert all(protocols == ["askbot.v1", "askbot.bearer.secret"] for protocols in offered)
        await tab.page.evaluate("location.hash = 'token=other'")
        await expect(tab.turns).to_have_count(1)
        assert "other" not in tab.page.url
        assert (await tab.page.evaluate("offered"))[-1] == ["askbot.v1", "askbot.bearer.other"]


# --- the element -----------------------------------------------------------------------------------------------------


async def test_the_element_gives_back_what_a_draining_server_does_not_take(tabs: Tabs) -> None:
    """Before it begins a new conversation, or goes to another one."""
    async with shop(tabs) as place, serving(origins=place.place.origin) as second:
        other = await place.open()
        await other.ask("Elsewhere?")
        await other.answered("You asked: Elsewhere?")
        session = await other.host.evaluate("(bot) => bot.chat.session")
        ways = [
            "bot.fresh()",
            f"bot.setAttribute('session', '{session}')",
            f"bot.setAttribute('server', 'http://127.0.0.1:{second.port}')",
            "bot.setAttribute('name', 'other')",
        ]
        for way in ways:
            one = await place.open(script=SOCKETS)
            await one.ask("One?")
            await one.answered("You asked: One?")
            await one.tab.page.evaluate("drain()")
            await one.ask("Two?")
            await one.part("field").fill("three")
            await one.host.evaluate(f"(bot) => {way}")
            await expect(one.part("field")).to_have_value("Two?\n\nthree")
            await expect(one.part("status")).to_have_text(TOLD_BY_THE_ELEMENT)
            await expect(one.part("question").filter(has_text="One?")).to_have_count(0)
            await one.part("field").press("Enter")
            await one.answered("You asked: Two?three")  # the line breaks are elements
            await expect(one.part("status")).to_have_text("The answer is complete")


async def test_the_element_asks_what_waited_on_the_next_visit_once(tabs: Tabs) -> None:
    """One of the tabs that are opened then asks it, one has what was typed. The tab is not told that it ends."""
    upstream = ScriptedUpstream()
    async with shop(tabs, upstream) as place:
        one = await place.open(script=SOCKETS + NEVER_HIDDEN)
        await one.ask("One?")
        await one.answered("You asked: One?")
        await one.tab.page.evaluate("drain()")
        await one.ask("Two?")
        await one.part("field").fill("three")
        context = one.tab.page.context
        await one.tab.page.close()
        others = [bot(await tabs.beside(context, place.place.port)) for _ in range(2)]
        for other in others:
            await other.answered("You asked: Two?")
        assert sorted([await other.part("field").input_value() for other in others]) == ["", "three"]
        assert [text for other in others for text in other.tab.asked()] == ["Two?"]

        await others[1].tab.page.close()
        one = others[0]
        await one.tab.page.evaluate("deafen()")
        await one.ask("Four?")
        await one.tab.page.wait_for_timeout(100)
        await one.tab.page.reload()
        await one.answered("You asked: Four?")
        await expect(one.part("field")).to_have_value("")
        await expect(one.part("status")).to_have_text("The answer is complete")
        assert await one.tab.page.evaluate(KEPT) == []
    assert [prompt.messages[-1].text for prompt in upstream.prompts] == ["One?", "Two?", "Four?"]


async def test_an_element_that_is_taken_away_asks_its_question_when_it_is_back_or_another_is_there(tabs: Tabs) -> None:
    """What is typed is in its field, or in the other's."""
    ways = [
        "async (bot) => { const { parentNode } = bot; bot.remove(); await 0; parentNode.append(bot); }",
        "async (bot) => { bot.remove(); await 0; document.body.append(document.createElement('ask-bot')); }",
    ]
    upstream = ScriptedUpstream()
    async with shop(tabs, upstream) as place:
        one = await place.open(script=SOCKETS)
        for count, way in enumerate(ways, start=1):
            await until(one.tab.page, "document.querySelector('ask-bot').chat.state === 'open'")
            await one.tab.page.evaluate("drain()")
            await one.ask(f"{count}?")
            await one.part("field").fill("typed")
            await one.host.evaluate(way)
            await one.answered(f"You asked: {count}?")
            await expect(one.part("field")).to_have_value("typed")
    assert len(upstream.prompts) == 2


async def test_a_new_token_tears_nothing_down_and_connects_again_where_the_old_one_was_refused(tabs: Tabs) -> None:
    """What was asked under the old one is in the field."""
    gate = asyncio.Event()
    async with shop(tabs, ScriptedUpstream(["One ", gate, "two."])) as place:
        one = await place.open('<ask-bot token="old"></ask-bot>', script=SOCKETS)
        await one.ask("Count!")
        await one.shows("One")
        await one.host.evaluate("(bot) => bot.setAttribute('token', 'new')")
        gate.set()
        await one.answered("One two.")
        assert await sockets(one.tab.page) == 1

        await one.tab.page.evaluate("drain()")
        await one.ask("Two?")
        await one.part("field").fill("three")
        await one.tab.page.evaluate("globalThis.isRefused = true; refuse()")
        await expect(one.part("field")).to_have_value("Two?\n\nthree")
        await expect(one.part("status")).to_have_text("Not signed in")
        await one.host.evaluate("(bot) => (globalThis.isRefused = false, bot.setAttribute('token', 'newest'))")
        await one.part("field").fill("Four?")
        await one.part("field").press("Enter")
        await one.answered("You asked: Four?")
        assert await one.tab.page.evaluate("offered.at(-1)") == ["askbot.v1", "askbot.bearer.newest"]


async def test_a_token_that_comes_while_the_old_one_is_refused_connects_again(tabs: Tabs) -> None:
    """The refusal is of a token that it has no more: nobody is told, and what was asked is asked with the other."""
    async with shop(tabs) as place:
        one = await place.open('<ask-bot token="old"></ask-bot>', script=SOCKETS)
        await expect(one.part("status")).to_have_text("")
        renew = """async (bot) => {
            bot.setAttribute("name", "other");
            bot.ask("One?").catch(() => {});
            while (sockets.length < 2) await null;
            bot.setAttribute("token", "new");
            refuse();
        }"""
        await one.host.evaluate(renew)
        await one.answered("You asked: One?")
        assert await one.tab.page.evaluate("offered.at(-1)") == ["askbot.v1", "askbot.bearer.new"]
        assert await heard(one) == [["askbot-done", "You asked: One?", "ask-bot"]]


async def test_an_error_is_shown_no_longer_than_its_conversation(tabs: Tabs) -> None:
    """In words, in the reader's language."""
    ways = ["bot.setAttribute('name', 'other')", "bot.fresh()"]
    async with shop(tabs) as place:
        for way in ways:
            one = await place.open('<ask-bot lang="ko"></ask-bot>')
            await one.host.evaluate("(bot) => bot.ask('x'.repeat(9000)).catch(() => {})")
            await expect(one.part("status")).to_contain_text("8000")
            await one.host.evaluate("(bot) => bot.ask('\\ud83d').catch(() => {})")
            await expect(one.part("status")).to_contain_text("half an emoji")
            await one.host.evaluate("(bot) => { bot.ask('?'.repeat(2 ** 20)).catch(() => {}); }")
            await expect(one.part("status")).to_have_text("질문이 너무 깁니다")
            await one.part("field").fill("")
            await one.host.evaluate(f"(bot) => {{ {way}; }}")
            await expect(one.part("status")).to_have_text("")


async def test_what_is_asked_after_a_refusal_is_told_again(tabs: Tabs) -> None:
    """It is in the field each time."""
    async with shop(tabs) as place:
        one = await place.open('<ask-bot token="old"></ask-bot>', script=f"{SOCKETS}; globalThis.isRefused = true;")
        for _ in range(2):
            await expect(one.part("status")).to_have_text("Not signed in")
            await one.ask("One?")
            await expect(one.part("field")).to_have_value("One?")


async def test_an_element_in_another_document_looks_the_same_and_keeps_its_question(tabs: Tabs) -> None:
    """It is moved into a frame while its question waits, and back."""
    async with shop(tabs) as place:
        one = await place.open("<ask-bot></ask-bot><iframe></iframe>", script=SOCKETS)
        await expect(one.part("status")).to_have_text("")
        await one.tab.page.evaluate("drain()")
        await one.ask("One?")
        await one.host.evaluate("(bot) => { globalThis.moved = bot; }")
        for target in ("document.querySelector('iframe').contentDocument.body", "document.body"):
            await one.tab.page.evaluate(f"{target}.append(moved)")
            look = "moved.ownerDocument.defaultView.getComputedStyle(moved).display"
            assert await one.tab.page.evaluate(f"[{look}, moved.chat.pending().length]") == ["flex", 1]
        assert await sockets(one.tab.page) == 1


async def test_what_an_element_keeps_moves_with_it_to_another_name(tabs: Tabs) -> None:
    """It is taken away, and comes back under another name: the question is in its field, and nowhere else."""
    async with shop(tabs) as place:
        one = await place.open(script=SOCKETS)
        await expect(one.part("status")).to_have_text("")
        await one.tab.page.evaluate("drain()")
        await one.ask("One?")
        back = """async (bot) => {
            const { parentNode } = bot;
            bot.remove();
            await 0;
            bot.setAttribute("name", "other");
            parentNode.append(bot);
        }"""
        await one.host.evaluate(back)
        await expect(one.part("field")).to_have_value("One?")
        keys: list[str] = await one.tab.page.evaluate(KEPT)
        assert [key.split(" ")[-1] for key in keys] == ["other"]


async def test_attributes_that_say_nothing_new_change_nothing(tabs: Tabs) -> None:
    """Its own session, no session, an id beside a name, the same server in other words."""
    async with shop(tabs) as place:
        one = await place.open('<ask-bot name="shop"></ask-bot>', script=SOCKETS)
        await one.ask("One?")
        await one.answered("You asked: One?")
        for way in (
            "setAttribute('session', bot.chat.session)",
            "removeAttribute('session')",
            "setAttribute('id', 'other')",
            f"setAttribute('server', 'http://127.0.0.1:{place.port}')",
            "setAttribute('placeholder', 'Well?')",
        ):
            await one.host.evaluate(f"(bot) => bot.{way}")
        await one.ask("Two?")
        await one.answered("You asked: Two?")
        assert await sockets(one.tab.page) == 1


async def test_an_element_is_known_by_its_name_wherever_it_stands(tabs: Tabs) -> None:
    """Its `name`, else its `id`; in a shadow root too. One that is put before it takes nothing from it."""
    async with shop(tabs) as place:
        root = """<div></div><script>
            const root = document.querySelector("div").attachShadow({ mode: "open" });
            root.innerHTML = '<ask-bot name="deep"></ask-bot>';
        </script>"""
        one = await place.open(f"<ask-bot></ask-bot>{root}")
        page = one.tab.page
        await one.ask("One?")
        await one.answered("You asked: One?")
        deep = bot(one.tab, 1)
        await deep.ask("Deep?")
        await deep.answered("You asked: Deep?")
        place.place.pages["/"] = place.place.pages["/"].replace("<h1>", '<ask-bot id="first"></ask-bot><h1>')
        await page.reload()
        first, one, deep = (bot(one.tab, at) for at in range(3))
        await one.answered("You asked: One?")
        await deep.answered("You asked: Deep?")
        await expect(first.part("turn")).to_have_count(0)
        await first.ask("First?")
        await first.answered("You asked: First?")
        place.place.pages["/"] = place.place.pages["/"].replace("<ask-bot></ask-bot>", "")
        await page.reload()
        await first.answered("You asked: First?")
        await bot(one.tab, 1).answered("You asked: Deep?")
