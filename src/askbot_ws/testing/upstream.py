"""ScriptedUpstream, and a server in the test's process that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from ..config import from_keywords
from ..core.prompt import Prompt
from ..server.app import Server
from ..server.running import running
from ..upstream import Ending, Upstream
from ..upstream.choose import UpstreamChoice
from ..upstream.validated import ValidatedUpstream

DEFAULT_MODEL = "scripted"

Step: TypeAlias = str | float | asyncio.Event | Exception | Ending
"""One step of a script: text, seconds to wait, an event to wait for, an error, or the end; see `ScriptedUpstream`."""


class ScriptedUpstream:
    """An upstream whose answers are scripted.

    A script is a sequence of steps, one script for each question:

    - `str`: a piece of the answer; `ThinkingText`: a piece of the reasoning
    - `float`: a pause, in seconds
    - `asyncio.Event`: a wait until the event is set
    - `Exception`: it is raised, and the answer fails; with an `UpstreamError` it has that error's code
    - `Ending`: the answer ends so; without one, it ends with reason "stop" and without a usage

    Attributes:
        scripts: The scripts that are not played yet.
        prompts: What was asked, oldest first; each has `messages` (with `role` and `text`) and `options`.
        stopped: How many answers were cancelled.
        ping_error: What `ping` raises, so that the server counts as not ready; None at first.

    Example:
        upstream = ScriptedUpstream(["Be", 0.5, "cause."], [UpstreamRateLimited()])
        async with serving(upstream) as server, connect(server.url) as chat:
            assert (await chat.ask("Why?")).answer == "Because."
    """

    def __init__(self, *scripts: Sequence[Step], model: str = DEFAULT_MODEL) -> None:
        """Make an upstream.

        Args:
            *scripts: One for each question, in their order. A question without one is answered with "You asked: " and
                its text.
            model: The model's name, as clients see it.
        """
        self.scripts: list[Sequence[Step]] = list(scripts)
        self.prompts: list[Prompt] = []
        self.stopped: int = 0
        self.ping_error: Exception | None = None
        self._model = model

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Raise `ping_error`, if there is one."""
        if self.ping_error is not None:
            raise self.ping_error

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Play the next script, and append the prompt to `prompts`.

        Args:
            prompt: What is asked; without a script left, its last message is repeated in the answer.
            on_text: Called with each `str` of the script.

        Returns:
            The script's `Ending`, or one with the reason "stop".

        Raises:
            Exception: The script's own, if it has one.
        """
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
    """Run a server in this process while the block runs, on a free port, in memory, without limits.

    Leaving the block closes it at once, without draining. Nothing but the arguments decides what it does: neither the
    environment nor `.env` nor `askbot.toml` is read, so a test has the same outcome wherever it runs.

    Args:
        upstream: What answers; by default a `ScriptedUpstream` without scripts, whose model is the setting `model`.
        **settings: Settings by their names in `askbot_ws.config.Settings`, over these defaults: `port=0`,
            `store="memory:"`, `limits=False`. None is the setting's default. A relative path in one is relative to the
            current folder.

    Yields:
        The listening server; `url` is where clients connect.

    Raises:
        askbot_ws.errors.ConfigError: Settings are wrong (with every error), or the port is taken.

    Example:
        async with serving(ScriptedUpstream(["Because."]), max_question=10) as server:
            async with connect(server.url) as chat:
                assert (await chat.ask("Why?")).answer == "Because."
    """
    given: dict[str, object] = {"port": 0, "store": "memory:", "limits": False} | settings
    checked = from_keywords({name: value for name, value in given.items() if value is not None})
    answers = upstream or ScriptedUpstream(model=checked.model or DEFAULT_MODEL)
    async with running(checked, UpstreamChoice(ValidatedUpstream(answers), persona=None)) as server:
        yield server
