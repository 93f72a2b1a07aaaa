"""HTTP connection: every connection, until its first request turns out to be a WebSocket handshake.

uvicorn's protocol with limits, which it has none of: for the size and the time of a head and a body, for the number
of pipelined requests, and for a client that does not read. The internals of uvicorn and httptools that it relies on
are listed in tests/server/test_internals.py.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ..http.ai_completion import ResponseAbortedError
from ..http.responses import encode_json, json_headers
from ..metrics import RefusalReason
from .connection_limits import ConnectionAdmission
from .proxies import find_sender
from .refusals import LIMIT_REASONS
from .websocket import WebSocket

if TYPE_CHECKING:
    from .acceptor import Acceptor

MAX_PIPELINED_REQUESTS = 16  # that wait for the responses to earlier ones
LINGER_SECONDS = 2.0  # for which a refused client's data is still read, or it may never see the response
OVER_LIMIT_RESPONSES = {
    "server": (HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections."),
    "address": (HTTPStatus.TOO_MANY_REQUESTS, "There are too many connections from this address."),
}
REFUSAL_REASONS: dict[HTTPStatus, RefusalReason] = {
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "pipeline_limit",
}
LIMIT_EXEMPT_PATH = b"/healthz"  # an orchestrator must not kill a server for being full


class ExpectedInput(Enum):
    """What the client is to send next."""

    REQUEST = auto()
    HEAD = auto()  # the rest of a head
    BODY = auto()


class HttpConnection(HttpToolsProtocol):
    """HTTP/1.1 requests and responses; at a WebSocket handshake the transport is handed over."""

    parser: httptools.HttpRequestParser

    def __init__(
        self, acceptor: Acceptor, socket: WebSocket, admission: ConnectionAdmission, address: str, *, proxy: str | None
    ) -> None:
        """`socket` takes over at a WebSocket handshake; `admission` counts the connection of this client's address.

        `proxy` is the address of the trusted proxy that has opened it (empty for a Unix socket), if one has.
        """
        super().__init__(acceptor.config, acceptor.state, {})
        self.logger = _logger
        self.access_log = False  # a host program may have handlers for that
        self._acceptor = acceptor
        self._limits = acceptor.limits
        self._socket = socket
        self._admission = admission
        self._address = admission.interned_address(address)
        self._proxy = proxy
        self._secure = False  # whether the client has sent the current request over HTTPS
        self._expecting = ExpectedInput.REQUEST
        self._timer: asyncio.TimerHandle | None = None  # of the expected input
        self._request_count = 0
        self.url = b""
        self._head_bytes = 0  # received of the current head
        self._body_bytes = 0  # received of the current body
        self._framing_bytes = 0  # received of chunk sizes and trailers of the current body
        self._refused = False  # an error was sent, and further input is discarded
        self._current_cycle: RequestResponseCycle | None = None  # is being answered; `cycle` is the newest request

    @property
    def is_new(self) -> bool:
        """Whether its first request has not arrived yet."""
        return self._request_count == 0 or (self._request_count == 1 and self._expecting is ExpectedInput.HEAD)

    # --- the connection (asyncio calls these) ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start. uvicorn's own method asks uvloop for the socket, which costs half a kilobyte for each connection."""
        self.transport = transport
        self.flow = FlowControl(transport)
        self.connections.add(self)
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._secure = self.scheme == "https"
        transport.set_write_buffer_limits(high=1)  # not 0, which asyncio treats as always full with TLS
        self._expect(ExpectedInput.REQUEST, max_seconds=self._limits.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Disconnect the request that is being answered, and count the connection as lost."""
        self._stop_timers()
        self._admission.release()
        if self._current_cycle is not None:  # uvicorn disconnects the newest request only
            self._current_cycle.disconnected = True
            self._current_cycle.message_event.set()
        super().connection_lost(exc)
        self._acceptor.remove(self)
        self._socket.break_cycles()

    def pause_writing(self) -> None:
        """Watch whether the client still reads: the transport's buffer is full."""
        super().pause_writing()
        self._acceptor.keepalive.paused(self)

    def resume_writing(self) -> None:
        """Stop watching: the transport's buffer has room again."""
        super().resume_writing()
        self._acceptor.keepalive.resumed(self)

    def close_stalled(self) -> None:
        """Abort the connection: the client has read nothing for too long."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse a head or chunk framing that is too large."""
        if self._refused:
            return
        before, requests, body = self._expecting, self._request_count, self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._handle_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
            return
        if self._expecting is ExpectedInput.HEAD:
            if before is ExpectedInput.HEAD or (
                before is ExpectedInput.REQUEST and self._request_count == requests + 1
            ):
                self._head_bytes += len(data)  # else most of it belongs to another request
            if self._head_bytes > self._limits.head_bytes:
                self._refuse_head()
        elif self._expecting is ExpectedInput.BODY and self._body_bytes == body:
            self._framing_bytes += len(data)
            if self._framing_bytes > self._limits.head_bytes:
                self._refuse_body()

    # --- requests (the parser calls these) ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start counting a request."""
        if self._refused:
            return
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._request_count += 1
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        self._expect(ExpectedInput.HEAD, max_seconds=self._limits.head_timeout)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; trailers are ignored."""
        if self._expecting is ExpectedInput.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse the request by its head, or start its response."""
        if self._refused:
            return
        if len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > self._limits.head_bytes:
            self._refuse_head()
            return
        self._read_target()
        self._find_client()
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self._refuse(HTTPStatus.BAD_REQUEST, "HTTP/1.1 is spoken here.")  # not 505: operators are called for 5xx
        elif self.parser.should_upgrade():
            pass  # the parser stops after this head, see `data_received`
        elif self._admission.excess is not None and self.url.partition(b"?")[0] != LIMIT_EXEMPT_PATH:
            self._refuse(*OVER_LIMIT_RESPONSES[self._admission.excess], retry_after=True)
        elif _content_length(self.headers) > self._limits.body_bytes:
            self._refuse_body()
        elif len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests wait on this connection.")
        else:
            self._begin_response()

    def _read_target(self) -> None:
        """Replace the `Host` header by the host of a target that is an absolute URL (RFC 9112, 3.2.2)."""
        if self.url.startswith((b"/", b"*")) or self.parser.get_method() == b"CONNECT":
            return
        url = httptools.parse_url(self.url)
        host = url.host or b""
        name = b"%b@" % url.userinfo if url.userinfo else b""  # not allowed there: the access policy refuses it
        name += b"[%b]" % host if b":" in host else host
        name += b":%d" % url.port if url.port else b""
        self.headers[:] = [(b"host", name), *(field for field in self.headers if field[0] != b"host")]
        self.url = (url.path or b"/") + (b"?%b" % url.query if url.query else b"")

    def _find_client(self) -> None:
        """Take the client's address, scheme and host from what a trusted proxy says."""
        if self._proxy is not None:
            client = find_sender(self._proxy, self.headers, self._acceptor.proxies)
            self._readmit(client.address)
            self._secure = (client.scheme or self.scheme) == "https"
            if client.host is not None:
                host = (b"host", client.host.encode("latin-1"))
                self.headers[:] = [host, *(field for field in self.headers if field[0] != b"host")]
        self.scope["scheme"] = "https" if self._secure else "http"
        self.scope["client"] = (self._address, 0) if self._address else None

    def _readmit(self, address: str) -> None:
        """Count the connection for another address."""
        self._admission = self._acceptor.connection_limits.readmit(self._admission, address)
        self._address = self._admission.interned_address(address)

    def _begin_response(self) -> None:
        self._acceptor.default_headers()
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # uvicorn pauses, and would not see that the client leaves
        else:
            self._current_cycle = self.cycle
        self._expect(ExpectedInput.BODY, max_seconds=self._limits.body_timeout)

    def on_body(self, body: bytes) -> None:
        """Add a part of the body, unless it is too large."""
        if self._refused or self.parser.should_upgrade():
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        elif sum([len(cycle.body) for cycle, _ in self.pipeline]) + len(body) > self._limits.body_bytes:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "Too much waits on this connection.")
        else:
            super().on_body(body)
            if self.pipeline:
                self.flow.resume_reading()

    def on_message_complete(self) -> None:
        """Wait for the next request; its timer is uvicorn's while this one is being answered."""
        if self._refused or self.parser.should_upgrade():
            return
        self._expect(ExpectedInput.REQUEST, max_seconds=None if self._newest_unanswered() else self.timeout_keep_alive)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answer the next pipelined request, or wait for one."""
        if self.pipeline:
            self._current_cycle = self.pipeline[-1][0]
        super().on_response_complete()
        if self._proxy is not None and self._newest_unanswered() is None:  # the proxy keeps it for any client
            self._readmit("")
        if self._expecting is not ExpectedInput.REQUEST:
            self._unset_keepalive_if_required()

    # --- timeouts ----------------------------------------------------------------------------------------------------

    def _expect(self, what: ExpectedInput, *, max_seconds: float | None) -> None:
        """Expect this input within `max_seconds`; None: at any time."""
        self._expecting = what
        self._set_timer(max_seconds)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._expecting is ExpectedInput.REQUEST or self._refused:
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to come.")

    def _stop_timers(self) -> None:
        """Cancel all timers, and stop watching whether the client reads."""
        self._set_timer(None)
        self._unset_keepalive_if_required()
        self._acceptor.keepalive.resumed(self)

    # --- refusing ----------------------------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        message = f"The request's head may have {self._limits.head_bytes} bytes."
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def _refuse_body(self) -> None:
        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have {self._limits.body_bytes} bytes.")

    def _refuse(self, status: HTTPStatus, message: str, *, retry_after: bool = False) -> None:
        """Answer the request that is being received by an error, and close the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._record_refusal(status)
        self._unset_keepalive_if_required()
        responding = self._expecting is ExpectedInput.BODY  # the application has the request
        if responding and self.pipeline:  # or it is pipelined, and never will have it
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else cast(RequestResponseCycle, self._current_cycle)
            responding = False
        cycle = self._newest_unanswered()
        if cycle is not None:
            if not responding:  # earlier requests are answered, then the connection is closed
                cycle.keep_alive = False
                self._set_timer(None)
                return
            if cycle.response_started:  # too late for an error
                self.transport.close()
                return
            cycle.disconnected = True  # discards what the application still sends
            cycle.message_event.set()
        elif responding:  # it was answered before its body was complete
            self.transport.close()
            return
        self._write_error(status, message, retry_after=retry_after)

    def _record_refusal(self, status: HTTPStatus) -> None:
        excess = self._admission.excess
        reason = REFUSAL_REASONS.get(status, "invalid_request") if excess is None else LIMIT_REASONS[excess]
        self._acceptor.refusals.record(reason, address=self._address, status=status.value)

    def _write_error(self, status: HTTPStatus, message: str, *, retry_after: bool) -> None:
        body = encode_json({"error": message})
        head = [*self._acceptor.default_headers(), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        head += [(name.lower().encode(), value.encode()) for name, value in json_headers().items()]
        head += [(b"retry-after", b"1")] if retry_after else []
        path = self.url.partition(b"?")[0].decode("latin-1")
        head += self._acceptor.cors_headers(self.headers or [], path, secure=self._secure)
        lines = b"".join([b"%b: %b\r\n" % field for field in head])
        body = b"" if self.parser.get_method() == b"HEAD" else body
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        if self.transport.can_write_eof():
            with suppress(OSError):  # the connection is lost
                self.transport.write_eof()
            self._set_timer(LINGER_SECONDS)
        else:
            self.transport.close()

    def _newest_unanswered(self) -> RequestResponseCycle | None:
        """Return the newest request unless it is answered."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return None if cycle is None or cycle.response_complete else cycle

    # --- upgrades ----------------------------------------------------------------------------------------------------

    def _handle_upgrade(self, rest: bytes) -> None:
        """Handle a request that offers another protocol; the parser has stopped after its head."""
        if self._refused:
            return
        if self.parser.get_method() == b"CONNECT":
            self._refuse(HTTPStatus.BAD_REQUEST, "This is no proxy.")
        elif self._is_handshake() and self._newest_unanswered() is None:
            self.handle_websocket_upgrade(rest)
        else:  # ignore the offer, as the standard allows
            headers = [field for field in self.headers if field[0] != b"upgrade"]
            head = self._request_head(headers)
            self.parser = httptools.HttpRequestParser(self)
            self._expecting = ExpectedInput.REQUEST
            self.data_received(head + rest)

    def _is_handshake(self) -> bool:
        """Return whether the request is a WebSocket handshake: a GET by HTTP/1.1, without a body."""
        offered = b",".join([value for name, value in self.headers if name == b"upgrade"]).lower().split(b",")
        return (
            b"websocket" in [protocol.strip() for protocol in offered]
            and self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and all(value == b"0" for name, value in self.headers if name == b"content-length")
            and all(name != b"transfer-encoding" for name, _ in self.headers)
        )

    def handle_websocket_upgrade(self, rest: bytes = b"") -> None:
        """Hand the transport over to the WebSocket, with the request's head and the bytes after it."""
        head = self._request_head(self.headers)
        self._stop_timers()
        self._acceptor.remove(self)
        self.flow.resume_reading()
        self.parser = None  # type: ignore[assignment]  # it is a reference cycle
        self._socket.start_handshake(
            self.transport,
            self._admission,
            self._address,
            head,
            rest,
            secure=self._secure,
            paused=self.flow.write_paused,
        )

    def _request_head(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Rebuild the head as it was parsed, so that the next parser can't read it differently."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in headers]
        return b"\r\n".join([*lines, b"", b""])


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the announced length of a body; the parser has checked that it is a number."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


class _UvicornLogFilter(logging.Filter):
    """Logs requests that failed as `request_failed`, in place of uvicorn's messages; not those aborted on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(cause, ResponseAbortedError | asyncio.CancelledError):
            return False
        record.msg, record.args = "request_failed", ()
        return True


_logger = logging.getLogger(__name__)
_logger.addFilter(_UvicornLogFilter())
