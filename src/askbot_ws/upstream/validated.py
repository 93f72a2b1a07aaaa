"""ValidatedUpstream: wraps an upstream that users wrote, and enforces what `Upstream` promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..core.prompt import Prompt
from ..errors import UpstreamUnavailable
from . import Ending, Upstream, clean_model_name
from .isolation import run_in_own_task

UNKNOWN_MODEL = "unknown"


class ValidatedUpstream:
    """An upstream whose names, endings and errors the log can keep, and whose calls end when they are cancelled.

    The pieces of text go straight to `on_text`.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def model(self) -> str:
        """The wrapped upstream's model, made well-formed and cut; `UNKNOWN_MODEL` where it has no name."""
        return clean_model_name(self._upstream.model) or UNKNOWN_MODEL

    async def open(self) -> None:
        """Open the wrapped upstream."""
        await self._upstream.open()

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt. Raises `UpstreamUnavailable` also where the wrapped upstream returns no `Ending`."""
        returned = cast(object, await run_in_own_task(lambda: self._upstream.stream(prompt, on_text)))
        if isinstance(returned, Ending):
            return returned
        raise UpstreamUnavailable from TypeError(f"the upstream returned {type(returned).__name__}, not Ending")

    async def ping(self) -> None:
        """Check that it would answer now. Raises `UpstreamError` where it would not."""
        await run_in_own_task(self._upstream.ping)

    async def close(self) -> None:
        """Close the wrapped upstream."""
        await self._upstream.close()
