"""Handshake: accepts or refuses WebSocket handshakes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ..auth import Authenticator, RequestHead
from ..auth.credentials import offered_token
from ..dialects.askbot.frames import PROTOCOL
from ..errors import AskbotError, Overloaded, Unauthorized
from ..http.access import AccessPolicy
from ..http.authentication import CHALLENGE
from ..http.responses import encode_json, json_headers, retry_after
from ..hub.admission import OVERLOAD_RETRY_SECONDS
from .refusals import RefusalLog
from .websocket import WebSocket

PATH = "/v1/chat"
LOGGED_PATH_CHARS = 100
LONG_SEGMENT = re.compile("[^/]{17,}")  # of a path: it may be an id or a credential
AUTHENTICATION_SECONDS = 8.0  # for checking a credential: less than `websockets` allows a handshake

log = structlog.get_logger(__name__)


class Handshake:
    """Checks origin, path and credential of a handshake, and whether the server drains."""

    def __init__(
        self,
        access: AccessPolicy,
        authenticator: Authenticator,
        refusals: RefusalLog,
        *,
        draining: Callable[[], bool],
        overloaded: Callable[[], bool],
    ) -> None:
        """`draining` returns whether the server is about to end, `overloaded` whether it has too much to do."""
        self._access = access
        self._authenticator = authenticator
        self._refusals = refusals
        self._draining = draining
        self._overloaded = overloaded

    async def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the response that refuses a handshake, or None (`websockets` calls it).

        The credential is checked last, so that a ticket is not used up by a handshake that fails for another reason.
        """
        if not isinstance(connection, WebSocket):
            raise TypeError("connections are made as WebSocket")
        address = connection.client_address
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
        if "Origin" in request.headers:
            connection.access_headers = tuple(field for field in headers if field[0] in (b"host", b"origin"))
        refusal = self._access.check(headers, secure=connection.secure, address=address)
        if refusal is not None:
            return _error(HTTPStatus.FORBIDDEN, refusal.message)
        if (path := request.path.partition("?")[0]) != PATH:
            self._refusals.record("unknown_path", address=address, path=_loggable(path))
            return _error(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        if self._draining():
            self._refusals.record("draining", address=address)
            retry = {"Retry-After": retry_after(1.0)}
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the server is about to restart", retry)
        if self._overloaded():
            self._refusals.record("overloaded", address=connection.client_address)
            retry = {"Retry-After": retry_after(OVERLOAD_RETRY_SECONDS)}
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the server has too much to do", retry)
        if connection.admission.excess is not None or not _is_valid(connection, request):
            return None  # it is closed, or refused by `websockets`
        return await self._authenticate(connection, request)

    async def _authenticate(self, socket: WebSocket, request: Request) -> Response | None:
        """Set the principal; return the response to a handshake that is refused.

        Scripts of a page can't see the status of a response, so their handshakes are accepted, to be closed with a code
        before anything else is sent.
        """
        head = RequestHead.of(request.path, request.headers.raw_items(), socket.client_address)
        try:
            async with asyncio.timeout(AUTHENTICATION_SECONDS):
                socket.principal = principal = await self._authenticator.authenticate(head)
        except TimeoutError:
            error: AskbotError = Overloaded("Credentials cannot be checked right now.")
        except (Unauthorized, Overloaded) as caught:
            error = caught
        else:
            log.debug("handshake_accepted", address=socket.client_address, user=principal.user)
            return None
        is_denied = isinstance(error, Unauthorized)
        self._refusals.record(
            "unauthorized" if is_denied else "authentication_unavailable",
            address=socket.client_address,
            message=error.message,
        )
        if head.header("origin") is not None or offered_token(head) is not None:
            socket.rejection = (4401 if is_denied else 1013, error.message)
            return None
        if is_denied:
            return _error(HTTPStatus.UNAUTHORIZED, error.message, {"WWW-Authenticate": CHALLENGE})
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, error.message, {"Retry-After": retry_after(1.0)})

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


def _loggable(path: str) -> str:
    """Return a path for the log, without what may be a secret."""
    return LONG_SEGMENT.sub("…", path[:LOGGED_PATH_CHARS])


def _is_valid(connection: ServerConnection, request: Request) -> bool:
    """Return whether `websockets` accepts a handshake; it checks it again when it answers."""
    try:
        connection.protocol.process_request(request)
    except InvalidHandshake:
        return False
    return True


def select_subprotocol(connection: ServerConnection, offered: list[Subprotocol] | object) -> Subprotocol | None:
    """Select `askbot.v1` where it is offered; a credential that is offered beside it is never echoed."""
    del connection
    return Subprotocol(PROTOCOL) if isinstance(offered, list | tuple) and PROTOCOL in offered else None


def _error(status: HTTPStatus, message: str, more: dict[str, str] | None = None) -> Response:
    body = encode_json({"error": message})
    about = {"Content-Length": str(len(body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers(json_headers() | about | (more or {})), body)
