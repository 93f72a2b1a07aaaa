"""GuardedUpstream: wraps an upstream, and answers what the guard refuses itself."""

from __future__ import annotations

from collections.abc import Callable

from ..core.guard import refusal
from ..core.prompt import Prompt
from . import Ending, Upstream


class GuardedUpstream:
    """An upstream that is asked only what the guard lets pass."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def model(self) -> str:
        """The wrapped upstream's model."""
        return self._upstream.model

    async def open(self) -> None:
        """Open the wrapped upstream."""
        await self._upstream.open()

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt: with a fixed sentence and reason "refused" where the guard refuses its question."""
        messages = prompt.messages
        follows = any(message.role == "assistant" for message in messages)
        sentence = refusal(messages[-1].text, follows=follows)
        if sentence is None:
            return await self._upstream.stream(prompt, on_text)
        on_text(sentence)
        return Ending("refused", model=self.model)

    async def ping(self) -> None:
        """Check that the wrapped upstream would answer now. Raises `UpstreamError` where it would not."""
        await self._upstream.ping()

    async def close(self) -> None:
        """Close the wrapped upstream."""
        await self._upstream.close()
