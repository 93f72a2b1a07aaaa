"""HttpClient: HTTP/1.1 for one purpose, a request out and the body of its response in, as it arrives.

A read goes from the socket through the parser to the caller's sink in one call: no queue, no task switch. What
goes wrong is an `UpstreamError`, with the cause in `__cause__`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from ..errors import UpstreamUnavailable
from .exchange import Connection, Place, Response, Sink, is_stale
from .faults import ProviderError

MAX_IDLE = 1000  # connections that are kept for a place
MAX_AGE = 30.0  # seconds for which an idle one is kept


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of an address that HTTP needs apart."""

    place: Place
    host: str  # for the header
    path: str  # with the query

    @classmethod
    def of(cls, text: str) -> Url:
        """Raises `ValueError` where it is not the address of a web server."""
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is not an http:// or https:// address")
        tls = parts.scheme == "https"
        place = (parts.hostname, parts.port or (443 if tls else 80), tls)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(place, parts.netloc.rpartition("@")[2], path)


@dataclass(frozen=True, slots=True)
class Request:
    """All of a request but its body; made once, sent often."""

    place: Place
    head: bytes  # a POST still lacks its length

    @classmethod
    def of(cls, method: str, url: Url, headers: Mapping[str, str]) -> Request:
        """Raises `ValueError` where a header is none."""
        fields = {"Host": url.host, **headers, "Accept-Encoding": "identity"}
        if method == "POST":
            fields["Content-Type"] = "application/json"
        lines = [f"{method} {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header with a line end in it")
        return cls(url.place, "\r\n".join([*lines, ""]).encode("latin-1"))

    def with_body(self, body: bytes) -> bytes:
        """The whole of it."""
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body) if body else self.head + b"\r\n"


class HttpClient:
    """Connections by place, used again where they can be."""

    def __init__(
        self, *, connect_timeout: float = 10.0, max_age: float = MAX_AGE, context: ssl.SSLContext | None = None
    ) -> None:
        """`context` is for tests; what the system trusts is the default. Times are in seconds."""
        self._connect_timeout = connect_timeout
        self._max_age = max_age
        self._context = context
        self._idle: dict[Place, list[Connection]] = {}
        self._open: set[Connection] = set()

    async def send(
        self, request: Request, sink: Sink, *, body: Callable[[], bytes] = bytes, patience: float
    ) -> Response:
        """Send a request and give the body of a 200 to `sink`; that of another status is in the response.

        `body` makes what is sent; it is not kept for as long as the answer takes.

        `patience` is how many seconds may pass without a byte: UpstreamStalled. Cancelling closes the connection.

        It is sent once. Where a kept connection turns out to be closed (`is_stale`), so are those that have been idle
        for longer, and the next request goes out on a fresh one.
        """
        connection = self._take(request.place) or await self._connect(request.place)
        try:
            return await connection.exchange(request.with_body(body()), sink, patience)
        except UpstreamUnavailable as error:
            if is_stale(error):
                self._close_idle(request.place)
            raise

    def close(self) -> None:
        """Close every connection, the busy ones too."""
        self._idle.clear()
        for connection in list(self._open):
            error = UpstreamUnavailable()
            error.__cause__ = ProviderError("the server ends")
            connection.fail(error)

    async def _connect(self, place: Place) -> Connection:
        host, port, tls = place
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    partial(Connection, place, self),
                    host,
                    port,
                    ssl=self._tls() if tls else None,
                )
        except (OSError, UnicodeError) as error:  # TLS faults and TimeoutError are OSErrors; a host may not be a name
            raise UpstreamUnavailable from error
        if connection.usable:  # it may be closed already: then it has said so
            self._open.add(connection)
        return connection

    def idle(self, connection: Connection) -> None:
        """It may be used again."""
        connections = self._idle.setdefault(connection.place, [])
        if len(connections) >= MAX_IDLE:
            connections[:] = [idle for idle in connections if idle.usable]
        if len(connections) < MAX_IDLE:
            connection.keep(self._max_age)
            connections.append(connection)
        else:
            connection.close()

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)

    def _take(self, place: Place) -> Connection | None:
        connections = self._idle.get(place, [])
        while connections:
            connection = connections.pop()
            if connection.usable and connection.silent:
                return connection
            connection.close()
        return None

    def _close_idle(self, place: Place) -> None:
        for connection in self._idle.pop(place, []):
            connection.close()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context
