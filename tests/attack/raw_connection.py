"""Raw connection: bytes to a server to the letter, and what comes back."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

KEPT = 512 * 1024  # bytes of what comes back
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
HANDSHAKE_HEADERS = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def head(method: str, target: str, *headers: str, host: str | None = "127.0.0.1") -> bytes:
    """Return the head of a request, with these headers as they are."""
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def handshake(query: str = "", *headers: str, host: str = "127.0.0.1", path: str = "/v1/chat") -> bytes:
    """Return a handshake."""
    return head("GET", path + query, *HANDSHAKE_HEADERS, *headers, host=host)


def frame(
    payload: bytes, kind: int = TEXT, *, flags: int = 0x80, masked: bool = True, length: int | None = None
) -> bytes:
    """Return a frame with these flags (0x80: the last of its message), which may announce another length."""
    size = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    if size < 126:
        start = struct.pack("!BB", flags | kind, mask | size)
    elif size < 1 << 16:
        start = struct.pack("!BBH", flags | kind, mask | 126, size)
    else:
        start = struct.pack("!BBQ", flags | kind, mask | 127, size)
    return start + (bytes(4) if masked else b"") + payload  # a mask of zeros changes nothing


@dataclass
class RawConnection:
    """A TCP connection; `received` is the beginning of what the server has sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes, *, seconds: float = 5.0) -> None:
        """Send bytes. Raises OSError, TimeoutError."""
        self.writer.write(data)
        async with asyncio.timeout(seconds):
            await self.writer.drain()

    async def read(self, *, seconds: float) -> bool:
        """Read what comes for so long; returns whether the server has ended the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        data = await self.reader.read(1 << 16)
                    except OSError:
                        return True
                    if not data:
                        return True
                    self._keep(data)
        return False

    async def read_until(self, wanted: bytes, *, seconds: float = 5.0) -> bool:
        """Read until these bytes came; returns whether they did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while wanted not in self.received:
                    try:
                        data = await self.reader.read(1 << 16)
                    except OSError:
                        return False
                    if not data:
                        return False
                    self._keep(data)
                return True
        return False

    def _keep(self, data: bytes) -> None:
        self.received += data[: KEPT - len(self.received)]

    @property
    def statuses(self) -> list[int]:
        """The status of each response."""
        return [int(status) for status in STATUS.findall(self.received)]

    def close(self, *, reset: bool) -> None:
        """Close it, or reset it."""
        if reset:
            with suppress(OSError, AttributeError):
                self.writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self.writer.transport.abort()
        else:
            self.writer.close()


async def dial(port: int, address: str) -> RawConnection:
    """Connect from an address of this machine. Raises OSError, TimeoutError."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    return RawConnection(reader, writer)
