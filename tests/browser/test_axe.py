"""axe finds nothing, in whatever state the page or the element is: all of states.py, in all looks."""

from __future__ import annotations

from typing import Literal

import pytest

from .axe import CONTRAST, RULES, faults
from .states import ELEMENT, PAGE, Stage, State, element_stage, page_stage
from .tab import Json, Tabs
from .test_access import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK: Json = {"reduced_motion": "reduce"}  # or each change of colours is waited for
TALL = PHONE | {"viewport": {"width": 360, "height": 1600}}  # what lies under the footer, axe takes for covered
LOOKS: dict[str, Json] = {"desk": QUICK, "phone": QUICK | TALL | {"locale": "ko-KR"}}
SCHEMES: dict[Literal["light", "dark"], object] = {"light": RULES, "dark": CONTRAST}


async def faults_of(stage: Stage, states: dict[str, State]) -> list[str]:
    """What axe finds in each of these states; where all is dark, only other colours are to be found."""
    found: list[str] = []
    for name, show in states.items():
        await stage.begin()
        await show(stage)
        for scheme, rules in SCHEMES.items():
            await stage.tab.page.emulate_media(color_scheme=scheme)
            found += [f"{name}, {scheme}: {fault}" for fault in await faults(stage.tab, rules)]
    return found


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing_on_the_page(tabs: Tabs, look: str) -> None:
    """In no state; in the dark too, on a phone, in Korean."""
    async with page_stage(tabs, **LOOKS[look]) as stage:
        assert await faults_of(stage, PAGE) == []


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing_in_the_element(tabs: Tabs, look: str) -> None:
    """The same, on somebody's page, which is light or dark as its reader likes it."""
    body = '<ask-bot lang="ko"></ask-bot>' if look == "phone" else "<ask-bot></ask-bot>"
    async with element_stage(tabs, body, **LOOKS[look]) as stage:
        assert await faults_of(stage, ELEMENT) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_elements_theme_has_its_contrast_in_the_other_scheme(tabs: Tabs, theme: str) -> None:
    """The page's author may choose; the reader's system says otherwise."""
    other = {"light": "dark", "dark": "light"}[theme]
    async with element_stage(tabs, f'<ask-bot theme="{theme}"></ask-bot>', color_scheme=other) as stage:
        await ELEMENT["ended"](stage)
        assert await faults(stage.tab) == []
