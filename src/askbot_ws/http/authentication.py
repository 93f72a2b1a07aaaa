"""Authentication of HTTP requests: a middleware that makes their principals, and what routes ask of it."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Authenticator, RequestHead
from ..core.principal import Principal, Right
from ..errors import AskbotError, Forbidden, Overloaded, Unauthorized
from ..events import format_timestamp
from .responses import COMMON_HEADERS, json_response, retry_after

IDENTITY_PATH = "/v1/identity"
CHALLENGE = 'Bearer realm="askbot"'
STATUS_BY_ERROR: dict[type[AskbotError], HTTPStatus] = {
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""What `principal_of` and `require_right` raise."""
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization",
    "Access-Control-Max-Age": "600",
    "Allow": "GET, OPTIONS",
}


class AuthenticationMiddleware:
    """ASGI middleware that puts the principal of each request into its state.

    It refuses nothing: a route that needs the principal asks `principal_of`, which raises.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, public: Collection[str]) -> None:
        """`public` are the paths at which no credential is looked at, so that none is used up."""
        self._app = app
        self._authenticator = authenticator
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] not in self._public and scope["method"] != "OPTIONS":
            head = request_head(scope)
            state = scope.setdefault("state", {})
            state["local"] = self._authenticator.is_local(head)
            try:
                state["principal"] = await self._authenticator.authenticate(head)
            except AskbotError as error:
                state["principal"] = error
        await self._app(scope, receive, send)


def request_head(scope: Scope) -> RequestHead:
    """Return the head of an ASGI request."""
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    client = scope.get("client")
    return RequestHead(scope["path"], scope["query_string"].decode("latin-1"), headers, client[0] if client else "")


def principal_of(request: Request) -> Principal:
    """Return the principal of a request.

    Raises `Unauthorized`, or `Overloaded` where the credential can't be checked; the application answers these by
    status 401 or 503.
    """
    found: Principal | AskbotError = request.state.principal
    if isinstance(found, AskbotError):
        raise found
    return found


def require_right(request: Request, right: Right) -> Principal:
    """Return the principal of a request that has this right.

    Metrics may be read without a credential on this machine, where no other can reach the server. Raises like
    `principal_of`, and `Forbidden`.
    """
    found: Principal | AskbotError = request.state.principal
    if right == "metrics" and request.state.local and "authorization" not in request.headers:
        return found if isinstance(found, Principal) else Principal(rights=frozenset({right}))
    principal = principal_of(request)
    if right not in principal.rights:
        raise Forbidden(f"The credential lacks the right {right!r}.") if principal.credential else Unauthorized
    return principal


def error_response(request: Request, error: Exception) -> Response:
    """Answer a request that was refused for its credential."""
    del request
    if not isinstance(error, AskbotError):
        raise error
    status = STATUS_BY_ERROR[type(error)]
    more: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = CHALLENGE
    elif status is HTTPStatus.SERVICE_UNAVAILABLE:
        more["Retry-After"] = retry_after(error.retry_after or 1.0)
    return json_response(status, {"error": error.message, "code": error.code}, **more)


def identity_route(authenticator: Authenticator, *, sign_in_url: str | None, sign_out_url: str | None) -> Route:
    """Return the route that says who asks and how to sign in.

    It refuses no credential, but says so where one can't be checked: that is not nobody's.
    """

    async def identity(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT.value, headers=PREFLIGHT_HEADERS | COMMON_HEADERS)
        try:
            principal = principal_of(request)
        except Unauthorized:
            principal = Principal()
        return json_response(
            HTTPStatus.OK,
            {
                "user": principal.user,
                "expires": None if principal.expires is None else format_timestamp(principal.expires),
                "authentication": authenticator.configured,
                "anonymous": authenticator.allows_anonymous,
                "sign_in": sign_in_url,
                "sign_out": sign_out_url,
            },
        )

    return Route(IDENTITY_PATH, identity, methods=["GET", "OPTIONS"])
