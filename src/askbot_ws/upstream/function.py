"""FunctionUpstream: an async generator function of the user's own, behind the same server."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias, cast

from ..core.prompt import Prompt
from ..errors import ConfigError, UpstreamError, UpstreamStalled, UpstreamUnavailable
from . import Ending

Messages: TypeAlias = list[dict[str, str]]
"""`{"role": "system" | "user" | "assistant", "content": text}`, oldest first."""
Pieces: TypeAlias = AsyncGenerator[object, None]  # strings, if the function is what it says
Function: TypeAlias = Callable[[Messages, dict[str, Any]], Pieces]
"""Takes the messages and the options that the question gives (`model`, `temperature`, `max_tokens`), yields text."""
_END = object()


class FunctionUpstream:
    """Named by `package.module:name`; modules are looked for in the working directory too."""

    def __init__(self, path: str, *, stall_timeout: float = 60.0) -> None:
        """`stall_timeout` is how many seconds the function may take for a piece."""
        self._path = path
        self._stall_timeout = stall_timeout
        self._function: Function | None = None

    @property
    def model(self) -> str:
        """The function's path: what is behind it, only it knows."""
        return self._path

    async def open(self) -> None:
        """Import the function. Raises `ConfigError` where it is not there, or not what it has to be."""
        self._function = _imported(self._path)

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Run the function. Leaving early closes it, so that its `finally` blocks run."""
        async with aclosing(self._call(prompt)) as pieces:
            while (piece := await self._next(pieces)) is not _END:
                if not isinstance(piece, str):
                    raise UpstreamUnavailable from TypeError(f"{self._path} yielded {type(piece).__name__}, not str")
                on_text(piece)
        return Ending("stop")

    async def ping(self) -> None:
        """It is here, where we are."""

    async def close(self) -> None:
        """Nothing to end: what the function holds is its own."""

    def _call(self, prompt: Prompt) -> Pieces:
        if self._function is None:
            raise RuntimeError("the upstream is not open")
        messages = [{"role": message.role, "content": message.text} for message in prompt.messages]
        options = {name: value for name, value in asdict(prompt.options).items() if value is not None}
        return self._function(messages, options)

    async def _next(self, pieces: Pieces) -> object:
        """The next piece, `_END` after the last. Errors of ours pass: a function may say `ContextTooLong`."""
        limit = asyncio.timeout(self._stall_timeout)
        try:
            async with limit:
                return await anext(pieces, _END)
        except UpstreamError:
            raise
        except Exception as error:
            if limit.expired():
                raise UpstreamStalled from error
            raise UpstreamUnavailable from error


def _imported(path: str) -> Function:
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"ASKBOT_UPSTREAM: {path!r} is not a known upstream, nor like package.module:function.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        function: object = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's module does while it is imported
        raise ConfigError(f"ASKBOT_UPSTREAM: {path} cannot be imported: {error!r}.") from error
    if not inspect.isasyncgenfunction(function):
        raise ConfigError(f"ASKBOT_UPSTREAM: {path} is not an async generator function (async def with yield).")
    return cast(Function, function)
