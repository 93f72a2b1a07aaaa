"""Transport: how requests get to a provider. `DirectTransport` is ours and cheap; sdk.py has the openai package's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

from ..errors import UpstreamUnavailable
from .http_client import HttpClient, HttpUrl, PreparedRequest
from .http_exchange import Response, Sink
from .provider_connection import is_stale_connection

MAX_BODY_BYTES = 4 << 20  # bytes of a response that is not a stream
MAX_PREPARED_REQUESTS = 16  # that are kept: redirects may have any number of addresses
MAX_REDIRECTS = 5  # that are followed, one after the other
_REDIRECT_STATUSES = (301, 302, 307, 308)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds."""

    connect: float  # for a connection
    stall: float  # for the next byte


class Transport(Protocol):
    """Sends requests to a provider. Raises `UpstreamError` where there is no response, whatever its status.

    Redirects within a host are followed (`send_with_redirects`), and a body that is compressed with gzip or deflate is
    decompressed.
    """

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON, once, and pass the body of a success to the sink. `body` is called when it can be sent."""
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
        """Send JSON and pass the body of a success to the sink."""
        return send_with_redirects(join_url(self._base_url, path), partial(self._send, "POST", body, sink))

    async def get(self, path: str) -> Response:
        """Fetch a response with its body; sent again where the connection was stale, as reading changes nothing."""
        url = join_url(self._base_url, path)
        try:
            return await send_with_redirects(url, self._fetch)
        except UpstreamUnavailable as error:
            if not is_stale_connection(error):
                raise
            return await send_with_redirects(url, self._fetch)

    async def _fetch(self, url: str) -> Response:
        body = bytearray()

        def sink(data: bytes) -> float | None:
            body.extend(data)
            return 0.0 if len(body) > MAX_BODY_BYTES else None

        response = await self._send("GET", bytes, sink, url)
        response.body = response.body or bytes(body)
        return response

    def _send(self, method: str, body: Callable[[], bytes], sink: Sink, url: str) -> Awaitable[Response]:
        request = self._requests.get((method, url))
        if request is None:
            request = PreparedRequest.prepare(method, HttpUrl.parse(url), self._headers)
            if len(self._requests) < MAX_PREPARED_REQUESTS:
                self._requests[method, url] = request
        return self._http.send(request, sink, body=body, stall_timeout=self._timeouts.stall)

    async def close(self) -> None:
        """Close all connections."""
        self._http.close()


def join_url(base_url: str, path: str) -> str:
    """The address of a path under the base; a query of the base stays at the end."""
    base, separator, query = base_url.partition("?")
    return base.rstrip("/") + path + separator + query


async def send_with_redirects(url: str, send: Callable[[str], Awaitable[Response]]) -> Response:
    """Send a request, and send it again to where it is redirected, unchanged: a 301 or 302 makes no GET of a POST.

    A redirect to another host or port, or from https to http, is not followed, as the key goes with it; only from
    http to https a port may change. Returns the last response, which is a redirect after `MAX_REDIRECTS`.
    """
    for _ in range(MAX_REDIRECTS):
        response = await send(url)
        target = _redirect_target(url, response)
        if target is None:
            return response
        url = target
    return await send(url)


def _redirect_target(url: str, response: Response) -> str | None:
    """The address to send to instead; None where there is none, or the key must not go there."""
    location = response.headers.get("location")
    if response.status not in _REDIRECT_STATUSES or not location:
        return None
    try:
        target = urljoin(url, location)
        (host, port, tls), (new_host, new_port, new_tls) = HttpUrl.parse(url).origin, HttpUrl.parse(target).origin
    except ValueError:
        return None
    is_upgrade = new_tls and not tls
    return target if host == new_host and (is_upgrade or (port, tls) == (new_port, new_tls)) else None


def needs_proxy(base_url: str) -> bool:
    """Whether the environment names a proxy for this address: only the openai package can use one."""
    url = HttpUrl.parse(base_url)
    host, port, tls = url.origin
    proxies = getproxies()
    proxy = proxies.get("https" if tls else "http") or proxies.get("all")
    return bool(proxy) and not (proxy_bypass(host) or proxy_bypass(f"{host}:{port}"))
