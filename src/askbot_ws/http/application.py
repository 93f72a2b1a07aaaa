"""Application: the routes of plain HTTP, with access control and error responses for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import Authenticator
from ..hub.administration import Administration
from . import pages
from .access import AccessPolicy, Headers
from .admin import admin_routes
from .ai_completion import PATH as COMPLETION_PATH
from .ai_completion import AiCompletion
from .authentication import IDENTITY_PATH, STATUS_BY_ERROR, AuthenticationMiddleware, error_response, identity_route
from .completion import Completions
from .metrics import PATH as METRICS_PATH
from .metrics import Render, metrics_route
from .responses import json_response
from .tickets import ticket_route

UNCHECKED_PATHS = frozenset({"/healthz", "/readyz"})  # without access control: orchestrators use any name
UNCHECKED_WITH_CREDENTIAL = frozenset({METRICS_PATH})  # the same for programs, by a credential that is checked
LOOPBACK_PAGE_PATHS = frozenset({COMPLETION_PATH, IDENTITY_PATH})  # which pages of any port of this machine may use


def make_application(
    completions: Completions,
    *,
    access: AccessPolicy,
    authenticator: Authenticator,
    administration: Administration,
    find_faults: Callable[[], Awaitable[Mapping[str, str | None]]],
    render_metrics: Render,
    version: str,
    page_module: Path | None = None,
    sign_in_url: str | None = None,
    sign_out_url: str | None = None,
) -> Starlette:
    """Make the ASGI application that answers all requests but WebSocket handshakes.

    `find_faults` returns what is wrong with the server and its parts, None for one that works. The page sends its users
    to `sign_in_url` and `sign_out_url`.

    Raises:
        OSError: The page's module cannot be read.
    """

    async def healthz(request: Request) -> Response:
        del request
        return json_response(HTTPStatus.OK, {"status": "ok", "version": version})

    async def readyz(request: Request) -> Response:
        del request
        faults = await find_faults()
        checks = {part: fault or "ok" for part, fault in faults.items()}
        for part, fault in faults.items():
            if fault is not None:
                reason = fault if part == "server" else f"{part}: {fault}"
                body = {"status": "not ready", "reason": reason, "checks": checks}
                return json_response(HTTPStatus.SERVICE_UNAVAILABLE, body)
        return json_response(HTTPStatus.OK, {"status": "ready", "checks": checks})

    async def chat(request: Request) -> Response:
        del request
        return json_response(HTTPStatus.UPGRADE_REQUIRED, {"error": "a WebSocket is spoken here"}, Upgrade="websocket")

    public = [
        *pages.routes(page_module),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/v1/chat", chat),
    ]
    made = Starlette(
        routes=[
            *public,
            ticket_route(authenticator),
            identity_route(authenticator, sign_in_url=sign_in_url, sign_out_url=sign_out_url),
            metrics_route(render_metrics),
            *admin_routes(administration),
            Route(COMPLETION_PATH, AiCompletion(completions), methods=["POST", "OPTIONS"]),
        ],
        middleware=[
            Middleware(AccessMiddleware, policy=access, authenticator=authenticator),
            Middleware(
                AuthenticationMiddleware,
                authenticator=authenticator,
                public=frozenset(route.path for route in public),
            ),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ClientDisconnect: _client_disconnected,
            Exception: _internal_error,
            **dict.fromkeys(STATUS_BY_ERROR, error_response),
        },
    )
    made.router.redirect_slashes = False
    return made


class AccessMiddleware:
    """ASGI middleware that refuses requests by the access policy, and adds CORS headers to the others' responses."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, authenticator: Authenticator) -> None:
        self._app = app
        self._policy = policy
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] in UNCHECKED_PATHS or (
            scope["path"] in UNCHECKED_WITH_CREDENTIAL
            and self._authenticator.configured
            and _is_of_program(scope["headers"])
        ):
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else ""
        secure = scope["scheme"] == "https"
        loopback_pages = scope["path"] in LOOPBACK_PAGE_PATHS
        refusal = self._policy.check(scope["headers"], secure=secure, loopback_pages=loopback_pages, address=address)
        if refusal is not None:
            await json_response(HTTPStatus.FORBIDDEN, {"error": refusal.message})(scope, receive, send)
            return
        added = cors_headers(self._policy, scope["headers"], scope["path"], secure=secure)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers if added else send)


def _is_of_program(headers: Headers) -> bool:
    """Return whether a request has a credential in its header, and comes from no page.

    Without the credential, it may come from a page whose name was made to lead here: what tells browsers from programs
    is not sent by all of them.
    """
    names = {name for name, _ in headers}
    return b"authorization" in names and names.isdisjoint((b"origin", b"accept-language", b"sec-fetch-mode"))


def cors_headers(policy: AccessPolicy, headers: Headers, path: str, *, secure: bool = False) -> Headers:
    """Return the CORS headers of the response to a request for this path, with these headers (names in lower case).

    `secure`: it came over HTTPS.
    """
    return policy.cors_headers(headers, secure=secure, loopback_pages=path in LOOPBACK_PAGE_PATHS)


def _http_error(request: Request, error: Exception) -> Response:
    """Answer requests for an unknown path (404) or by an unknown method (405)."""
    del request
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = sorted((error.headers or {}).get("Allow", "").split(", "))
        message = {"error": f"{' and '.join(methods)} only"}
        return json_response(HTTPStatus.METHOD_NOT_ALLOWED, message, Allow=", ".join(methods))
    return json_response(HTTPStatus.NOT_FOUND, {"error": "there is nothing at this address"})


def _client_disconnected(request: Request, error: Exception) -> Response:
    """Answer a client that disconnected while its request was read, which nobody receives."""
    del request, error
    return json_response(HTTPStatus.BAD_REQUEST, {"error": "the request has no end"})


def _internal_error(request: Request, error: Exception) -> Response:
    """Answer after an unexpected exception, which uvicorn logs."""
    del request, error
    return json_response(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "Something went wrong on our side."})
