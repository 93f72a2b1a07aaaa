"""Draw README's pictures, and each state of the page and of the element: `make pictures`.

README's are docs/page.png and docs/page-dark-phone.png; the others are in test-artefacts/pictures/, where index.html
shows them. `make pictures ONLY=phone/offline` draws those with that in their names, `ONLY=readme` README's.
"""

from __future__ import annotations

import asyncio
import html
import logging
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from playwright.async_api import Browser, Page, expect

from askbot_ws.testing import serving

from .axe import STILL
from .conftest import launched
from .conversation import EARLIER, Sky
from .states import CONVERSATION, ELEMENT, PAGE, Stage, State, element_stage, page_stage
from .tab import Json, Tabs
from .test_access import PHONE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDER = ROOT / "test-artefacts/pictures"
DESK: Json = {"viewport": {"width": 1280, "height": 800}}
A4_PX = {"width": 794, "height": 1123}  # at 96 dots an inch
PRINTED = ("ended", "thought", "ended-korean", "long-question", "broken-off")


@dataclass(frozen=True)
class Look:
    """How somebody sees it: in which browser, in which medium, and which states look different there."""

    options: Json
    states: dict[str, State]
    open: Callable[..., AbstractAsyncContextManager[Stage]]
    is_printed: bool = False


def printed(states: dict[str, State]) -> dict[str, State]:
    return {name: states[name] for name in PRINTED}


DARK: Json = {"color_scheme": "dark"}
KOREAN: Json = {"locale": "ko-KR"}
FORCED: Json = {"forced_colors": "active"}
PAPER: Json = {"viewport": A4_PX}
korean_element = partial(element_stage, body='<ask-bot lang="ko"></ask-bot>')
LOOKS: dict[str, Look] = {
    "page-desk": Look(DESK, PAGE, page_stage),
    "page-dark": Look(DESK | DARK, PAGE, page_stage),
    "page-phone": Look(PHONE, PAGE, page_stage),
    "page-phone-dark": Look(PHONE | DARK, PAGE, page_stage),
    "page-korean": Look(DESK | KOREAN, PAGE, page_stage),
    "page-phone-korean": Look(PHONE | KOREAN, PAGE, page_stage),
    "page-forced-colours": Look(DESK | FORCED, PAGE, page_stage),
    "page-print": Look(PAPER, printed(PAGE), page_stage, is_printed=True),
    "element-desk": Look(DESK, ELEMENT, element_stage),
    "element-dark": Look(DESK | DARK, ELEMENT, element_stage),
    "element-phone": Look(PHONE, ELEMENT, element_stage),
    "element-phone-korean": Look(PHONE, ELEMENT, korean_element),
    "element-forced-colours": Look(DESK | FORCED, ELEMENT, element_stage),
    "element-print": Look(PAPER, printed(ELEMENT), element_stage, is_printed=True),
}


async def draw_states(browser: Browser, name: str, look: Look, wanted: str) -> None:
    """Draw each state in one look."""
    chosen = {state: show for state, show in look.states.items() if wanted in f"{name}/{state}"}
    if not chosen:
        return
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    tabs = Tabs(browser)
    async with look.open(tabs, **look.options) as stage:
        for state, show in chosen.items():
            stage.is_over = True  # each begins with a fresh page, whose menus are closed
            await stage.begin()
            await show(stage)
            await draw(stage.tab.page, folder / f"{state}.png", is_printed=look.is_printed)
            print(f"{name}/{state}")
    await tabs.close()


async def draw(page: Page, path: Path, *, is_printed: bool = False) -> None:
    """Take a picture once nothing moves; of all that is printed, or of what is seen."""
    if not is_printed:
        await page.evaluate(STILL)
        await page.screenshot(path=path)
        return
    await page.emulate_media(media="print")
    await page.screenshot(path=path, full_page=True)
    await page.pdf(path=path.with_suffix(".pdf"), format="A4")
    await page.emulate_media(media="screen")


async def draw_readme(browser: Browser) -> None:
    """Draw the pictures that README shows."""
    for name, options in (("page", DESK), ("page-dark-phone", PHONE | DARK)):
        sky, tabs = Sky(), Tabs(browser)
        async with serving(sky.upstream(*EARLIER)) as server:
            tab = await tabs.open(server.port, **options)
            for question in EARLIER:
                await tab.ask(question)
                await tab.ended()
                await tab.button("New conversation").click()
                await expect(tab.turns).to_have_count(0)
            await sky.show(tab)
            await draw(tab.page, DOCS / f"{name}.png")
        await tabs.close()
        print(DOCS / f"{name}.png")


def write_index() -> None:
    """Write a page that shows all pictures, a row for each state."""
    states = dict.fromkeys([*PAGE, *CONVERSATION])
    rows = [_row(state, [look for look in LOOKS if (FOLDER / look / f"{state}.png").exists()]) for state in states]
    style = "img { height: 24rem; border: 1px solid #888 } figure { display: inline-block; margin: 0.5rem }"
    head = f'<!doctype html><meta charset="utf-8"><title>All states</title><style>{style}</style>'
    (FOLDER / "index.html").write_text(head + "\n".join(filter(None, rows)), encoding="utf-8")


def _row(state: str, looks: list[str]) -> str:
    figures = [
        f'<figure><a href="{look}/{state}.png"><img src="{look}/{state}.png" alt="" loading="lazy"></a>'
        f"<figcaption>{html.escape(look)}</figcaption></figure>"
        for look in looks
    ]
    return f"<h2>{html.escape(state)}</h2>{''.join(figures)}" if figures else ""


async def main(wanted: str) -> None:
    """Draw what has this in its name; without one, everything anew."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if not wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
    async with launched() as browser:
        for name, look in LOOKS.items():
            await draw_states(browser, name, look, wanted)
        if wanted in ("", "readme"):
            await draw_readme(browser)
    write_index()


if __name__ == "__main__":
    asyncio.run(main("".join(sys.argv[1:])))
