"""Responses: what every answer of ours has in its head, and answers in JSON."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

from starlette.responses import Response

COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def encode_json(value: object) -> bytes:
    """A value in JSON, as bodies have it."""
    return json.dumps(value).encode() + b"\n"


def json_headers() -> dict[str, str]:
    """The headers of an answer in JSON, which no cache may keep."""
    return {"Content-Type": "application/json", "Cache-Control": "no-store"} | COMMON_HEADERS


def json_response(status: HTTPStatus, value: object, **headers: str) -> Response:
    """An answer in JSON; further headers are given with underscores in their names."""
    more = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(encode_json(value), status.value, json_headers() | more)


def retry_after(seconds: float) -> str:
    """The value of `Retry-After`: whole seconds, one at least."""
    return str(max(1, math.ceil(seconds)))
