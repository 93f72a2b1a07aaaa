"""Responses: common headers, and responses in JSON."""

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
    """Encode a value as a JSON body."""
    return json.dumps(value).encode() + b"\n"


def json_headers() -> dict[str, str]:
    """Return the headers of a response in JSON, which must not be cached."""
    return {"Content-Type": "application/json", "Cache-Control": "no-store"} | COMMON_HEADERS


def json_response(status: HTTPStatus, value: object, **headers: str) -> Response:
    """Make a response in JSON; further headers are given with underscores in their names."""
    more = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(encode_json(value), status.value, json_headers() | more)


def retry_after(seconds: float) -> str:
    """Return the value of a `Retry-After` header: whole seconds, at least 1."""
    return str(max(1, math.ceil(seconds)))
