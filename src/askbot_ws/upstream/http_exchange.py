"""HttpExchange: one request's response, parsed from the bytes that a socket reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ..errors import UpstreamUnavailable
from .content_decoder import decoding_sink
from .provider_errors import ProviderError, broken_answer

MAX_HEAD_BYTES = 1 << 16  # of a response's status line and headers
MAX_ERROR_BODY_BYTES = 1 << 16  # what is kept of the body of a status that is no success

NO_PROGRESS = -1.0

Sink: TypeAlias = Callable[[bytes], float | None]
"""Receives a piece of the body. Returns None for more, or for how many more seconds it accepts data; 0: no more.

`NO_PROGRESS`: more, but this piece counts as silence.
"""


@dataclass(slots=True)
class Response:
    """A response's status; where that is no success, its headers (names in lower case) and the body's beginning."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        """Whether the status is 200 or another of its kind."""
        return 200 <= self.status < 300


class HttpExchange:
    """The response to one request: parses bytes, and passes the body of a success to the sink."""

    __slots__ = (
        "_body_length_known",
        "_body_parts",
        "_head_bytes",
        "_head_complete",
        "_head_noted",
        "_parser",
        "_sink",
        "ended",
        "on_body",
        "response",
        "reusable",
        "started",
    )

    def __init__(self, sink: Sink) -> None:
        self.response = Response()
        self.started = False  # a byte was received
        self.ended = False  # the body is complete
        self.reusable = False  # another request may follow on the same connection
        self._sink = sink
        self._head_complete = False
        self._head_noted = False  # a read ended behind it, or in the body
        self._body_length_known = False  # else the body ends with the connection
        self._head_bytes = 0
        self._body_parts: list[bytes] = []
        self.on_body = self._body_parts.append  # one read may hold many chunks of the body
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> float | None:
        """Parse what a read brought. Returns what the sink returned.

        Where the sink was not called, the head counts as progress, bytes between the parts of the body do not.

        Raises `UpstreamUnavailable` where it is not HTTP/1.1, after what came before the fault was passed on, and
        whatever the sink raises.
        """
        self.started = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.reusable = False
            if not self.ended:
                if parts := self._body_parts:
                    self._sink(b"".join(parts))
                raise UpstreamUnavailable from ProviderError(f"the answer is not HTTP/1.1: {error}")
        if not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise UpstreamUnavailable from ProviderError("the response's headers do not end")
        parts = self._body_parts
        if not parts:
            return self._head_progress()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return self._sink(body)

    def _head_progress(self) -> float | None:
        if self._head_noted:
            return NO_PROGRESS
        self._head_noted = self._head_complete
        return None

    def refuse_more_body(self) -> None:
        """From now on, raise `UpstreamUnavailable` for any more of the body: it may only end."""
        self._sink = _refuse

    def close(self) -> None:
        """Parse no more. It refers to itself, by parser and sink: else only a garbage collection would free it."""
        del self._parser
        self._sink = _refuse

    def ends_at_eof(self) -> bool:
        """Whether the end of the connection is the end of this body."""
        return self._head_complete and not self._body_length_known

    def _keep_error_body(self, body: bytes) -> float | None:
        self.response.body = (self.response.body + body)[:MAX_ERROR_BODY_BYTES]
        return 0.0 if len(self.response.body) == MAX_ERROR_BODY_BYTES else None

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        """Raise ValueError where a second response begins: one request was sent."""
        if self.ended:
            raise ValueError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; those behind the body are ignored."""
        if not self._head_complete:
            self.response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Read the status, and from it where the body goes."""
        self.response.status = self._parser.get_status_code()
        self._head_complete = self.response.status >= 200
        headers = self.response.headers
        self._body_length_known = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
        if not self._head_complete:
            return
        sink = self._sink if self.response.is_success else self._keep_error_body
        self._sink = decoding_sink(sink, headers.get("content-encoding", ""))
        if self.response.is_success:
            headers.clear()  # kilobytes, for as long as the answer takes

    def on_message_complete(self) -> None:
        """Note the end of the body; after a 1xx, the response itself follows."""
        if self._head_complete:
            self.ended = True
            self.reusable = self._parser.should_keep_alive()
        else:
            self.response.headers.clear()


def _refuse(body: bytes) -> None:
    raise broken_answer(f"{len(body)} bytes after the end of the answer")
