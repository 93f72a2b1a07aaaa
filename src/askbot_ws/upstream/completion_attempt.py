"""CompletionAttempt: one request for a completion, from its response's body to text and an ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from . import Ending
from .provider_errors import broken_answer
from .sse import BLANK_LINE, ChatStreamDecoder


class CompletionAttempt:
    """One request for a completion: decodes the response's body, passes the text on, and returns how it ended."""

    __slots__ = ("_decoder", "_on_text", "_usage_deadline", "_usage_timeout", "has_text")

    def __init__(self, on_text: Callable[[str], None], *, usage_timeout: float) -> None:
        """`usage_timeout` is how many seconds the usage may take to arrive after the text's end."""
        self.has_text = False
        self._decoder = ChatStreamDecoder()
        self._on_text = on_text
        self._usage_timeout = usage_timeout
        self._usage_deadline: float | None = None

    def feed(self, data: bytes) -> float | None:
        """Decode a piece of the body. Returns what a `Sink` returns: for how many seconds more is accepted."""
        decoder = self._decoder
        text = decoder.feed(data)
        if text:
            self.has_text = True
            self._on_text(text)
        if not (decoder.provider_finish_reason or decoder.done or decoder.error):
            return None
        if decoder.is_over:
            self.ending()
            return 0.0
        return self._usage_time_left() if decoder.finish_reason else None

    def finish(self) -> Ending:
        """Note the end of the body. Returns how the answer ended; raises as `ending` does."""
        self.feed(BLANK_LINE)
        return self.ending()

    def ending(self) -> Ending:
        """How the answer ended. Raises `UpstreamError` where it has no finish reason; with one, errors are ignored."""
        decoder = self._decoder
        if reason := decoder.finish_reason:
            return Ending(reason, decoder.model, decoder.usage)
        raise decoder.error or broken_answer("the stream ended without a finish reason")

    @property
    def complete(self) -> bool:
        """Whether all of the text is here."""
        return self._decoder.finish_reason is not None

    def _usage_time_left(self) -> float:
        now = asyncio.get_running_loop().time()
        self._usage_deadline = self._usage_deadline or now + self._usage_timeout
        return max(0.0, self._usage_deadline - now)
