"""GuardFunction: an async function that users wrote, as a check of questions."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, cast

from ..core.prompt import Prompt
from ..errors import ConfigError, Refused
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
    module, _, name = path.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        function: object = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever the user's module does while it is imported
        raise ConfigError(f"ASKBOT_GUARD_FUNCTION: {path} cannot be imported: {error!r}.") from error
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"ASKBOT_GUARD_FUNCTION: {path} is not an async function (async def).")
    return cast(Function, function)
