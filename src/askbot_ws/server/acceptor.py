"""Acceptor: starts connections, and has the state that all connections of a server share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from weakref import WeakSet

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..http.access import Headers
from .connection_limits import ConnectionLimits
from .http_connection import HttpConnection
from .keepalive import KeepaliveMonitor
from .proxies import TrustedProxies
from .refusals import RefusalLog
from .websocket import WebSocket

SETTLE_SECONDS = 0.05  # between two looks at connections that have sent no request
REQUEST_END_TIMEOUT_SECONDS = 2.0  # for which requests of closed connections are waited for


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of an HTTP request. Times are in seconds."""

    body_bytes: int
    reader_timeout: float  # for which a client may accept none of the response
    head_bytes: int = 32 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 15.0  # between two requests


class Acceptor:
    """Starts every connection as HTTP (docs/decisions/0009)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        server: str,
        cors_headers: Callable[..., Headers],
        limits: RequestLimits,
        connection_limits: ConnectionLimits,
        keepalive: KeepaliveMonitor,
        refusals: RefusalLog,
        proxies: TrustedProxies,
    ) -> None:
        """`app` answers what is no WebSocket handshake; `server` is the value of the `Server` header.

        `cors_headers` returns the CORS headers of the response to a request with these headers, for this path;
        `secure=` says whether it came over HTTPS.
        """
        # uvicorn's defaults set up logging, print URLs with their queries, trust X-Forwarded-For and read the
        # environment. `access_log` stays, as False would remove the handlers that a host program has for it.
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
        self.refusals = refusals
        self.cors_headers = cors_headers
        self.connection_limits = connection_limits
        self.proxies = proxies
        self._server = server.encode()
        self._second = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_tls_handshake: WeakSet[WebSocket] = WeakSet()  # or between being accepted and being started
        self._no_connections = asyncio.Event()
        self._no_connections.set()

    def note_accepted(self, socket: WebSocket) -> None:
        """Note a connection that was accepted; `start_connection` follows, after its TLS handshake if there is one."""
        self._in_tls_handshake.add(socket)

    def start_connection(self, socket: WebSocket, transport: asyncio.BaseTransport) -> None:
        """Start a connection as HTTP; `socket` takes it over if its first request is a WebSocket handshake."""
        self._in_tls_handshake.discard(socket)
        peer: tuple[object, ...] | str | None = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        proxy = address if address in self.proxies else None  # whose clients are known by the heads of their requests
        client = "" if proxy is not None else address
        connection = HttpConnection(self, socket, self.connection_limits.admit(client), client, proxy=proxy)
        self._no_connections.clear()
        transport.set_protocol(connection)
        connection.connection_made(transport)  # type: ignore[arg-type]  # every transport of a stream is one

    def remove(self, connection: HttpConnection) -> None:
        """Remove an HTTP connection that was lost or became a WebSocket."""
        self.state.connections.discard(connection)
        if not self.state.connections:
            self._no_connections.set()

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of every response, with the current date."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True).encode()
            self.state.default_headers = [(b"date", date), (b"server", self._server)]
        return self.state.default_headers

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run a coroutine in a task of its own."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- shutdown ----------------------------------------------------------------------------------------------------

    async def receive_first_requests(self, *, max_seconds: float) -> None:
        """Wait until all connections that were accepted have sent their first request, or for `max_seconds`."""
        until = time.monotonic() + max_seconds
        quiet = 0
        while quiet < 2 and time.monotonic() < until:  # twice: the last request is looked at after it was received
            await asyncio.sleep(SETTLE_SECONDS)
            waiting = self._in_tls_handshake or any(map(_is_new, self.state.connections))
            quiet = 0 if waiting else quiet + 1

    def shutdown(self) -> None:
        """Close HTTP connections without a request at once, the others after their responses."""
        for connection in tuple(self.state.connections):
            connection.shutdown()

    async def close(self, *, max_seconds: float) -> None:
        """Close all HTTP connections; running responses have `max_seconds`, for their transmission too."""
        self.shutdown()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._no_connections.wait(), max_seconds)
        for connection in tuple(self.state.connections):
            connection.transport.abort()
        if self.state.tasks:
            await asyncio.wait(tuple(self.state.tasks), timeout=REQUEST_END_TIMEOUT_SECONDS)


def _is_new(connection: object) -> bool:
    return isinstance(connection, HttpConnection) and connection.is_new
