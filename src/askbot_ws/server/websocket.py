"""Socket: a WebSocket connection that is written to without waiting, and says when it can be."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.protocol import CONNECTING, OPEN
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from .acceptor import Acceptor
    from .connection_limits import Admission

MAX_PONG_BYTES = 64 * 1024  # bytes of them that are kept for one who does not read
STALLED_CLOSE_SECONDS = 10.0  # seconds that a reader which takes nothing has to take its close frame


SHORT_HEADERS = [bytes((0x81, length)) for length in range(126)]


def text_header(length: int) -> bytes:
    """What stands before a server's text frame of so many bytes, in one piece (RFC 6455, 5.2)."""
    if length < 126:
        return SHORT_HEADERS[length]
    return struct.pack("!BBH", 0x81, 126, length) if length < 1 << 16 else struct.pack("!BBQ", 0x81, 127, length)


class WebSocket(ServerConnection):
    """`websockets`' own connection. Its transport's flow control decides who lags, nothing is queued for it.

    `websockets` makes one for each connection that is accepted. It lies idle until the first request turns out to be
    a handshake (`start_handshake`); what is asked before that, or instead, is an `HttpConnection`'s.
    """

    # What a token needs lies together, and is found without a dictionary.
    __slots__ = (
        "_acceptor", "_early_data", "_pong_bytes", "_uncompressed", "admission", "loop", "on_writable", "open",
        "paused_at", "sent_at", "transport",
    )  # fmt: skip

    on_writable: Callable[[], None] | None
    open: bool  # from the handshake to the first word of a close
    paused_at: float | None  # since when its transport takes no more
    sent_at: float  # when anything was last sent
    admission: Admission  # how it is counted
    _acceptor: Acceptor
    _early_data: bytes | None  # what came behind the handshake; None: that is answered
    _uncompressed: bool  # whether frames go as they are: it is open, and nothing is compressed
    _pong_bytes: int  # bytes of pongs that were written since it takes nothing

    def __init__(self, protocol: ServerProtocol, server: Server, *, acceptor: Acceptor, **options: Any) -> None:  # noqa: ANN401
        """`options` are those that `websockets` makes a connection with."""
        super().__init__(protocol, server, **options)
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is accepted (asyncio calls it): the first request says what it will be."""
        self._acceptor.accept(self, transport)

    def start_handshake(
        self, transport: asyncio.Transport, admission: Admission, head: bytes, early_data: bytes, *, paused: bool
    ) -> None:
        """Take over a connection on which this head of a handshake came.

        `early` came right behind it. `paused`: the transport takes no more, as an earlier response is still in it.
        """
        self.on_writable = self.paused_at = None
        self.open = self._uncompressed = False
        self.sent_at, self._pong_bytes = 0.0, 0
        self.admission = admission
        transport.set_protocol(self)
        if paused:  # first, as what comes next may find that there is room again
            self.pause_writing()
        super().connection_made(transport)
        transport.pause_reading()  # what comes before the answer to a handshake, `websockets` takes for frames already,
        self._early_data = early_data  # and trips over those that are none
        super().data_received(head)
        if self.request is None:  # `websockets` does not understand it, and waits for the client to go
            transport.close()

    def pause_writing(self) -> None:
        """The transport's buffer is full (asyncio calls it)."""
        super().pause_writing()
        self.paused_at = self.loop.time()
        self._acceptor.keepalive.paused(self)

    def resume_writing(self) -> None:
        """There is room again (asyncio calls it)."""
        super().resume_writing()
        self.paused_at = None
        self._acceptor.keepalive.resumed(self)
        if self._pong_bytes > MAX_PONG_BYTES and not self.recv_messages.paused and not self.transport.is_closing():
            self.transport.resume_reading()
        self._pong_bytes = 0
        if self.on_writable is not None:
            self.on_writable()

    def data_received(self, data: bytes) -> None:
        """Something arrived (asyncio calls it)."""
        kept = self.transport.get_write_buffer_size()
        super().data_received(data)
        if self.paused_at is not None:  # `websockets` answers pings at once, whether that is read or not
            self._pong_bytes += max(0, self.transport.get_write_buffer_size() - kept)
            if self._pong_bytes > MAX_PONG_BYTES:
                self.transport.pause_reading()

    def eof_received(self) -> None:
        """The client sends no more (asyncio calls it)."""
        if self.protocol.state is CONNECTING:  # `websockets` would trip over its own refusal, and log that as an error
            self.transport.abort()
        else:
            super().eof_received()

    def send_data(self) -> None:
        """Send what the protocol has to say. `websockets` calls it after whatever may open or close the connection."""
        self.open = self.protocol.state is OPEN
        self._uncompressed = self.open and not self.protocol.extensions
        early = self._early_data
        if early is None or self.response is None:
            super().send_data()
            return
        self._early_data = None  # the handshake is answered
        if not self.transport.is_closing():
            self.transport.resume_reading()  # first: to close it, TLS has to hear the other side's farewell
        super().send_data()
        if not self.open:
            self.transport.close()
        elif early and not self.transport.is_closing():
            self.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone (asyncio calls it): nobody need wait for room any more."""
        super().connection_lost(exc)
        self.open = self._uncompressed = False
        self.admission.release()
        self._acceptor.keepalive.resumed(self)
        if self.on_writable is not None:
            self.on_writable()

    def write(self, frame: bytes) -> None:
        """Send a text frame at once: no task, no queue. Whoever writes much looks at `writable` in between."""
        self.sent_at = self.loop.time()
        if self._uncompressed:
            self.transport.write(text_header(len(frame)) + frame)
        elif self.open:  # compression: `websockets` knows how
            self.protocol.send_text(frame)
            self.send_data()

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Send frames in one write."""
        if self._uncompressed:
            self.sent_at = self.loop.time()
            self.transport.write(b"".join([part for frame in frames for part in (text_header(len(frame)), frame)]))
        else:
            for frame in frames:
                self.write(frame)

    async def close_or_abort(self, code: int, reason: str = "", *, max_seconds: float) -> None:
        """Close it, and where the other side takes no part in that, be gone all the same."""
        try:
            async with asyncio.timeout(max_seconds):
                await self.close(code, reason)
        except TimeoutError:
            self.transport.abort()

    def abort_stalled(self) -> None:
        """End it: its reader has taken nothing for too long. It gets a moment to take the close frame."""
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
    def client_address(self) -> str:
        """The IP address of the other side; empty where there is none."""
        return str(self.remote_address[0]) if self.remote_address else ""

    @property
    def writable(self) -> bool:
        """Whether the transport takes more."""
        return self.paused_at is None
