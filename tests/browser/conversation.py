"""A conversation to look at: in its second answer, Markdown is being written."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from playwright.async_api import expect

from askbot_ws.events import Usage
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending

from .tab import Tab

FIRST = """\
Because blue light is scattered most. Sunlight holds every colour; the air's molecules send its short waves in all \
directions about **six times** more strongly than the long red ones.
"""
SECOND = """\
The same scattering, over a longer way. In the evening the light crosses up to **40 times** as much air:

1. The blue is scattered out of the beam before it arrives.
2. What is left is *orange and red*, by Rayleigh's law:

```python
def scattered(wavelength_nm: float) -> float:
    return (700 / wavelength_nm) ** 4
```

Dust and smoke add to it, which is why"""
REST = " the reddest evenings follow a volcano."

EARLIER = {  # other conversations, to be seen in a list
    "Which words rhyme with orange?": "None that are common. *Sporange* does: a spore case of ferns.",
    "A haiku about cables": "*Pulled and plugged again:*\nnothing that was said is lost.\nThe last word arrives.",
    "How do I undo the last commit?": "```sh\ngit reset --soft HEAD~1\n```",
    "How far away is the Moon?": "About 384,400 km: light takes 1.3 seconds.",
}


def spoken(text: str) -> list[Step]:
    """At the pace of a quick model."""
    return [step for word in re.findall(r"\S+\s*", text) for step in (word, 0.009)]


@dataclass
class Sky:
    """The upstream, and what lets it go on."""

    model: str = "your-model"
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def upstream(self, *earlier: str) -> ScriptedUpstream:
        """What answers; before it is asked of the sky, it may be asked these."""
        ends = [Ending("stop", usage=Usage(input_tokens=120, output_tokens=count)) for count in (41, 112)]
        first: list[Step] = [0.24, *spoken(FIRST), ends[0]]
        before: list[list[Step]] = [[EARLIER[question]] for question in earlier]
        return ScriptedUpstream(*before, first, [0.2, *spoken(SECOND), self.written, REST, ends[1]], model=self.model)

    async def show(self, tab: Tab) -> None:
        """Ask, up to the middle of the second answer."""
        await tab.ask("Why is the sky blue?")
        await tab.ended()
        await tab.ask("And why is it red in the evening?")
        await expect(tab.turns).to_have_count(2)
        await tab.shows("which is why")
