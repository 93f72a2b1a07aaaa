"""HttpClient: HTTP/1.1 requests whose response bodies are passed on as they arrive, over a pool of connections.

A read goes from the socket through the parser to the caller's sink in one call: no queue, no task switch. Errors are
`UpstreamError`s, with the cause in `__cause__`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from ..errors import UpstreamUnavailable
from .http_exchange import Response, Sink
from .provider_connection import Origin, ProviderConnection, is_stale_connection
from .provider_errors import ProviderError

MAX_IDLE_PER_ORIGIN = 1000  # idle connections that are kept
MAX_IDLE_SECONDS = 30.0  # for which an idle connection is kept


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """The parts of an http:// or https:// address that a request needs."""

    origin: Origin
    host_header: str
    path: str  # with the query

    @classmethod
    def parse(cls, text: str) -> HttpUrl:
        """Parse an address. Raises `ValueError` where it is not an http:// or https:// address."""
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is not an http:// or https:// address")
        tls = parts.scheme == "https"
        origin = (parts.hostname, parts.port or (443 if tls else 80), tls)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(origin, parts.netloc.rpartition("@")[2], path)


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """All of a request but its body; prepared once, sent often."""

    origin: Origin
    head: bytes  # a POST still lacks its length

    @classmethod
    def prepare(cls, method: str, url: HttpUrl, headers: Mapping[str, str]) -> PreparedRequest:
        """Encode the request line and the headers. Raises `ValueError` where a header has a line end in it."""
        fields = {"Host": url.host_header, **headers, "Accept-Encoding": "identity"}
        if method == "POST":
            fields["Content-Type"] = "application/json"
        lines = [f"{method} {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header with a line end in it")
        return cls(url.origin, "\r\n".join([*lines, ""]).encode("latin-1"))

    def with_body(self, body: bytes) -> bytes:
        """The bytes of the whole request."""
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body) if body else self.head + b"\r\n"


class HttpClient:
    """A pool of connections by origin, used again where they can be."""

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        max_idle: float = MAX_IDLE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`ssl_context` is for tests; by default, what the system trusts is trusted. Times are in seconds."""
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._ssl_context = ssl_context
        self._idle: dict[Origin, list[ProviderConnection]] = {}
        self._connections: set[ProviderConnection] = set()

    async def send(
        self, request: PreparedRequest, sink: Sink, *, body: Callable[[], bytes] = bytes, stall_timeout: float
    ) -> Response:
        """Send a request once, and pass the body of a 200 to `sink`; that of another status is in the response.

        Where a reused connection turns out to be closed (`is_stale_connection`), those that have been idle for longer
        are closed too, and the next request goes out on a fresh one. Cancelling closes the connection.

        Args:
            request: What to send, but for the body.
            sink: Receives the body of a 200 as it arrives.
            body: Makes the request's body; what it returns is not kept while the answer arrives.
            stall_timeout: How many seconds may pass without a byte.

        Raises:
            UpstreamUnavailable: No connection can be made, or it is closed before the answer's end.
            UpstreamStalled: No byte came for `stall_timeout` seconds.
        """
        connection = self._acquire_idle(request.origin) or await self._connect(request.origin)
        try:
            return await connection.send(request.with_body(body()), sink, stall_timeout)
        except UpstreamUnavailable as error:
            if is_stale_connection(error):
                self._close_idle(request.origin)
            raise

    def close(self) -> None:
        """Close every connection, the busy ones too."""
        self._idle.clear()
        for connection in list(self._connections):
            error = UpstreamUnavailable()
            error.__cause__ = ProviderError("the server ends")
            connection.fail(error)

    async def _connect(self, origin: Origin) -> ProviderConnection:
        host, port, tls = origin
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    partial(ProviderConnection, origin, self),
                    host,
                    port,
                    ssl=self._get_ssl_context() if tls else None,
                )
        except (OSError, UnicodeError) as error:  # TLS faults and TimeoutError are OSErrors; a host may not be a name
            raise UpstreamUnavailable from error
        if connection.usable:  # it may be closed already: then `on_closed` was called
            self._connections.add(connection)
        return connection

    def on_idle(self, connection: ProviderConnection) -> None:
        """Keep a connection for the next request, unless there are enough of them."""
        connections = self._idle.setdefault(connection.origin, [])
        if len(connections) >= MAX_IDLE_PER_ORIGIN:
            connections[:] = [idle for idle in connections if idle.usable]
        if len(connections) < MAX_IDLE_PER_ORIGIN:
            connection.keep_idle(self._max_idle)
            connections.append(connection)
        else:
            connection.close()

    def on_closed(self, connection: ProviderConnection) -> None:
        """Forget a closed connection."""
        self._connections.discard(connection)

    def _acquire_idle(self, origin: Origin) -> ProviderConnection | None:
        connections = self._idle.get(origin, [])
        while connections:
            connection = connections.pop()
            if connection.usable and not connection.has_unread_data:
                return connection
            connection.close()
        return None

    def _close_idle(self, origin: Origin) -> None:
        for connection in self._idle.pop(origin, []):
            connection.close()

    def _get_ssl_context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context
