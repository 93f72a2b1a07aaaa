"""GuardFunction: an async function that users wrote, as a check of questions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from ..core.prompt import Prompt
from ..errors import ConfigError, Refused
from ..importing import import_named
from . import Asker

Function: TypeAlias = Callable[[str, Asker], Awaitable[object]]
"""Takes a question's text and who asks; returns None, or the text that answers it, or raises `Refused`."""


class GuardFunction:
    """Asks the function that `package.module:name` names; modules are searched in the working directory too."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._function: Function | None = None

    async def open(self) -> None:
        """Import the function. Raises `ConfigError` where it is not there, or no async function."""
        self._function = _import_function(self._path)

    async def refusal(self, prompt: Prompt) -> str | None:
        """Return what the function returns. Raises what it raises, and `TypeError` for what is no text."""
        if self._function is None:
            raise RuntimeError("the guard is not open")
        try:
            answer = await self._function(prompt.question, Asker(prompt.user, prompt.role))
        except Refused as error:
            return error.message
        if answer is None or isinstance(answer, str):
            return answer
        raise TypeError(f"the guard returned {type(answer).__name__}, not str or None")

    async def close(self) -> None:
        """Do nothing: the function itself releases what it uses."""


def _import_function(path: str) -> Function:
    function = import_named(path, setting="ASKBOT_GUARD_FUNCTION")
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"ASKBOT_GUARD_FUNCTION: {path} is not an async function (async def).")
    return cast(Function, function)
