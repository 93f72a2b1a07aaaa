"""The page goes on where it was: after a reload, a lost network, a restarted or a killed server."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from pathlib import Path

import pytest
from playwright.async_api import expect

from askbot_ws.testing import ScriptedUpstream, serving

from ..process import ProviderProcess, askbot
from .breakable_proxy import BreakableProxy
from .tab import IMPATIENT, SOON, Tabs

pytestmark = pytest.mark.asyncio(loop_scope="session")

# A program of somebody who uses askbot.js: what it was given, frame by frame, and whether that is what was answered.
PROGRAM = """async (question) => {
    const { connect } = await import("/askbot.js");
    const bot = connect({ random: () => 0.01 });
    const seen = { text: "", pieces: "", sessions: [], ready: 0 };
    bot.addEventListener("frame", ({ detail: frame }) => {
        if (frame.type === "token") seen.text += frame.text;
        if (frame.type === "ready") { seen.ready += 1; seen.sessions.push(frame.session); }
        if (frame.type === "done") seen.check = frame.check;
    });
    const answer = bot.ask(question);
    for await (const piece of answer) seen.pieces += piece;
    seen.turn = await answer;
    bot.close();
    return seen;
}"""

# What a screen reader says, and the states of the connection that the page has shown.
HEARD = """
    Object.assign(globalThis, { heard: [], states: [] });
    addEventListener("DOMContentLoaded", () => {
        const [announce, state] = ["announce", "state"].map((id) => document.getElementById(id));
        new MutationObserver(() => heard.push(announce.textContent)).observe(announce, { childList: true });
        new MutationObserver(() => states.push(state.dataset.state)).observe(state, { attributes: true });
    });
"""


async def test_a_reload_in_the_middle_of_an_answer_goes_on(tabs: Tabs) -> None:
    """What was written is there at once, and the rest comes, exactly once."""
    gates = [asyncio.Event(), asyncio.Event()]
    async with serving(ScriptedUpstream(["One ", gates[0], "two ", gates[1], "three."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Count!")
        await tab.shows("One")
        await tab.page.reload()
        await tab.shows("One")
        await expect(tab.last).to_have_attribute("data-status", "answering")
        gates[0].set()
        await tab.shows("One two")
        await tab.page.reload()
        gates[1].set()
        await tab.answered("One two three.")

        assert await tab.questions() == ["Count!"]
        assert tab.asked() == ["Count!"]


async def test_a_reload_before_anything_was_asked_is_no_lost_connection(tabs: Tabs) -> None:
    """The server has forgotten the empty conversation, and there is another one at once: nothing is said of it."""
    async with serving() as server:
        tab = await tabs.open(server.port, script=HEARD)
        await tab.connected()
        tab.got.clear()
        await tab.page.reload()
        await tab.connected()
        assert [frame["type"] for frame in tab.got] == ["error", "ready"]
        assert await tab.page.evaluate("heard") == []
        assert {*await tab.page.evaluate("states")} == {"connecting", "open"}
        await expect(tab.page.locator("#notice")).to_be_empty()


async def test_an_answer_is_written_on_while_nobody_is_there(tabs: Tabs) -> None:
    """A closed tab that is opened again an answer later has all of it."""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["One ", gate, "two."])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Count!")
        await tab.shows("One")
        await tab.page.goto("about:blank")
        await tab.page.close()
        gate.set()
        again = await tabs.beside(tab.page.context, server.port)
        await again.answered("One two.")


async def test_a_draft_survives_a_reload(tabs: Tabs) -> None:
    """Nothing that was typed is lost."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await tab.question.fill("Half a ques")
        await tab.page.reload()
        await expect(tab.question).to_have_value("Half a ques")


async def test_a_lost_network_costs_nothing(tabs: Tabs) -> None:
    """The page says so, and once it is back, the answer goes on from the letter where it was."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream = ScriptedUpstream(["하나 ", gates[0], "둘 ", gates[1], "셋."])
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port)
        await tab.ask("Count!")
        await tab.shows("하나")
        await tab.page.context.set_offline(offline=True)
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await expect(tab.announce).to_have_text("Connection lost, reconnecting")
        gates[0].set()
        proxy.is_down = False
        await tab.page.context.set_offline(offline=False)
        await tab.connected()
        await tab.shows("하나 둘")
        gates[1].set()
        await tab.answered("하나 둘 셋.")

        assert "".join(frame["text"] for frame in tab.got if frame["type"] == "token") == "하나 둘 셋."
        assert tab.asked() == ["Count!"]


async def test_a_question_that_is_typed_without_a_network_is_asked_later_and_once(tabs: Tabs) -> None:
    """It says that it waits; what was asked is not asked again."""
    upstream = ScriptedUpstream()
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=IMPATIENT)
        await tab.connected()
        proxy.is_down = True
        proxy.cut()
        await tab.connected("waiting")
        await tab.ask("Anybody there?")
        await expect(tab.last.locator(".badge")).to_have_text("Will be sent when the connection is back")
        proxy.is_down = False
        await tab.answered("You asked: Anybody there?")
        proxy.is_down = True  # or it may be back before anybody has looked
        proxy.cut()
        await tab.connected("waiting")
        proxy.is_down = False
        await tab.connected()
        await expect(tab.turns).to_have_count(1)
    assert len(upstream.prompts) == 1


def long_answer(count: int) -> list[str]:
    """Pieces with more bytes than sockets are cut after in all: slow ones get them in a few frames."""
    return [f"{place} 빛✨ goes on and on and on " for place in range(count)]


async def test_a_socket_that_is_cut_twenty_times_gives_the_answer_to_the_letter(tabs: Tabs) -> None:
    """docs/protocol.md, promise 1, in a real browser: over 21 sockets, cut inside frames too."""
    enough = asyncio.Event()
    pieces = long_answer(1500)
    script = [step for piece in pieces for step in (piece, 0.001)]
    upstream = ScriptedUpstream([*script, enough, "End."])
    answer = "".join(pieces) + "End."
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(server.port, "/healthz")  # no page, only the program
        await tab.page.goto(f"http://127.0.0.1:{proxy.port}/healthz")
        chance = random.Random(20)
        proxy.cut_after(chance.randrange(600, 4000) for _ in range(20))
        program = asyncio.create_task(tab.page.evaluate(PROGRAM, "Count!"))
        await proxy.was_cut(20)
        enough.set()
        seen = await asyncio.wait_for(program, 30)

    assert seen["text"] == answer
    assert seen["pieces"] == answer
    assert seen["turn"]["answer"] == answer
    assert seen["check"] == {"chars": len(answer), "sha256": hashlib.sha256(answer.encode()).hexdigest()}
    assert len(set(seen["sessions"])) == 1
    assert seen["ready"] > 2
    assert [frame for frame in tab.sent if frame["type"] == "history"] == []  # the client saw that for itself
    assert len(upstream.prompts) == 1


async def test_the_page_shows_an_answer_to_the_letter_over_a_bad_line(tabs: Tabs) -> None:
    """The same with all that the page does."""
    enough = asyncio.Event()
    pieces = long_answer(300)
    script = [step for piece in pieces for step in (piece, 0.002)]
    async with (
        serving(ScriptedUpstream([*script, enough, "End."])) as server,
        BreakableProxy.start(server.port) as proxy,
    ):
        tab = await tabs.open(proxy.port, script=IMPATIENT)
        await tab.connected()
        proxy.cut_after([1500, 900, 3000, 1200, 700])
        await tab.ask("Count!")
        await tab.shows("0 빛✨")
        proxy.cut()
        await proxy.was_cut(5)
        enough.set()
        await tab.answered("".join(pieces) + "End.")
        assert tab.asked() == ["Count!"]


async def test_a_restarted_server_has_the_conversation(tabs: Tabs, provider: ProviderProcess, tmp_path: Path) -> None:
    """The page comes back by itself, asks what was typed meanwhile, and a reload shows all of it."""
    with askbot(tmp_path, upstream=provider.url) as server:
        port = int(server.http.rpartition(":")[2])
        tab = await tabs.open(port, script=IMPATIENT)
        await tab.ask("say:Before the restart.")
        await tab.answered("Before the restart.")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    await tab.connected("waiting")
    await tab.ask("say:After the restart.")
    with askbot(tmp_path, "--port", str(port), upstream=provider.url) as server:
        await tab.connected()
        await expect(tab.turns).to_have_count(2)
        await tab.answered("After the restart.")
        await tab.page.reload()
        await expect(tab.turns).to_have_count(2)
        await tab.ended()

        assert await tab.answers() == ["Before the restart.", "After the restart."]


async def test_a_killed_server_is_said_and_survived(tabs: Tabs, provider: ProviderProcess, tmp_path: Path) -> None:
    """What was shown is still there, marked as interrupted, and can be asked again."""
    with askbot(tmp_path, upstream=provider.url) as server:
        port = int(server.http.rpartition(":")[2])
        tab = await tabs.open(port, script=IMPATIENT)
        await tab.ask("tokens:25 rate:20 note:killed")
        await expect(tab.last).to_have_attribute("data-status", "answering")
        await expect(tab.answer).not_to_be_empty()
        server.signal(signal.SIGKILL)
        await server.ended()
    shown = await tab.answer.text_content()
    with askbot(tmp_path, "--port", str(port), upstream=provider.url) as server:
        await tab.ended("interrupted")
        await expect(tab.last.locator(".badge")).to_have_text("It broke off: the server went away.")
        text = await tab.answer.text_content()
        assert shown
        assert text
        assert text.startswith(shown)
        await tab.button("Ask again").click()
        await expect(tab.last).to_have_attribute("data-reason", "stop", timeout=SOON)
        whole = await tab.answer.text_content()
        assert whole
        assert len(whole) > len(text)


async def test_a_session_that_is_gone_makes_room_for_a_new_one(tabs: Tabs) -> None:
    """The page says so, drops what it shows, and can be used at once."""
    async with serving() as server:
        tab = await tabs.open(server.port, "/?session=" + "0" * 32)
        await expect(tab.page.get_by_role("alert")).to_have_text("That conversation is gone. This is a new one.")
        await tab.connected()
        await tab.ask("Hello?")
        await tab.answered("You asked: Hello?")
        assert "0" * 32 not in tab.page.url
