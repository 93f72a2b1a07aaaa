"""Transport: how requests get to a provider. `DirectTransport` is ours and cheap; sdk.py has the openai package's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

from ..errors import UpstreamUnavailable
from .http_client import HttpClient, HttpUrl, PreparedRequest
from .http_exchange import Response, Sink
from .provider_connection import is_stale_connection

MAX_BODY_BYTES = 4 << 20  # bytes of a response that is not a stream


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds."""

    connect: float  # for a connection
    stall: float  # for the next byte


class Transport(Protocol):
    """Sends requests to a provider. Raises `UpstreamError` where there is no response, whatever its status."""

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON, once, and pass the body of a 200 to the sink. `body` is called when the request can be sent."""
        ...

    async def get(self, path: str) -> Response:
        """Fetch a response with its whole body, which must be small."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class DirectTransport:
    """A transport over our own HTTP/1.1 client."""

    def __init__(self, *, base_url: str, headers: Mapping[str, str], timeouts: Timeouts) -> None:
        self._base_url = base_url
        self._headers = headers
        self._timeouts = timeouts
        self._requests: dict[tuple[str, str], PreparedRequest] = {}
        self._http = HttpClient(connect_timeout=timeouts.connect)

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON and pass the body of a 200 to the sink."""
        request = self._prepare("POST", path)
        return self._http.send(request, sink, body=body, stall_timeout=self._timeouts.stall)

    async def get(self, path: str) -> Response:
        """Fetch a response with its body; sent again where the connection was stale, as reading changes nothing."""
        try:
            return await self._fetch(path)
        except UpstreamUnavailable as error:
            if not is_stale_connection(error):
                raise
            return await self._fetch(path)

    async def _fetch(self, path: str) -> Response:
        body = bytearray()

        def sink(data: bytes) -> float | None:
            body.extend(data)
            return 0.0 if len(body) > MAX_BODY_BYTES else None

        response = await self._http.send(self._prepare("GET", path), sink, stall_timeout=self._timeouts.stall)
        response.body = response.body or bytes(body)
        return response

    def _prepare(self, method: str, path: str) -> PreparedRequest:
        request = self._requests.get((method, path))
        if request is None:
            request = self._requests[method, path] = PreparedRequest.prepare(
                method, join_url(self._base_url, path), self._headers
            )
        return request

    async def close(self) -> None:
        """Close all connections."""
        self._http.close()


def join_url(base_url: str, path: str) -> HttpUrl:
    """The address of a path under the base; a query of the base stays at the end."""
    base, separator, query = base_url.partition("?")
    return HttpUrl.parse(base.rstrip("/") + path + separator + query)


def needs_proxy(base_url: str) -> bool:
    """Whether the environment names a proxy for this address: only the openai package can use one."""
    url = HttpUrl.parse(base_url)
    host, port, tls = url.origin
    proxies = getproxies()
    proxy = proxies.get("https" if tls else "http") or proxies.get("all")
    return bool(proxy) and not (proxy_bypass(host) or proxy_bypass(f"{host}:{port}"))
