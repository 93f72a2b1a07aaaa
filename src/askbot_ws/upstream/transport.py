"""Transports: the ways to a provider. Direct is ours and cheap; the other one is the openai package (sdk.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

from ..errors import UpstreamUnavailable
from .exchange import Response, Sink, is_stale
from .http import HttpClient, Request, Url

MAX_BODY = 4 << 20  # bytes of a response that is not a stream


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds."""

    connect: float  # for a connection
    stall: float  # for the next byte


class Transport(Protocol):
    """A way to a provider. What goes wrong is an `UpstreamError`; a status is not an error here."""

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON, once; it is made when it can be sent and not kept. The body of a 200 goes to the sink."""
        ...

    async def get(self, path: str) -> Response:
        """Fetch something small."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Direct:
    """Our own HTTP/1.1."""

    def __init__(self, *, base_url: str, headers: Mapping[str, str], patience: Patience) -> None:
        self._base_url = base_url
        self._headers = headers
        self._patience = patience
        self._requests: dict[tuple[str, str], Request] = {}
        self._http = HttpClient(connect_timeout=patience.connect)

    def post(self, path: str, body: Callable[[], bytes], sink: Sink) -> Awaitable[Response]:
        """Send JSON; the body of a 200 goes to the sink."""
        request = self._request("POST", path)
        return self._http.send(request, sink, body=body, patience=self._patience.stall)

    async def get(self, path: str) -> Response:
        """Fetch something small. Asked again where the connection was stale: reading twice changes nothing."""
        try:
            return await self._fetch(path)
        except UpstreamUnavailable as error:
            if not is_stale(error):
                raise
            return await self._fetch(path)

    async def _fetch(self, path: str) -> Response:
        body = bytearray()

        def sink(data: bytes) -> float | None:
            body.extend(data)
            return 0.0 if len(body) > MAX_BODY else None

        response = await self._http.send(self._request("GET", path), sink, patience=self._patience.stall)
        response.body = response.body or bytes(body)
        return response

    def _request(self, method: str, path: str) -> Request:
        request = self._requests.get((method, path))
        if request is None:
            request = self._requests[method, path] = Request.of(method, join(self._base_url, path), self._headers)
        return request

    async def close(self) -> None:
        """Close all connections."""
        self._http.close()


def join(base_url: str, path: str) -> Url:
    """The address of something under the base; a query of the base stays behind it."""
    base, question, query = base_url.partition("?")
    return Url.of(base.rstrip("/") + path + question + query)


def needs_proxy(base_url: str) -> bool:
    """Whether the environment asks for a proxy on the way there: only the openai package knows how."""
    url = Url.of(base_url)
    host, port, tls = url.place
    proxies = getproxies()
    asked = proxies.get("https" if tls else "http") or proxies.get("all")
    return bool(asked) and not (proxy_bypass(host) or proxy_bypass(f"{host}:{port}"))
