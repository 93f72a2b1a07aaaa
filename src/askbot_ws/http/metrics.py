"""Metrics page: `/metrics`, for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .authentication import require_right
from .responses import COMMON_HEADERS, json_response

PATH = "/metrics"

Render: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str] | None]]
"""Returns the page and its content type for an `Accept` header; None where it can't be had now."""


def metrics_route(render: Render) -> Route:
    """Return the route, for whoever has the right `metrics`, as programs on this machine have."""

    async def metrics(request: Request) -> Response:
        require_right(request, "metrics")
        rendered = await render(request.headers.get("accept", ""))
        if rendered is None:
            return json_response(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the worker processes do not answer"})
        body, content_type = rendered
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"} | COMMON_HEADERS)

    return Route(PATH, metrics)
