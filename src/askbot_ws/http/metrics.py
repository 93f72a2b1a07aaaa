"""Metrics page: `/metrics`, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .responses import COMMON_HEADERS, json_response

PATH = "/metrics"
FORWARDED_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""Returns the page and its content type for an `Accept` header."""


def metrics_route(render: Render) -> Route:
    """Return the route; it answers this machine only, and nobody whom a proxy on this machine lets through."""

    async def metrics(request: Request) -> Response:
        if not _is_local(request):
            return json_response(HTTPStatus.FORBIDDEN, {"error": "the metrics are for this machine"})
        body, content_type = render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"} | COMMON_HEADERS)

    return Route(PATH, metrics)


def _is_local(request: Request) -> bool:
    """Return whether a program on this machine asks, and none for which a proxy has forwarded the request."""
    if any(name in request.headers for name in FORWARDED_HEADERS):
        return False
    address = request.client.host if request.client else ""
    return not address or ip_address(address.partition("%")[0]).is_loopback
