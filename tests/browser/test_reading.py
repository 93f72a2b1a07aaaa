"""What a reader sees beside the text itself: direction, folds, the cursor, paper, other colours, the tab's title."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from askbot_ws.testing import ScriptedUpstream, Step, serving

from .breakable_proxy import BreakableProxy
from .tab import IMPATIENT, Tab, Tabs
from .test_access import PHONE
from .test_list import begin

pytestmark = pytest.mark.asyncio(loop_scope="session")

DIRECTIONS = "(all) => all.map((each) => getComputedStyle(each).direction)"
CURSORS = """() => [...document.querySelectorAll(".answer, .answer *")]
    .filter((each) => getComputedStyle(each, "::after").content === '""').map(({ localName }) => localName)"""


async def directions(tab: Tab, selector: str) -> list[str]:
    """Of the elements that the page has for this."""
    found: list[str] = await tab.page.locator(selector).evaluate_all(DIRECTIONS)
    return found


async def test_each_block_has_the_direction_of_its_own_text(tabs: Tabs) -> None:
    """So have the question and the fields; code is always written from the left."""
    arabic = "مرحبا"
    answer = (
        f"One.\n\n{arabic}\n\n- {arabic}\n- two\n\n> {arabic}\n\n| a | {arabic} |\n|---|---|\n| {arabic} | b |\n\n"
        f"```\n{arabic}\n```\n\n## {arabic}\n"
    )
    async with serving(ScriptedUpstream([answer])) as server:
        tab = await tabs.open(server.port)
        await tab.question.fill(arabic)
        assert await directions(tab, "#question") == ["rtl"]
        await tab.question.press("Enter")
        await tab.ended()
        assert await directions(tab, ".question") == ["rtl"]
        assert await directions(tab, ".answer > p") == ["ltr", "rtl"]
        assert await directions(tab, ".answer li") == ["rtl", "ltr"]
        assert await directions(tab, ".answer :is(blockquote p, h3, h4)") == ["rtl", "rtl"]
        assert await directions(tab, ".answer :is(th, td)") == ["ltr", "rtl", "rtl", "ltr"]
        assert await directions(tab, ".answer pre code") == ["ltr"]
        await tab.button("Edit the question").click()
        assert await directions(tab, "form.edit textarea") == ["rtl"]


async def test_the_cursor_is_in_the_block_that_grows_whatever_that_is(tabs: Tabs) -> None:
    """And nowhere else; once the answer has ended, there is none."""
    blocks = {
        "One": "p",
        "\n\n- two": "li",
        "\n  - three": "li",
        "\n\n> four": "p",
        "\n\n```js\nfive": "span",
        "\n```\n\n| six | a |\n|---|---|\n| seven": "td",
        "\n\n## eight": "h3",
    }
    gates = [asyncio.Event() for _ in blocks]
    script: list[Step] = [step for text, gate in zip(blocks, gates, strict=True) for step in (text, gate)]
    async with serving(ScriptedUpstream(script)) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Blocks?")
        for (text, name), gate in zip(blocks.items(), gates, strict=True):
            await tab.shows(text.split()[-1])
            found = await tab.page.evaluate(CURSORS)
            assert [each.replace("h4", "h3") for each in found] == [name], text
            gate.set()
        await tab.ended()
        assert await tab.page.evaluate(CURSORS) == []


async def test_a_long_question_is_folded_and_code_is_shown_as_code(tabs: Tabs) -> None:
    """After eight lines, until the reader unfolds it; it is copied and read aloud whole."""
    log = "\n".join(f"ERROR worker[{place}]: retry(by={{peer}});" for place in range(60))
    async with serving(ScriptedUpstream()) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "Short?", log)
        question = tab.last.locator(".question")
        style: dict[str, Any] = await question.evaluate(
            """(each) => {
                const { fontFamily: family, lineHeight } = getComputedStyle(each);
                return { family, lines: each.clientHeight / parseFloat(lineHeight) };
            }"""
        )
        assert "mono" in style["family"].lower()
        assert 7.5 < style["lines"] < 8.5
        assert await question.text_content() == log
        fold = tab.last.locator("[data-do=fold]")
        await expect(fold).to_have_text("Show all 60 lines")
        await fold.click()
        await expect(fold).to_have_attribute("aria-expanded", "true")
        assert await question.evaluate("({ clientHeight, scrollHeight }) => scrollHeight - clientHeight") == 0
        await expect(tab.turns.first.locator("[data-do=fold]")).to_be_hidden()


async def test_a_conversation_prints_as_a_document(tabs: Tabs) -> None:
    """With its title, all turns, whole code and where links lead; without what one clicks, and dark on light."""
    code = "x" * 400
    first = f"See [this](https://example.org/a).\n\n```\n{code}\n```\n" + "\n\nMore." * 40
    answers = [first, "Two.", "Three.", "Four."]
    async with serving(ScriptedUpstream(*[[answer] for answer in answers])) as server:
        tab = await tabs.open(server.port, color_scheme="dark")
        await begin(tab, "One?", "Two?", "Three?", "Four?")
        await tab.page.emulate_media(media="print")
        shown: dict[str, Any] = await tab.page.evaluate(
            """() => {
                const style = (selector, pseudo) => getComputedStyle(document.querySelector(selector), pseudo);
                const code = document.querySelector(".answer pre");
                return {
                    title: style("#turns", "::before").content,
                    link: style(".answer a", "::after").content,
                    visibility: style("article").contentVisibility,
                    isCut: code.scrollWidth > code.clientWidth,
                    colors: [style("body").color, style("html").backgroundColor],
                };
            }"""
        )
        for hidden in ("header", "footer", "#list", ".tools >> nth=0", "[data-do=copy-code]"):
            await expect(tab.page.locator(hidden)).to_be_hidden()
    assert shown == {
        "title": '"One?"',
        "link": '" (https://example.org/a)"',
        "visibility": "visible",
        "isCut": False,
        "colors": ["rgb(0, 0, 0)", "rgb(255, 255, 255)"],
    }


async def test_the_cursor_and_the_marks_are_seen_in_colours_that_the_reader_has_chosen(tabs: Tabs) -> None:
    """What is drawn by a background would be gone."""
    async with serving(ScriptedUpstream(["One", asyncio.Event()])) as server:
        tab = await tabs.open(server.port, forced_colors="active")
        await tab.ask("One?")
        await tab.shows("One")
        seen = "([each, pseudo]) => getComputedStyle(document.querySelector(each), pseudo).backgroundColor"
        canvas = await tab.page.evaluate(seen, ["body", None])
        for place in (["#state i", None], ["article", "::after"], ["[data-growing]", "::after"]):
            assert await tab.page.evaluate(seen, place) not in (canvas, "rgba(0, 0, 0, 0)"), place


async def test_the_tabs_title_says_that_an_answer_is_complete_until_one_looks(tabs: Tabs) -> None:
    """Only where nobody has seen it."""
    hide = """(isHidden) => {
        Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    gate = asyncio.Event()
    async with serving(ScriptedUpstream(["One."], ["Two", gate, "."])) as server:
        tab = await tabs.open(server.port)
        await begin(tab, "One?")
        await expect(tab.page).to_have_title("One? · Askbot")
        await tab.ask("Two?")
        await tab.page.evaluate(hide, arg=True)
        await expect(tab.page).to_have_title("One? · Askbot")
        gate.set()
        await expect(tab.page).to_have_title("✓ Answered: One? · Askbot")
        await tab.page.evaluate(hide, arg=False)
        await expect(tab.page).to_have_title("One? · Askbot")


async def test_being_offline_is_said_in_words_and_can_be_tried_now(tabs: Tabs) -> None:
    """Since when, why, how often it was tried, and when it is next; what waits in line says so, too."""
    gate = asyncio.Event()
    script = IMPATIENT + "; Math.random = () => 0.9"
    upstream = ScriptedUpstream([gate, "One."], ["Two."])
    async with serving(upstream) as server, BreakableProxy.start(server.port) as proxy:
        tab = await tabs.open(proxy.port, script=script)
        await tab.ask("One?")
        await tab.ask("Two?")
        await expect(tab.turns).to_have_count(2)
        await expect(tab.last.locator(".wait")).to_have_text("Next in line")
        await expect(tab.turns.first.locator(".wait")).to_contain_text("Waiting…")
        proxy.is_down = True
        proxy.cut()
        offline = tab.page.locator("#offline")
        await expect(offline).to_contain_text("Offline since ")
        await expect(offline).to_contain_text("tries so far.")
        await expect(offline).to_contain_text("The server cannot be reached.")
        await tab.page.evaluate("Math.random = () => 1e6")  # the next try is far off
        await tab.button("Try now").click()
        await expect(offline).to_contain_text("Next try in ")
        proxy.is_down = False
        gate.set()
        await tab.button("Try now").click()
        await tab.answered("Two.")
        await expect(offline).to_be_hidden()
        await expect(tab.question).to_be_focused()


async def test_a_sites_module_draws_the_formulas(tabs: Tabs, tmp_path: Path) -> None:
    """It is loaded before the first answer is drawn; where it fails, the page does without."""
    module = tmp_path / "math.js"
    for text, drawn in (
        ("export const renderMath = (tex) => Object.assign(document.createElement('i'), { textContent: tex });", 1),
        ("throw new Error('No.');", 0),
    ):
        module.write_text(text)
        async with serving(ScriptedUpstream([r"So \(E=mc^2\)."]), page_module=module) as server:
            tab = await tabs.open(server.port)
            await tab.ask("Why?")
            await tab.ended()
            await expect(tab.answer.locator("i")).to_have_count(drawn)
            await expect(tab.answer).to_contain_text("E=mc^2")


async def test_on_a_touch_screen_enter_breaks_the_line_and_the_button_sends(tabs: Tabs) -> None:
    """Its keyboard has no Shift+Enter; in an edit too."""
    async with serving() as server:
        tab = await tabs.open(server.port, **PHONE)
        await tab.question.focus()
        await tab.page.keyboard.type("One")
        await tab.page.keyboard.press("Enter")
        await tab.page.keyboard.type("two")
        await tab.button("Send").tap()
        await tab.ended()
        assert await tab.questions() == ["One\ntwo"]
        await tab.button("Edit the question").tap()
        await tab.page.keyboard.press("Enter")
        await tab.page.keyboard.type("three")
        await tab.button("Ask this instead").tap()
        await expect(tab.last.locator(".question")).to_have_text("One\ntwo\nthree")
        await tab.ended()
