"""Metrics page: `/metrics`, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .authentication import require_right
from .responses import COMMON_HEADERS

PATH = "/metrics"

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""Returns the page and its content type for an `Accept` header."""


def metrics_route(render: Render) -> Route:
    """Return the route, for whoever has the right `metrics`, as programs on this machine have."""

    async def metrics(request: Request) -> Response:
        require_right(request, "metrics")
        body, content_type = render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"} | COMMON_HEADERS)

    return Route(PATH, metrics)
