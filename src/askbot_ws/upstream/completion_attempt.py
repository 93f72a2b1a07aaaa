"""CompletionAttempt: one request for a completion, from its response's body to text and an ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from . import Ending
from .http_exchange import NO_PROGRESS
from .provider_errors import broken_answer
from .sse import ChatStreamDecoder

log = structlog.get_logger()


class CompletionAttempt:
    """One request for a completion: decodes the response's body, passes the text on, and returns how it ended."""

    __slots__ = ("_decoder", "_on_text", "_usage_deadline", "_usage_timeout", "has_text")

    def __init__(self, on_text: Callable[[str], None], *, usage_timeout: float) -> None:
        """`usage_timeout` is how many seconds the usage, or more text, may take to arrive after a finish reason."""
        self.has_text = False  # text or reasoning was passed on
        self._decoder = ChatStreamDecoder()
        self._on_text = on_text
        self._usage_timeout = usage_timeout
        self._usage_deadline: float | None = None

    def feed(self, data: bytes) -> float | None:
        """Decode a piece of the body. Returns what a `Sink` returns: for how many seconds more is accepted."""
        decoder = self._decoder
        text = decoder.match_template(data)
        if text is not None:
            if text:
                self.has_text = True
                self._on_text(text)
            return None
        pieces = decoder.feed(data)
        for piece in pieces:
            if piece:
                self.has_text = True
                self._on_text(piece)
        if not decoder.end_seen:
            return None if pieces or decoder.progressed else NO_PROGRESS
        if decoder.is_over:
            self.ending()
            return 0.0
        if pieces:  # some servers put a finish reason into every chunk
            self._usage_deadline = None
        return self._usage_time_left()

    def finish(self) -> Ending:
        """Note the end of the body. Returns how the answer ended; raises as `ending` does."""
        decoder = self._decoder
        self._pass_on(decoder.finish())
        if decoder.ignored_events:
            log.info("upstream_events_ignored", count=decoder.ignored_events)
        if decoder.completion.unknown_finish:
            log.info("upstream_finish_assumed", finish=decoder.completion.unknown_finish)
        return self.ending()

    def ending(self) -> Ending:
        """How the answer ended; its last text, which may have looked like the beginning of a tag, is passed on.

        Raises `UpstreamError` where it has no finish reason. With one that no text came after, errors are ignored.
        """
        completion = self._decoder.completion
        reason, error = completion.finish_reason, completion.error
        if reason and not (error and completion.finish_contradicted):
            self._pass_on(self._decoder.flush())
            return Ending(reason, completion.model, completion.usage)
        raise error or broken_answer("the stream ended without a finish reason")

    @property
    def complete(self) -> bool:
        """Whether all of the text is here."""
        completion = self._decoder.completion
        return completion.finish_reason is not None and not completion.finish_contradicted

    def _pass_on(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            self.has_text = True
            self._on_text(piece)

    def _usage_time_left(self) -> float:
        now = asyncio.get_running_loop().time()
        self._usage_deadline = self._usage_deadline or now + self._usage_timeout
        return max(0.0, self._usage_deadline - now)
