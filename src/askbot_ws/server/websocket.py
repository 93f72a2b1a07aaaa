"""WebSocket: a server connection of `websockets` to which frames are written without waiting."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.protocol import CONNECTING, OPEN
from websockets.server import ServerProtocol

from ..core.principal import ANONYMOUS, Principal
from ..http.access import Headers

if TYPE_CHECKING:
    from .acceptor import Acceptor
    from .connection_limits import ConnectionAdmission

MAX_PONG_BYTES = 64 * 1024  # buffered for a client that does not read; then its pings are not read either
STALLED_CLOSE_SECONDS = 10.0  # that a client which does not read has to accept its close frame
SHORT_HEADERS = [bytes((0x81, length)) for length in range(126)]  # of text frames, by their length


def text_header(length: int) -> bytes:
    """Return the header of an unfragmented text frame of a server, with this many bytes (RFC 6455, 5.2)."""
    if length < 126:
        return SHORT_HEADERS[length]
    return struct.pack("!BBH", 0x81, 126, length) if length < 1 << 16 else struct.pack("!BBQ", 0x81, 127, length)


def allow_opening_after_close(listener: Server) -> None:
    """Let connections that a listener has accepted be opened after it is closed: `websockets` would refuse them."""
    setattr(listener, "is_serving", lambda: True)  # noqa: B010 - no type checker takes an assignment to a method


class WebSocket(ServerConnection):
    """A connection without a send queue: `writable` is whether its transport has room.

    `websockets` makes one for each accepted connection. It is idle until the first request turns out to be a handshake
    (`start_handshake`); before that, or instead, the transport is an `HttpConnection`'s.
    """

    # Slots: what is read for each token is close together, and found without a dictionary.
    __slots__ = (
        "_acceptor", "_early_data", "_pong_bytes", "_uncompressed", "access_headers", "admission", "client_address",
        "loop", "on_writable", "open", "paused_at", "principal", "rejection", "secure", "sent_at", "transport",
    )  # fmt: skip

    on_writable: Callable[[], None] | None
    open: bool  # from the handshake to the first close frame
    paused_at: float | None  # since when its transport has no room; None: it has
    secure: bool  # whether the client is connected over TLS, to us or to a trusted proxy
    sent_at: float  # when anything was last sent; 0: nothing was
    admission: ConnectionAdmission  # counts it
    client_address: str  # an IP address, also behind a trusted proxy; empty where there is none (Unix sockets)
    access_headers: Headers  # of a page's handshake: `Host` and `Origin`, by which it was accepted
    principal: Principal  # that the handshake names
    rejection: tuple[int, str] | None  # code and reason of its close, where its credential is not accepted
    _acceptor: Acceptor
    _early_data: bytes | None  # what arrived right after the handshake; None: the handshake is answered
    _uncompressed: bool  # open and without compression: frames are written as they are
    _pong_bytes: int  # of pongs that were written since the transport has no room

    def __init__(self, protocol: ServerProtocol, server: Server, *, acceptor: Acceptor, **options: Any) -> None:  # noqa: ANN401
        """`options` are those with which `websockets` makes a connection."""
        super().__init__(protocol, server, **options)
        self._acceptor = acceptor
        acceptor.note_accepted(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the acceptor start the connection as HTTP (asyncio calls this)."""
        self._acceptor.start_connection(self, transport)

    def start_handshake(
        self,
        transport: asyncio.Transport,
        admission: ConnectionAdmission,
        address: str,
        head: bytes,
        early_data: bytes,
        *,
        secure: bool,
        paused: bool,
    ) -> None:
        """Take over a connection on which a handshake with this head arrived, and `early_data` right after it.

        `secure`: the client has sent it over TLS, to us or to a trusted proxy. `paused`: the transport has no room, as
        an earlier response is still in its buffer.
        """
        self.on_writable = self.paused_at = None
        self.open = self._uncompressed = False
        self.sent_at, self._pong_bytes = 0.0, 0
        self.admission = admission
        self.client_address = address
        self.secure = secure
        self.access_headers, self.principal, self.rejection = (), ANONYMOUS, None
        transport.set_protocol(self)
        if paused:  # before the next calls, which may resume it
            self.pause_writing()
        super().connection_made(transport)
        transport.pause_reading()  # `websockets` parses what arrives before its response as frames, and raises
        self._early_data = early_data
        super().data_received(head)
        if self.request is None:  # `websockets` could not parse it, and waits for the client to close
            self._close_transport()

    def pause_writing(self) -> None:
        """Note that the transport has no room (asyncio calls this)."""
        super().pause_writing()
        self.paused_at = self.loop.time()
        self._acceptor.keepalive.paused(self)

    def resume_writing(self) -> None:
        """Note that the transport has room again (asyncio calls this)."""
        super().resume_writing()
        self.paused_at = None
        self._acceptor.keepalive.resumed(self)
        if self._pong_bytes > MAX_PONG_BYTES and not self.recv_messages.paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._pong_bytes = 0
        if self.on_writable is not None:
            self.on_writable()

    def data_received(self, data: bytes) -> None:
        """Parse data (asyncio calls this); stop reading where pongs fill the send buffer."""
        buffered = self.transport.get_write_buffer_size()
        super().data_received(data)
        if self.paused_at is not None:  # `websockets` answers pings even if the client does not read
            self._pong_bytes += max(0, self.transport.get_write_buffer_size() - buffered)
            if self._pong_bytes > MAX_PONG_BYTES:
                self.transport.pause_reading()

    def eof_received(self) -> None:
        """Handle the end of the client's data (asyncio calls this)."""
        if self.protocol.state is CONNECTING:  # `websockets` would raise at its own refusal, and log an error
            self.transport.abort()
        else:
            super().eof_received()

    def send_data(self) -> None:
        """Send the protocol's output. `websockets` calls this after each call that may open or close the connection."""
        self.open = self.protocol.state is OPEN
        self._uncompressed = self.open and not self.protocol.extensions
        early = self._early_data
        if early is None or self.response is None:
            super().send_data()
            return
        self._early_data = None  # the handshake is answered
        if not self.transport.is_closing():
            self.transport.resume_reading()  # first: to close, TLS must receive the other side's close_notify
        super().send_data()
        if not self.open:
            self._close_transport()
        elif early and not self.transport.is_closing():
            self.data_received(early)

    def _close_transport(self) -> None:
        if not self.transport.is_closing():  # asyncio's TLS can't be aborted after a second `close` (3.11.2: it raises)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection as lost, and wake what waits for room (asyncio calls this)."""
        super().connection_lost(exc)
        self.open = self._uncompressed = False
        self.admission.release()
        self._acceptor.keepalive.resumed(self)
        if self.on_writable is not None:
            self.on_writable()
            self.on_writable = None
        self.break_cycles()

    def break_cycles(self) -> None:
        """Have the connection freed as soon as nobody has it: it is lost, or was never begun.

        What refers to itself is freed by the garbage collector only, which comes to old objects after minutes.
        """
        protocol = self.protocol
        protocol.parser.close()
        vars(protocol).pop("select_subprotocol", None)  # which `websockets` has bound to it
        for error in (protocol.parser_exc, protocol.handshake_exc, self.connection_exc):
            if error is not None:
                error.__traceback__ = None

    def write(self, frame: bytes) -> None:
        """Send a text frame at once. The buffer is unbounded: callers check `writable` before they write much."""
        self.sent_at = self.loop.time()
        if self._uncompressed:
            self.transport.write(text_header(len(frame)) + frame)
        elif self.open:  # `websockets` compresses
            self.protocol.send_text(frame)
            self.send_data()

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Send text frames in one write."""
        if self._uncompressed:
            self.sent_at = self.loop.time()
            self.transport.write(b"".join([part for frame in frames for part in (text_header(len(frame)), frame)]))
        else:
            for frame in frames:
                self.write(frame)

    async def close_or_abort(self, code: int, reason: str = "", *, max_seconds: float) -> None:
        """Close the connection; abort it where the other side does not answer within `max_seconds`."""
        try:
            async with asyncio.timeout(max_seconds):
                await self.close(code, reason)
        except TimeoutError:
            self.transport.abort()

    def close_stalled(self) -> None:
        """End a connection whose client has read nothing for too long; it has some seconds to read the close frame."""
        within = min(STALLED_CLOSE_SECONDS, self._acceptor.limits.reader_timeout)
        self._acceptor.spawn(self.close_or_abort(4408, "the reader was too slow for too long", max_seconds=within))

    def pop_query(self) -> str:
        """Return the query string of the handshake, and free the kilobytes of its headers."""
        query = urlsplit(self.request.path).query if self.request else ""
        for head in (self.request, self.response):
            if head is not None:
                head.headers.clear()
        return query

    @property
    def writable(self) -> bool:
        """Whether the transport has room."""
        return self.paused_at is None
