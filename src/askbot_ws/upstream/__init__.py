"""Upstreams: whatever turns messages into text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ..core.prompt import Prompt
from ..events import Usage


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended well."""

    reason: Literal["stop", "length", "refused"]
    model: str | None = None  # as the provider names it
    usage: Usage | None = None


class Upstream(Protocol):
    """A model, or anything that answers like one."""

    @property
    def model(self) -> str:
        """The name of what answers where a question names no model."""
        ...

    async def open(self) -> None:
        """Begin: start what has to run. Raises `ConfigError` where that can never work."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer: call `on_text` for each piece as it arrives, return when the answer is complete.

        The pieces come by a call rather than by iteration, so that the way from the socket's bytes to the log has
        no task switch in it. Pieces may be empty and may hold half surrogates. Cancelling the task stops the
        provider at once. Raises `UpstreamError`; the pieces so far stand.
        """
        ...

    async def ping(self) -> None:
        """Raises `UpstreamError` where a question would not be answered now. Costs no tokens."""

    async def close(self) -> None:
        """End what `open` began."""
