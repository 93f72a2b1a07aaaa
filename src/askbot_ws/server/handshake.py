"""Handshake: accepts or refuses WebSocket handshakes."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ..dialects.askbot.frames import PROTOCOL
from ..http.access import AccessPolicy
from ..http.responses import encode_json, json_headers, retry_after
from .refusals import Refusals
from .websocket import WebSocket

PATH = "/v1/chat"
MAX_LOGGED_PATH_CHARS = 100


class Handshake:
    """Checks the origin and the path of a handshake, and whether the server drains."""

    def __init__(self, access: AccessPolicy, refusals: Refusals, *, draining: Callable[[], bool]) -> None:
        """`draining` returns whether new connections are refused."""
        self._access = access
        self._refusals = refusals
        self._draining = draining

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the response that refuses a handshake, or None (`websockets` calls it)."""
        address = connection.client_address if isinstance(connection, WebSocket) else ""
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
        refusal = self._access.check(headers, address=address)
        if refusal is not None:
            return _error(HTTPStatus.FORBIDDEN, refusal.message)
        if (path := request.path.partition("?")[0]) != PATH:
            self._refusals.record("unknown_path", address=address, path=path[:MAX_LOGGED_PATH_CHARS])
            return _error(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        if self._draining():
            self._refusals.record("draining", address=address)
            retry = {"Retry-After": retry_after(1.0)}
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the server is about to restart", retry)
        return None

    def process_response(self, connection: ServerConnection, request: Request, response: Response) -> Response | None:
        """Replace the responses by which `websockets` refuses (it calls this): they repeat headers, credentials too."""
        del request
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS or "Cache-Control" in response.headers:  # made by us
            return None
        address = connection.client_address if isinstance(connection, WebSocket) else ""
        self._refusals.record("invalid_handshake", address=address, status=response.status_code)
        upgrade = response.headers.get("Upgrade")
        more = {"Upgrade": upgrade} if upgrade else {}
        return _error(HTTPStatus(response.status_code), "this is no handshake for a WebSocket", more)


def select_subprotocol(connection: ServerConnection, offered: list[Subprotocol] | object) -> Subprotocol | None:
    """Select `askbot.v1` where it is offered; a credential that is offered beside it is never echoed."""
    del connection
    return Subprotocol(PROTOCOL) if isinstance(offered, list | tuple) and PROTOCOL in offered else None


def _error(status: HTTPStatus, message: str, more: dict[str, str] | None = None) -> Response:
    body = encode_json({"error": message})
    about = {"Content-Length": str(len(body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers(json_headers() | about | (more or {})), body)
