"""FunctionUpstream: an async generator function that users wrote, as an upstream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, TypeAlias, cast

from ..core.prompt import Prompt
from ..core.text import to_well_formed
from ..errors import ConfigError, UpstreamError, UpstreamStalled, UpstreamUnavailable
from ..importing import import_named
from . import MAX_MODEL_NAME_CHARS, Ending, ThinkingText
from .deadline import Deadline
from .isolation import run_in_own_task
from .provider_errors import ensure_printable

MAX_PIECE_CHARS = 1 << 20  # in one call of `on_text`

Messages: TypeAlias = list[dict[str, str]]
"""`{"role": "system" | "user" | "assistant", "content": text}`, oldest first."""
Pieces: TypeAlias = AsyncGenerator[object, None]  # strings, which is checked for each piece
Function: TypeAlias = Callable[[Messages, dict[str, Any]], Pieces]
"""Takes the messages and the options that the question gives (`model`, `temperature`, `max_tokens`), yields text.

Reasoning is yielded as `ThinkingText`.
"""


class FunctionUpstream:
    """Runs the function that `package.module:name` names; modules are searched in the working directory too."""

    def __init__(self, path: str, *, stall_timeout: float = 60.0) -> None:
        """`stall_timeout` is how many seconds the function may take for a piece."""
        self._path = path
        self._model = to_well_formed(path, limit=MAX_MODEL_NAME_CHARS)
        self._stall_timeout = stall_timeout
        self._function: Function | None = None

    @property
    def model(self) -> str:
        """The function's path, as its model is not known."""
        return self._model

    async def open(self) -> None:
        """Import the function. Raises `ConfigError` where it is not there, or not what it has to be."""
        self._function = _import_function(self._path)

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Run the function, in a task of its own. Cancelling closes it, so that its `finally` blocks run.

        Raises `UpstreamError` as the function raises it, `ContextTooLong` for example, `UpstreamStalled` where no piece
        came for `stall_timeout` seconds, and `UpstreamUnavailable` for any other exception of the function.
        """
        if self._function is None:
            raise RuntimeError("the upstream is not open")
        timeout = asyncio.timeout(None)
        run = _FunctionRun(
            self._function, on_text, stall_timeout=self._stall_timeout, on_stall=lambda: timeout.reschedule(0)
        )
        try:
            async with timeout:
                await run_in_own_task(lambda: run.forward_text(prompt))
        except UpstreamError:
            raise
        except Exception as error:
            if timeout.expired():
                raise UpstreamStalled from error
            if run.listener_error is not None:
                raise run.listener_error from None
            raise UpstreamUnavailable from ensure_printable(error)
        finally:
            run.deadline.cancel()
        return Ending("stop")

    async def ping(self) -> None:
        """Always succeeds: the function runs in this process."""

    async def close(self) -> None:
        """Do nothing: the function itself releases what it uses."""


class _FunctionRun:
    """One call of the function, for one question."""

    __slots__ = ("_function", "_on_text", "_stall_timeout", "deadline", "listener_error")

    def __init__(
        self,
        function: Function,
        on_text: Callable[[str], None],
        *,
        stall_timeout: float,
        on_stall: Callable[[], None],
    ) -> None:
        """`on_stall` is called once no piece has come for `stall_timeout` seconds."""
        self.listener_error: Exception | None = None  # what `on_text` raised: no error of the function's
        self.deadline = Deadline(on_stall)
        self.deadline.set(stall_timeout)
        self._function = function
        self._on_text = on_text
        self._stall_timeout = stall_timeout

    async def forward_text(self, prompt: Prompt) -> None:
        """Pass what the function yields to `on_text`. Raises what it raises, and `TypeError` for what is no text."""
        messages = [{"role": message.role, "content": message.text} for message in prompt.messages]
        options = {name: value for name, value in asdict(prompt.options).items() if value is not None}
        task = cast(asyncio.Task[None], asyncio.current_task())
        deadline, stall_timeout, time = self.deadline, self._stall_timeout, asyncio.get_running_loop().time
        async with aclosing(self._function(messages, options)) as pieces:
            async for piece in pieces:
                if task.cancelling():  # the function has caught it, and goes on
                    raise asyncio.CancelledError
                if not isinstance(piece, str):
                    raise TypeError(f"the function yielded {type(piece).__name__}, not str")
                deadline.at = time() + stall_timeout
                self._forward_piece(piece)

    def _forward_piece(self, piece: str) -> None:
        try:
            if len(piece) <= MAX_PIECE_CHARS:
                self._on_text(piece)
                return
            kind = ThinkingText if isinstance(piece, ThinkingText) else str
            for start in range(0, len(piece), MAX_PIECE_CHARS):
                self._on_text(kind(piece[start : start + MAX_PIECE_CHARS]))
        except Exception as error:
            self.listener_error = error
            raise


def _import_function(path: str) -> Function:
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"ASKBOT_UPSTREAM: {path!r} is not a known upstream, nor like package.module:function.")
    function = import_named(path, setting="ASKBOT_UPSTREAM")
    if not inspect.isasyncgenfunction(function):
        raise ConfigError(f"ASKBOT_UPSTREAM: {path} is not an async generator function (async def with yield).")
    return cast(Function, function)
