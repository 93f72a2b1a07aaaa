"""Readers that are slow but steady are served, those that have stopped are not; over every way to the server.

How slow a steady one may be is a matter of what can be seen from here: with TLS a reader takes 16 KiB at once, and what
is taken of a Unix socket shows in steps of 32 KiB. So those here take some more than that in each reader's time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable

from websockets.frames import Frame, Opcode

from askbot_ws.testing import ScriptedUpstream

from ..http.raw_requests import lines
from ..process import eventually
from .test_connections import HANDSHAKE, HOST, asking
from .transports import Way

READER_TIMEOUT = 1.2  # seconds
STEADY = 3.6  # seconds: three times as long
MUCH = ["0123456789" * 1000] * 300  # three megabytes
ASK = lines("GET", "/v1/chat", *HANDSHAKE) + Frame(Opcode.TEXT, b'{"type":"ask","text":"Much?"}').serialize(mask=True)


class SlowClient:
    """Reads a kilobyte now and then, in a thread of its own, whose kernel keeps little for it."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._stop = threading.Event()
        self.taken = 0
        self.ended = False  # by the server
        self._pause = 0.025 if way.kind == "unix" else 0.05

    def talk(self, sent: bytes) -> None:
        """Send this, and read on until told to stop."""
        with self._connected() as connection:
            connection.sendall(sent)
            while not self._stop.wait(self._pause):
                try:
                    data = connection.recv(1024)
                except OSError:
                    data = b""
                if not data:
                    self.ended = True
                    return
                self.taken += len(data)
            self._stop.clear()
            self._stop.wait(30)

    def _connected(self) -> socket.socket:
        if self._way.kind == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self._way.folder / "socket"))
            return connection
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self._way.server.port))
        trusting: ssl.SSLContext | None = self._way.trusting
        return trusting.wrap_socket(connection, server_hostname="127.0.0.1") if trusting else connection

    def stop(self) -> None:
        """Read no more (first time); be gone (second time)."""
        self._stop.set()


async def served_as_long_as_it_reads(way: Way, sent: bytes, is_served: Callable[[], bool]) -> None:
    """Play one: it is served while it reads, and not for long when it has stopped."""
    client = SlowClient(way)
    reading = asyncio.create_task(asyncio.to_thread(client.talk, sent))
    await eventually(is_served)
    await asyncio.sleep(STEADY)
    assert is_served(), f"ended after {client.taken} bytes"
    assert not client.ended
    assert client.taken > 30_000
    client.stop()
    begun = time.monotonic()
    await eventually(lambda: not is_served())
    assert time.monotonic() - begun > READER_TIMEOUT / 2  # from when it was last seen to take something
    client.stop()
    await reading


def test_who_reads_slowly_is_served_and_who_has_stopped_is_not(way: Way) -> None:
    """A WebSocket and a response: both end only where nothing was taken for `reader_timeout`; then the model stops."""

    async def case(way: Way) -> None:
        upstream = ScriptedUpstream([*MUCH, asyncio.Event()], [*MUCH, asyncio.Event()])
        async with way.serving(upstream, reader_timeout=READER_TIMEOUT) as server:
            await asyncio.gather(
                served_as_long_as_it_reads(way, ASK, lambda: server.connection_count == 1),
                served_as_long_as_it_reads(way, asking("Much?"), lambda: len(server.acceptor.state.tasks) == 1),
            )
            assert upstream.stopped == 1

    way.run(case)


def test_a_file_that_is_not_read(way: Way) -> None:
    """Also where the response was complete long ago, and the connection is only to be closed."""

    async def case(way: Way) -> None:
        async with way.serving(reader_timeout=0.3) as server:
            client = SlowClient(way)
            client.stop()
            sent = lines("GET", "/asyncapi.json", HOST) * 15 + lines("GET", "/asyncapi.json", HOST, "Connection: close")
            reading = asyncio.create_task(asyncio.to_thread(client.talk, sent))
            await eventually(lambda: server.acceptor.connection_limits.count == 1)
            await eventually(lambda: server.acceptor.connection_limits.count == 0)
            client.stop()
            await reading

    way.run(case)
