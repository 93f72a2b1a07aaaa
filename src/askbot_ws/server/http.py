"""Plain HTTP on the same port: the page, its scripts, health, the schema; and who may come in at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ..dialects.askbot.frames import schema
from ..values import is_loopback
from .language import preferred
from .page import pages_of

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Check = Callable[[], Awaitable[str | None]]


def respond(status: HTTPStatus, body: bytes, content_type: str, **headers: str) -> Response:
    """A response; header names are given with underscores."""
    fields = Headers(
        {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
        | ALWAYS
        | {name.replace("_", "-"): value for name, value in headers.items()}
    )
    return Response(status.value, status.phrase, fields, body)


def say(status: HTTPStatus, value: object, **headers: str) -> Response:
    """A response in JSON."""
    return respond(status, json.dumps(value).encode() + b"\n", "application/json", Cache_Control="no-store", **headers)


class Pages:
    """What there is to GET, all of it in memory."""

    def __init__(self, *, version: str, ready: Check) -> None:
        """`ready` tells why no question would be answered now, or None."""
        self._version = version
        self._ready = ready
        client = _shipped("client_files", "client")
        self._pages = pages_of(client)
        self._files = {f"/{name}": (body, CONTENT_TYPES[Path(name).suffix]) for name, body in _client_files(client)}
        self._files["/schema.json"] = (json.dumps(schema(), indent=2).encode() + b"\n", "application/schema+json")
        self._files["/asyncapi.json"] = (
            _shipped("asyncapi.json", "docs/asyncapi.json").read_bytes(),
            "application/json",
        )

    async def get(self, request: Request) -> Response:
        """Answer a request that is not for a socket."""
        response = await self._respond(request)
        if method_of(request) == "HEAD":
            response.body = b""  # its length stays
        return response

    async def _respond(self, request: Request) -> Response:
        path = path_of(request)
        if path == "/healthz":
            return say(HTTPStatus.OK, {"status": "ok", "version": self._version})
        if path == "/readyz":
            return await self._readyz()
        if path == "/":
            return self._page(request)
        if path in self._files:
            return self._file(request, *self._files[path])
        return say(HTTPStatus.NOT_FOUND, {"error": "there is nothing at this address"})

    async def _readyz(self) -> Response:
        reason = await self._ready()
        if reason is None:
            return say(HTTPStatus.OK, {"status": "ready"})
        return say(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reason": reason})

    def _page(self, request: Request) -> Response:
        language = preferred(",".join(request.headers.get_all("Accept-Language")), tuple(self._pages))
        about = {"Content_Language": language, "Vary": "Accept-Language"}
        return self._file(request, self._pages[language], "text/html; charset=utf-8", **about)

    def _file(self, request: Request, body: bytes, content_type: str, **more: str) -> Response:
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        about = {"ETag": tag, "Cache_Control": "no-cache", "Content_Security_Policy": POLICY} | more
        if _knows(request, tag):
            return respond(HTTPStatus.NOT_MODIFIED, b"", content_type, **about)
        return respond(HTTPStatus.OK, body, content_type, **about)


def path_of(request: Request) -> str:
    """The request's path, as it was written: nothing here has a name that needs decoding."""
    return request.path.partition("?")[0]


def method_of(request: Request) -> str:
    """The request's method; websockets 16 lets only GET through, and does not tell."""
    return getattr(request, "method", "GET")


def wrong_method(request: Request) -> Response | None:
    """The refusal of what would change something: there is nothing to change."""
    if method_of(request) in ("GET", "HEAD"):
        return None
    return say(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "GET and HEAD only"}, Allow="GET, HEAD")


def _knows(request: Request, tag: str) -> bool:
    """Whether the client has this already (RFC 9110 §13.1.2: several tags, which proxies may have made weak)."""
    known = [one.strip().removeprefix("W/") for one in ",".join(request.headers.get_all("If-None-Match")).split(",")]
    return tag in known or "*" in known


def _shipped(name: str, place: str) -> Traversable:
    """What comes along: inside the package where it was installed, beside it in a checkout."""
    installed: Traversable = files("askbot_ws") / name
    return installed if installed.is_dir() or installed.is_file() else Path(__file__).parents[3] / place


def _client_files(folder: Traversable) -> list[tuple[str, bytes]]:
    """What a page or a program loads: the files of `client/` and `client/page/`, by their names."""
    found = [(file.name, file) for file in folder.iterdir()]
    found += [(f"page/{file.name}", file) for file in (folder / "page").iterdir()]
    return [(name, file.read_bytes()) for name, file in found if Path(name).suffix in CONTENT_TYPES]


class Doors:
    """Which web pages may connect (RFC 6455 §10.2). Programs send no Origin, and are let through."""

    def __init__(self, *, origins: tuple[str, ...], loopback: bool) -> None:
        """`loopback`: bound to this machine only.

        Then a Host of another name is a page that got our address by DNS rebinding, unless its origin is listed.
        """
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._loopback = loopback

    def share(self, request: Request, response: Response) -> None:
        """Let the scripts of listed origins read a response: they import our client from here."""
        if "Origin" in request.headers and self._lists(_joined(request, "Origin")):
            response.headers["Access-Control-Allow-Origin"] = _joined(request, "Origin")
            response.headers["Vary"] = "Origin"

    def _lists(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def refuses(self, request: Request) -> str | None:
        """Why this handshake is refused, or None."""
        origin, host = _joined(request, "Origin").lower(), _joined(request, "Host").lower()
        if "Origin" not in request.headers or self._lists(origin):
            return None
        own = origin in (f"http://{host}", f"https://{host}")
        if own and (not self._loopback or _is_local(host)):
            return None
        return "This origin may not connect; the operator can allow it with ASKBOT_ORIGINS."


def _joined(request: Request, name: str) -> str:
    """A header's value; where a header is there twice, one that is no origin and no host."""
    return ",".join(request.headers.get_all(name))


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket too many
        return False
    return is_loopback(name) or name.endswith(".localhost")
