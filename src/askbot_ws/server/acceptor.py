"""Acceptor: what all connections of one server share, and the beginning of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..http.access import Headers
from .connection_limits import ConnectionLimits
from .http_connection import HttpConnection
from .keepalive import KeepaliveMonitor
from .websocket import WebSocket

REQUEST_END_TIMEOUT_SECONDS = 2.0  # seconds that requests of connections which are gone have to end


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may take. Times are in seconds."""

    body_bytes: int  # bytes
    reader_timeout: float  # that a client may take nothing of what is sent to it
    head_bytes: int = 32 * 1024  # bytes
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 15.0  # between two requests


class Acceptor:
    """Begins every connection as HTTP, the only thing that is known of it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        server: str,
        cors_headers: Callable[[Headers, str], Headers],
        limits: RequestLimits,
        connection_limits: ConnectionLimits,
        keepalive: KeepaliveMonitor,
    ) -> None:
        """`app` answers what is no WebSocket handshake; `server` is the header of that name.

        `sharing` gives the headers by which a page may read our answer to a request with these headers and this path.
        """
        # Not its defaults: they set up logging, print addresses with their queries, trust X-Forwarded-For, and read
        # the environment. `access_log` stays, as False would take away the handlers that a host program has for it.
        self.config = Config(
            app,
            loop="none",
            http=HttpConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            forwarded_allow_ips=[],
            workers=1,
            timeout_keep_alive=int(limits.idle_timeout),
        )
        self.config.load()
        self.state = ServerState()
        self.limits = limits
        self.keepalive = keepalive
        self.cors_headers = cors_headers
        self.connection_limits = connection_limits
        self._server = server.encode()
        self._second = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._no_connections = asyncio.Event()
        self._no_connections.set()

    def accept(self, socket: WebSocket, transport: asyncio.BaseTransport) -> None:
        """A connection begins. Its first request decides whether it becomes this socket's."""
        peer: tuple[object, ...] | str | None = transport.get_extra_info("peername")
        admission = self.connection_limits.admit(str(peer[0]) if isinstance(peer, tuple) else "")
        connection = HttpConnection(self, socket, admission)
        self._no_connections.clear()
        transport.set_protocol(connection)
        connection.connection_made(transport)  # type: ignore[arg-type]  # every transport of a stream is one

    def remove(self, connection: HttpConnection) -> None:
        """It is gone, or speaks no HTTP any more."""
        self.state.connections.discard(connection)
        if not self.state.connections:
            self._no_connections.set()

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Those of every response, as of now."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True).encode()
            self.state.default_headers = [(b"date", date), (b"server", self._server)]
        return self.state.default_headers

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run something for a connection, beside it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the end -----------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close HTTP connections on which nothing is asked, the others after the responses that are being made."""
        for connection in tuple(self.state.connections):
            connection.shutdown()

    async def close(self, *, max_seconds: float) -> None:
        """End all HTTP connections; what is being answered has so many seconds, and to be taken by its client, too."""
        self.shutdown()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._no_connections.wait(), max_seconds)
        for connection in tuple(self.state.connections):
            connection.transport.abort()
        if self.state.tasks:
            await asyncio.wait(tuple(self.state.tasks), timeout=REQUEST_END_TIMEOUT_SECONDS)
