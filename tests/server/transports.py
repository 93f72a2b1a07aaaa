"""The ways by which connections come: over TCP, TLS and a Unix socket, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import trustme
import uvloop
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from askbot_ws.auth import make_authenticator
from askbot_ws.config import load
from askbot_ws.hub import Hub, Policy
from askbot_ws.server.app import Server
from askbot_ws.server.listening import bind
from askbot_ws.store.memory import MemoryStore
from askbot_ws.testing import ScriptedUpstream

from ..certificates import trusting

Case = Callable[["Way"], Awaitable[None]]


@dataclass
class Way:
    """One of them."""

    kind: Literal["tcp", "tls", "unix"]
    loop: Literal["asyncio", "uvloop"]
    folder: Path
    server: Server
    served: ssl.SSLContext | None = None
    trusting: ssl.SSLContext | None = None

    def run(self, case: Case) -> None:
        """Play a case on this loop."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if self.loop == "uvloop" else None) as runner:
            runner.run(asyncio.wait_for(_played(case, self), 30))

    @asynccontextmanager
    async def serving(self, upstream: ScriptedUpstream | None = None, **settings: object) -> AsyncGenerator[Server]:
        """A server that is reached in this way. Limits on requests: see `limited`."""
        given = load({"port": 0, "store": "memory:"} | settings, environ={})
        with self._socket() if self.kind == "unix" else bind(given) as listening:
            async with Hub(MemoryStore(), upstream or ScriptedUpstream(), Policy()) as hub:
                self.server = Server(given, hub, make_authenticator(given, hub.store))
                await self.server.listen(listening, tls=self.served)
                heartbeats = asyncio.create_task(self.server.keepalive.run())
                try:
                    yield self.server
                finally:
                    heartbeats.cancel()
                    await hub.stop()
                    await self.server.close()

    def _socket(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        (self.folder / "socket").unlink(missing_ok=True)
        listening.bind(str(self.folder / "socket"))
        listening.listen()
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return listening

    async def open(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of which nothing is known yet."""
        if self.kind == "unix":
            return await asyncio.open_unix_connection(str(self.folder / "socket"))
        return await asyncio.open_connection("127.0.0.1", self.server.port, ssl=self.trusting, **options)

    async def connect(self) -> ClientConnection:
        """A WebSocket."""
        if self.kind == "unix":
            return await unix_connect(str(self.folder / "socket"), uri="ws://127.0.0.1/v1/chat")
        scheme = "wss" if self.trusting else "ws"
        return await connect(f"{scheme}://127.0.0.1:{self.server.port}/v1/chat", ssl=self.trusting, proxy=None)


async def _played(case: Case, way: Way) -> None:
    faults: list[dict[str, Any]] = []  # of callbacks, which the loop only logs
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    await case(way)
    assert faults == []


def limited(server: Server, **limits: float) -> None:
    """Let a server's requests have other limits."""
    server.acceptor.limits = replace(server.acceptor.limits, **limits)  # type: ignore[arg-type]


AUTHORITY = trustme.CA()


def made(kind: Literal["tcp", "tls", "unix"], loop: Literal["asyncio", "uvloop"], folder: Path) -> Way:
    """A way; a Unix socket lies in the folder."""
    way = Way(kind, loop, folder, server=None)  # type: ignore[arg-type]  # until it serves
    if kind == "tls":
        way.served, way.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trusting(AUTHORITY)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(way.served)  # pyright: ignore[reportUnknownMemberType]
    return way
