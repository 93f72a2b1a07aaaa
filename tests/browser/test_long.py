"""A long answer, at the pace of a quick model, must not make the page stutter."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from askbot_ws.testing import ScriptedUpstream, Step, serving
from askbot_ws.upstream import Ending

from .tab import Tab, Tabs
from .trace import task_times

pytestmark = pytest.mark.asyncio(loop_scope="session")

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
TOKENS = 10_000
RATE = 800  # tokens a second: that of the quickest providers, each in a frame of its own
FRAME = 50  # milliseconds: what takes longer is a long task, to browsers and to people
PART = """\
## Why the sky is blue

Sunlight holds every colour; the air's molecules send its **short waves** in all directions, about *six times* more
strongly than the `long` red ones, as [Rayleigh](https://example.org/rayleigh) found.

1. The blue is scattered out of the beam before it arrives.
2. What is left is orange and red:
   - in the evening,
   - and after a volcano.

```python
def scattered(wavelength_nm: float) -> float:
    # the fourth power is what makes the difference
    return (700 / wavelength_nm) ** 4 * len("photons")
```

| colour | nm | scattered |
|---|--:|--:|
| red | 700 | 1.0 |
| blue | 450 | 5.9 |

"""
WATCH = """
    globalThis.frames = [];
    addEventListener("DOMContentLoaded", () => {
        let before = performance.now();
        const look = (now) => { frames.push(now - before); before = now; requestAnimationFrame(look); };
        requestAnimationFrame(look);
    });
"""


class Metronome(ScriptedUpstream):
    """Says its tokens at an even pace, by the clock."""

    async def _play(self, script: Sequence[Step], on_text: Callable[[str], None]) -> Ending:
        start = time.monotonic()
        for place, token in enumerate(script):
            assert isinstance(token, str)
            await asyncio.sleep(max(0, start + place / RATE - time.monotonic()))
            on_text(token)
        return Ending("stop", usage=None)


def tokens() -> list[str]:
    """Of about four letters, as models count."""
    part = re.findall(r"\s?\w{1,5}|\s+|[^\w\s]", PART)
    return [part[place % len(part)] for place in range(TOKENS)]


async def ended(tab: Tab) -> None:
    """Wait for the answer's end without asking the page: looking for an element in a long one takes its time."""
    async with asyncio.timeout(90):
        while not any(frame["type"] == "done" for frame in tab.got[-3:]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


@pytest.mark.timed  # what shares the caches and cores costs the page's thread processor time, too
async def test_ten_thousand_tokens_at_eight_hundred_a_second_keep_no_frame_longer_than_50_ms(
    browser: Browser, tabs: Tabs
) -> None:
    """What the page does for any frame takes its thread less than that.

    Counted is the thread's processor time, not the clock, which on a shared machine would measure the others: the
    longest of all its tasks, from a trace. The frames by the clock are put down beside it, in test-artefacts/.
    """
    said = tokens()
    async with serving(Metronome(said)) as server:
        tab = await tabs.open(server.port, script=WATCH, animated=True)
        await tab.connected()
        await tab.page.evaluate("frames.length = 0")
        await browser.start_tracing(page=tab.page, categories=["toplevel"])
        start = time.monotonic()
        await tab.ask("All of it!")
        await ended(tab)
        took = time.monotonic() - start
        tasks = task_times(await browser.stop_tracing())
        clock = sorted(await tab.page.evaluate("frames"))
        await tab.ended()
        shown = await tab.page.evaluate("document.querySelector('.answer').textContent.length")
        await expect(tab.page.locator("#latest")).to_be_hidden()

    report = {
        "tokens": len(said),
        "seconds": round(took, 1),
        "longest task, ms of processor time": round(tasks[-1], 1),
        "frames": len(clock),
        "frames over 50 ms by the clock": sum(frame > FRAME for frame in clock),
        "longest frame by the clock, ms": round(clock[-1], 1),
    }
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "long-answer.json").write_text(json.dumps(report, indent=2) + "\n")
    assert took >= (TOKENS - 1) / RATE, "it did not come at that pace"
    assert shown > len("".join(said)) * 0.8
    assert len(tasks) > TOKENS / 10, "the trace is empty"
    assert tasks[-1] < FRAME, report


async def test_a_long_block_is_made_anew_only_where_it_grows(tabs: Tabs) -> None:
    """A line of code, an item, a row that stand, stay: with what the reader has selected there."""
    gates = [asyncio.Event() for _ in range(3)]
    blocks = ("```js\nlet one = 1;\nlet two", "- one\n- two", "| a |\n|---|\n| one |\n| two")
    script: list[Step] = []
    for gate, block in zip(gates, blocks, strict=True):
        script += [block, gate, " more\n"]
        script += ["```\n\n" if block.startswith("```") else "\n"]
    async with serving(ScriptedUpstream(script)) as server:
        tab = await tabs.open(server.port)
        await tab.ask("Blocks?")
        for gate, first in zip(gates, (".line", "li", "tbody tr"), strict=True):
            place = tab.answer.locator(first)
            await expect(place).to_have_count(2)
            await tab.page.evaluate(
                """(first) => {
                    globalThis.kept = document.querySelector(`.answer ${first}`);
                    getSelection().selectAllChildren(kept);
                }""",
                first,
            )
            gate.set()
            await expect(place.nth(1)).to_contain_text("more")
            assert await tab.page.evaluate("document.contains(kept) && getSelection().containsNode(kept, true)")
        await tab.ended()
