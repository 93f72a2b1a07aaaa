"""Embedding: the server inside another program, on that program's event loop.

No signal handler is set, no logging is configured, no loop is made, no limit of the process is changed, and no setting
is read from the environment or from files.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

from .config import Settings, from_keywords
from .errors import ConfigError
from .logs import use_host_logging
from .server.app import Server
from .server.running import running
from .upstream import Upstream
from .upstream.choose import UpstreamChoice, choose_upstream
from .upstream.function import Function, FunctionUpstream, Messages
from .upstream.validated import ValidatedUpstream

__all__ = ["AnswerFunction", "serve"]

AnswerFunction: TypeAlias = Callable[[Messages, dict[str, Any]], AsyncIterator[str]]
"""An async generator function that takes the messages and the question's options, and yields the answer in pieces.

The messages are oldest first, each `{"role": "system" | "user" | "assistant", "content": str}`; the last one is the
question. The options have those of `model`, `temperature` and `max_tokens` that the question gives. Pieces are `str`.
"""
HOST_SETTINGS = ("log_level", "log_format", "workers")  # that the host program decides


class _CallableUpstream(FunctionUpstream):
    """An upstream for a function object, which need not be imported by its name."""

    def __init__(self, function: AnswerFunction, settings: Settings) -> None:
        name = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
        super().__init__(settings.model or name, stall_timeout=settings.stall_timeout)
        self._function = cast(Function, function)

    async def open(self) -> None:
        """Do nothing: there is nothing to import."""


@asynccontextmanager
async def serve(answer: AnswerFunction | Upstream | None = None, /, **settings: object) -> AsyncGenerator[Server]:
    """Run a server while the block runs, on the running event loop.

    Leaving the block, however it is left, drains: clients get notice, and running answers have `drain` seconds to end.

    Args:
        answer: What answers: an async generator function, or an `Upstream`; without it, the model that the settings
            name. The function takes the messages of the conversation, oldest first (`{"role": "system" | "user" |
            "assistant", "content": str}`), and the question's options (`model`, `temperature`, `max_tokens`, where they
            were given); it yields `str`.
        **settings: The settings of `askbot serve` as keywords, with the names of `askbot_ws.config.Settings`:
            `port=0`, `store="memory:"`, `session_ttl="7d"`. All but `log_level`, `log_format` and `workers`, and
            `upstream` where there is an `answer`.

    Yields:
        The listening server: `url` is where clients connect, `port` its port, `serve_forever` waits for its end.

    Raises:
        askbot_ws.errors.ConfigError: Settings are wrong (with every error), `answer` is not an async generator
            function, the store can't be opened, or the port is taken.

    Example:
        from collections.abc import AsyncIterator

        async def answer(messages: list[dict[str, str]], options: dict[str, object]) -> AsyncIterator[str]:
            yield f"You asked: {messages[-1]['content']}"

        async with askbot_ws.serve(answer, port=8765, store="sqlite:///chats.db") as server:
            print(server.url)
            await server.serve_forever()
    """
    without = HOST_SETTINGS if answer is None else (*HOST_SETTINGS, "upstream")
    checked = from_keywords(settings, without=without)
    chosen = (
        choose_upstream(checked, environ={})
        if answer is None
        else UpstreamChoice(_make_upstream(answer, checked), persona=None)
    )
    use_host_logging(checked)
    async with running(checked, chosen) as server:
        try:
            yield server
        finally:
            await server.drain()


def _make_upstream(answer: AnswerFunction | Upstream, settings: Settings) -> Upstream:
    if not callable(answer):
        return ValidatedUpstream(answer)
    if not inspect.isasyncgenfunction(answer):
        raise ConfigError(f"askbot can't start: {answer!r} is not an async generator function (async def with yield).")
    return _CallableUpstream(answer, settings)
