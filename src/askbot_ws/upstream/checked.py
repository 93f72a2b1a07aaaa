"""CheckedUpstream: an upstream that a program brings along, held to what the protocol says."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..core.prompt import Prompt
from ..errors import UpstreamUnavailable
from . import Ending, Upstream, model_name
from .isolation import isolated

UNKNOWN_MODEL = "unknown"


class CheckedUpstream:
    """Answers as the one that it is given; what that says fits into the log, and each of its calls ends.

    The pieces of text go straight to the listener.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def model(self) -> str:
        """Its name, well-formed and capped."""
        return model_name(self._upstream.model) or UNKNOWN_MODEL

    async def open(self) -> None:
        """Begin."""
        await self._upstream.open()

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer. Raises `UpstreamUnavailable` also where it returns no `Ending`."""
        returned = cast(object, await isolated(lambda: self._upstream.stream(prompt, on_text)))
        if isinstance(returned, Ending):
            return returned
        raise UpstreamUnavailable from TypeError(f"the upstream returned {type(returned).__name__}, not Ending")

    async def ping(self) -> None:
        """Raises `UpstreamError` where a question would not be answered now."""
        await isolated(self._upstream.ping)

    async def close(self) -> None:
        """End what `open` began."""
        await self._upstream.close()
