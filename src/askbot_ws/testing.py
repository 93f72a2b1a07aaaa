"""What tests need, ours and those of people who build on askbot-ws: a scripted upstream, and a server in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from .config import load
from .core.prompt import Prompt
from .server.app import Server, running
from .upstream import Ending, Upstream
from .upstream.checked import CheckedUpstream
from .upstream.choose import Chosen

__all__ = ["ScriptedUpstream", "Step", "serving"]

Step: TypeAlias = str | float | asyncio.Event | Exception | Ending


class ScriptedUpstream:
    """Answers as it is told.

    A script is a sequence of steps: a text is a piece of the answer, a number is a pause in seconds, an event is
    waited for, an exception is raised, an `Ending` ends the answer; without one it ends with `stop`.
    """

    def __init__(self, *scripts: Sequence[Step], model: str = "scripted") -> None:
        """One script a question; where there are no more, the question is answered with itself."""
        self.scripts = list(scripts)
        self.prompts: list[Prompt] = []  # what was asked, oldest first
        self.stopped = 0  # answers that were cancelled
        self.fault: Exception | None = None  # what `ping` raises
        self._model = model

    @property
    def model(self) -> str:
        """As given."""
        return self._model

    async def open(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def ping(self) -> None:
        """Raises `fault`, if there is one."""
        if self.fault is not None:
            raise self.fault

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Play the next script."""
        self.prompts.append(prompt)
        script = self.scripts.pop(0) if self.scripts else ["You asked: ", prompt.messages[-1].text]
        try:
            return await self._play(script, on_text)
        except asyncio.CancelledError:
            self.stopped += 1
            raise

    async def _play(self, script: Sequence[Step], on_text: Callable[[str], None]) -> Ending:
        for step in script:
            match step:
                case str():
                    on_text(step)
                    await asyncio.sleep(0)
                case asyncio.Event():
                    await step.wait()
                case Ending():
                    return step
                case Exception():
                    raise step
                case _:
                    await asyncio.sleep(step)
        return Ending("stop", usage=None)


@asynccontextmanager
async def serving(upstream: Upstream | None = None, **settings: object) -> AsyncGenerator[Server]:
    """A server in this process, on a free port, that keeps nothing; settings by their names in `config.Settings`."""
    given: dict[str, object] = {"port": 0, "store": "memory:", "limits": False} | settings
    chosen = Chosen(CheckedUpstream(upstream or ScriptedUpstream()), persona=None)
    async with running(load(given, environ={}), chosen) as server:
        yield server
