"""Embedding: the server inside somebody else's program, on that program's event loop.

The program stays its own: no signal handler, no logging set-up, no other loop, no limit of the process is touched,
and no setting is read from its environment or its folder.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

from .config import Settings, keywords
from .errors import ConfigError
from .logs import lend
from .server.app import Server, running
from .upstream import Upstream
from .upstream.checked import CheckedUpstream
from .upstream.choose import Chosen, choose
from .upstream.function import Function, FunctionUpstream, Messages

__all__ = ["Answer", "serve"]

Answer: TypeAlias = Callable[[Messages, dict[str, Any]], AsyncIterator[str]]
"""An async generator function: takes the messages and the question's options, yields the pieces of the answer."""
HOSTS = ("log_level", "log_format")  # the host program's to decide


class _Given(FunctionUpstream):
    """A function that is at hand, and need not be found by its name."""

    def __init__(self, function: Answer, settings: Settings) -> None:
        name = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
        super().__init__(settings.model or name, stall_timeout=settings.stall_timeout)
        self._function = cast(Function, function)

    async def open(self) -> None:
        """Nothing to find."""


@asynccontextmanager
async def serve(answer: Answer | Upstream | None = None, /, **settings: object) -> AsyncGenerator[Server]:
    """Serve conversations while the block runs, on the loop that runs it. Raises `ConfigError` with every fault.

    `answer` is a function, or an upstream; without one, the model that the settings name. The settings are those of
    `askbot serve`, as keywords: `port=0`, `store="memory:"`. Leaving the block, however it is left, drains: running
    answers have `drain` seconds to end.
    """
    without = HOSTS if answer is None else (*HOSTS, "upstream")
    ours = keywords(settings, without=without)
    chosen = choose(ours) if answer is None else Chosen(_upstream(answer, ours), persona=None)
    lend(ours)
    async with running(ours, chosen) as server:
        try:
            yield server
        finally:
            await server.drain()


def _upstream(answer: Answer | Upstream, settings: Settings) -> Upstream:
    if not callable(answer):
        return CheckedUpstream(answer)
    if not inspect.isasyncgenfunction(answer):
        raise ConfigError(f"askbot can't start: {answer!r} is not an async generator function (async def with yield).")
    return _Given(answer, settings)
