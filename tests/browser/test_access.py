"""Everybody can use it: by keyboard, by ear, on a phone, in the dark."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from askbot_ws.errors import UpstreamUnavailable
from askbot_ws.testing import ScriptedUpstream, serving

from .tab import Tab, Tabs, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


# --- by keyboard -----------------------------------------------------------------------------------------------------


async def names_in_tab_order(tab: Tab, start: str = "question") -> list[str]:
    """What Tab reaches, once around."""
    await tab.page.locator(f"#{start}").focus()
    names: list[str] = []
    for _ in range(40):
        focused: str = await tab.page.evaluate(
            """() => {
                const { id, dataset, localName } = document.activeElement;
                return document.activeElement === document.body ? "" : dataset.do ?? (id || localName);
            }"""
        )
        if focused in names and focused == start:
            break
        names.append(focused)
        await tab.page.keyboard.press("Tab")
    return [name for name in names if name]


async def test_the_keyboard_reaches_everything(tabs: Tabs) -> None:
    """In the order in which it is seen, and what has the focus shows it."""
    script = ["See [this](https://example.org/):\n\n```js\nlet x;\n```\n"]
    async with serving(ScriptedUpstream(script, ["One", asyncio.Event()])) as server:
        tab = await tabs.open(server.port)
        await tab.ask("One?")
        await tab.ended()
        await tab.ask("Two?")
        await tab.shows("One")
        await tab.question.fill("next")

        order = await names_in_tab_order(tab)
        turn = ["a", "copy-code", "pre", "copy", "retry", "edit", "branch", "summary"]
        assert order == ["question", "send", "search", "a", "more", "new", *turn]

        await tab.question.fill("")
        await tab.page.locator("#stop").focus()
        await tab.page.keyboard.press("Shift+Tab")
        await tab.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert await tab.page.evaluate(style) == "solid"
        await tab.page.keyboard.press("Enter")
        await tab.ended("cancelled")


async def test_a_conversation_needs_no_mouse(tabs: Tabs) -> None:
    """The field has the focus from the start; asking, asking again, editing and beginning anew are a key away."""
    async with serving() as server:
        tab = await tabs.open(server.port)
        await expect(tab.question).to_be_focused()
        keyboard = tab.page.keyboard
        await keyboard.type("One?")
        await keyboard.press("Enter")
        await tab.answered("You asked: One?")
        await expect(tab.question).to_be_focused()

        await tab.button("Edit the question").focus()
        await keyboard.press("Enter")
        await keyboard.press("Control+A")
        await keyboard.type("Two?")
        await keyboard.press("Enter")
        await expect(tab.answer).to_have_text("You asked: Two?")
        await expect(tab.question).to_be_focused()

        await tab.button("New conversation").focus()
        await keyboard.press("Space")
        await expect(tab.turns).to_have_count(0)
        await keyboard.type("Three?")
        await keyboard.press("Enter")
        await tab.answered("You asked: Three?")


# --- by ear ----------------------------------------------------------------------------------------------------------


async def test_a_screen_reader_is_told_what_everything_is(tabs: Tabs) -> None:
    """Roles and names, and nothing that is only decoration."""
    async with serving(ScriptedUpstream(["Paris."], ["One", asyncio.Event()], model="map-1")) as server:
        tab = await tabs.open(server.port)
        await expect(tab.page.locator("body")).to_match_aria_snapshot("""
            - navigation "Conversations":
              - heading "Conversations" [level=2]
              - searchbox "Search in titles and texts"
              - list
              - paragraph: What you ask is listed here, in this browser only.
            - banner:
              - heading "Askbot" [level=1]
              - paragraph: map-1
              - paragraph: Connected
              - button "New conversation"
            - main:
              - region "Conversation"
              - heading "Ask something." [level=2]
              - paragraph
              - list:
                - listitem:
                  - button "What is the capital of France?"
                - listitem:
                  - button "Why is the sky blue?"
                - listitem:
                  - button "Write a short poem about the sea."
            - contentinfo:
              - textbox "Your question"
              - button "Send" [disabled]
              - paragraph
              - status
        """)
        await tab.ask("The capital of France?")
        await tab.answered("Paris.")
        await expect(tab.last).to_match_aria_snapshot("""
            - heading "The capital of France?" [level=2]
            - paragraph: Paris.
            - button "Copy the answer"
            - button "Ask again"
            - button "Edit the question"
            - button "Branch from here"
            - group
        """)
        await tab.ask("And then?")
        await expect(tab.button("Stop the answer")).to_be_visible()
        await expect(tab.last).to_have_attribute("aria-busy", "true")
        assert (
            await tab.page.locator("button:not([aria-label])").evaluate_all(
                "(all) => all.filter((one) => !one.textContent.trim()).length"
            )
            == 0
        )


async def test_a_screen_reader_is_told_the_state_and_not_each_token(tabs: Tabs) -> None:
    """The answer is no live region: it is read when one goes there."""
    script = [step for place in range(100) for step in (f"word{place} ", 0.002)]
    async with serving(ScriptedUpstream(script, [UpstreamUnavailable()])) as server:
        tab = await tabs.open(server.port)
        await tab.connected()
        await tab.page.evaluate(
            """() => {
                const announce = document.querySelector("#announce");
                globalThis.said = [];
                const options = { childList: true, characterData: true, subtree: true };
                new MutationObserver(() => said.push(announce.textContent)).observe(announce, options);
            }"""
        )
        await tab.ask("Much?")
        await tab.ended()
        await tab.ask("More?")
        await tab.ended("error")

        said = await tab.page.evaluate("said")
        assert said == [
            "Waiting for the answer",
            "The answer is complete",
            "Waiting for the answer",
            "The model cannot be reached.",
        ]
        live = tab.page.locator("[aria-live], [role=status], [role=alert], [role=log]")
        regions: list[str] = await live.evaluate_all("(all) => all.map(({ id }) => id)")
        assert regions == ["sign-in-error", "notice", "undo", "announce"]


# --- by sight --------------------------------------------------------------------------------------------------------

WIDE = """\
A-very-long-word-{word}

| {cells} |
| {marks} |
| {cells} |

```
{line}
```

- {word}

https://example.org/{word}
""".format(word="x" * 200, cells=" | ".join(["column"] * 20), marks=" | ".join(["---"] * 20), line="code " * 60)


async def test_text_of_twice_its_size_fits_and_a_formula_stays_in_one_line(tabs: Tabs) -> None:
    """Where there is room for it in one; the header's longest label gives way."""
    answer = r"Of the light that one sees, blue is at \(450\mathrm{nm}\), and red is at \(700\mathrm{nm}\)."
    async with serving(ScriptedUpstream([answer])) as server:
        tab = await tabs.open(server.port, viewport={"width": 768, "height": 800})
        await tab.ask("Where?")
        await tab.ended()
        await tab.page.evaluate("document.documentElement.style.fontSize = '200%'")
        overflow: int = await tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0
        lines = """(width) => {
            document.body.style.width = `${width}px`;
            return formulas.map((each) => each.getClientRects().length);
        }"""
        await tab.page.evaluate("globalThis.formulas = [...document.querySelectorAll('code.math')]")
        for width in range(320, 768, 32):
            assert await tab.page.evaluate(lines, width) == [1, 1], width


async def test_a_phone_scrolls_in_one_direction(tabs: Tabs) -> None:
    """However wide an answer is; what is too wide scrolls by itself, and everything can be touched."""
    async with serving(
        ScriptedUpstream([WIDE], ["One", asyncio.Event()], model="a-model-with-a-very-long-name-" * 3)
    ) as server:
        tab = await tabs.open(server.port, **PHONE)
        widths = "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth, visualViewport.width]"
        await expect(tab.page.locator("#empty")).to_be_visible()
        assert set(await tab.page.evaluate(widths)) == {360}
        await tab.ask("w" * 300)
        await tab.ended()
        await tab.ask("next")
        await tab.shows("One")
        assert set(await tab.page.evaluate(widths)) == {360}

        size = await tab.question.evaluate("(field) => Number.parseFloat(getComputedStyle(field).fontSize)")
        assert size >= 16  # or iPhones zoom in
        for button in ("#stop", "#send", "#new", "#menu"):
            await tab.question.fill("" if button == "#stop" else "x")
            box = await tab.page.locator(button).bounding_box()
            assert box
            assert min(box["width"], box["height"]) >= 24  # WCAG 2.5.8
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
        await tab.question.fill("")
        await tab.stop.tap()
        await tab.ended("cancelled")


CONTRAST = """(selectors) => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const under = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour[3] !== 0) return colour;
        }
    };
    return selectors.map((selector) => {
        const element = document.querySelector(selector);
        const [one, two] = [light(parse(getComputedStyle(element).color)), light(under(element))].sort((a, b) => b - a);
        return [selector, (one + 0.05) / (two + 0.05)];
    });
}"""
TEXTS = ["#question", ".question", ".answer p", ".answer code", ".answer a", ".meta", ".badge", "figcaption", "#hint"]


async def test_the_dark_scheme_is_dark_and_both_can_be_read(tabs: Tabs) -> None:
    """By the system's setting; all text has the contrast that WCAG asks for."""
    answer = "See [this](https://example.org/) and `that`:\n\n```js\nlet x;\n```\n"
    paper: dict[str, int] = {}
    async with serving(ScriptedUpstream([answer, UpstreamUnavailable()], [answer, UpstreamUnavailable()])) as server:
        for scheme in ("light", "dark"):
            tab = await tabs.open(server.port, color_scheme=scheme)
            await tab.ask("Well?")
            await tab.ended("error")
            colour = await tab.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            paper[scheme] = sum(int(part) for part in colour.strip("rgb()").split(","))
            ratios = dict(await tab.page.evaluate(CONTRAST, TEXTS))
            assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}
    assert paper["dark"] < 150
    assert paper["light"] > 600


async def test_motion_can_be_turned_off(tabs: Tabs) -> None:
    """By the system's setting: nothing blinks."""
    async with serving(ScriptedUpstream([asyncio.Event()])) as server:
        tab = await tabs.open(server.port, animated=True, reduced_motion="reduce")
        await tab.ask("Well?")
        await expect(tab.last).to_have_attribute("data-status", "waiting")
        assert await tab.page.evaluate("document.getAnimations().length") == 0


async def test_a_page_at_rest_is_still_within_five_seconds(tabs: Tabs) -> None:
    """WCAG 2.2, 2.2.2: what blinks for longer must be stoppable; and it draws the page 60 times a second."""
    longest = "Math.max(...document.getAnimations().map(({ effect }) => effect.getComputedTiming().endTime), 0)"
    async with serving(ScriptedUpstream(["Because"])) as server:
        tab = await tabs.open(server.port, animated=True)
        await until(tab.page, "document.getAnimations().some(({ animationName: name }) => name === 'blink')")
        assert await tab.page.evaluate(longest) <= 5000
        await tab.ask("Why?")
        await tab.ended()
        assert await tab.page.evaluate(longest) <= 5000


async def test_reading_along_ends_where_one_scrolls_up(tabs: Tabs) -> None:
    """The page stays at the end while an answer grows, and stays where somebody reads; a button leads back."""
    gates = [asyncio.Event(), asyncio.Event()]
    lines = [f"{place}\n\n" for place in range(60)]
    async with serving(ScriptedUpstream([*lines, gates[0], *lines, gates[1], *lines])) as server:
        tab = await tabs.open(server.port)
        left = "document.documentElement.scrollHeight - innerHeight - scrollY"
        await tab.ask("Count!")
        await expect(tab.answer.locator("p")).to_have_count(60)
        assert await tab.page.evaluate(left) < 2

        await tab.page.mouse.wheel(0, -600)
        await expect(tab.button("Latest")).to_be_visible()
        place = await tab.page.evaluate("scrollY")
        gates[0].set()
        await expect(tab.answer.locator("p")).to_have_count(120)
        assert await tab.page.evaluate("scrollY") == place

        await tab.click_latest()
        await expect(tab.button("Latest")).to_be_hidden()
        gates[1].set()
        await tab.ended()
        await expect(tab.answer.locator("p")).to_have_count(180)
        assert await tab.page.evaluate(left) < 2
