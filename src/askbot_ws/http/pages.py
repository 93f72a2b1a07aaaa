"""Pages: the files that are served as they are, and the page in each of its languages.

`index.html` names its words, `page/words.json` has them.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..dialects.askbot.frames import schema
from .responses import COMMON_HEADERS

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CONTENT_SECURITY_POLICY = "; ".join(
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
LANGUAGE_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=\s*([01](?:\.\d{0,3})?)\s*)?"
)  # "ko-KR;q=0.8"
WORDS = TypeAdapter(dict[str, dict[str, str]])


@dataclass(frozen=True, slots=True)
class StaticFile:
    """Bytes that are served as they are."""

    body: bytes
    headers: dict[str, str]

    @classmethod
    def with_headers(cls, body: bytes, content_type: str, **headers: str) -> StaticFile:
        """With all its headers; further ones are given with underscores in their names."""
        about = {
            "Content-Type": content_type,
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        }
        return cls(body, about | COMMON_HEADERS | {name.replace("_", "-"): text for name, text in headers.items()})

    def respond(self, request: Request) -> Response:
        """The file, or that the client has it already."""
        if _is_cached(request, self.headers["ETag"]):
            return Response(status_code=304, headers=self.headers)
        return Response(self.body, headers=self.headers)


def routes() -> list[Route]:
    """A route for each file that there is, all of them in memory."""
    client = _package_file("client_files", "client")
    asyncapi = _package_file("asyncapi.json", "docs/asyncapi.json").read_bytes()
    found = {
        f"/{name}": StaticFile.with_headers(body, CONTENT_TYPES[Path(name).suffix])
        for name, body in _client_files(client)
    }
    found["/schema.json"] = StaticFile.with_headers(
        json.dumps(schema(), indent=2).encode() + b"\n", "application/schema+json"
    )
    found["/asyncapi.json"] = StaticFile.with_headers(asyncapi, "application/json")
    return [_page_route(client), *(_file_route(path, file) for path, file in found.items())]


def _file_route(path: str, file: StaticFile) -> Route:
    async def serve(request: Request) -> Response:
        return file.respond(request)

    return Route(path, serve)


def _page_route(client: Traversable) -> Route:
    pages = {
        language: StaticFile.with_headers(
            body, "text/html; charset=utf-8", Content_Language=language, Vary="Accept-Language"
        )
        for language, body in render_pages(client).items()
    }

    async def serve(request: Request) -> Response:
        accepted = ",".join(request.headers.getlist("Accept-Language"))
        return pages[preferred_language(accepted, tuple(pages))].respond(request)

    return Route("/", serve)


def render_pages(folder: Traversable) -> dict[str, bytes]:
    """By language, the one for everybody else first. The words are in it as JSON too, for its scripts."""
    template = (folder / "index.html").read_text(encoding="utf-8")
    words = WORDS.validate_json((folder / "page" / "words.json").read_bytes())
    return {language: _render(template, language, known) for language, known in words.items()}


def _render(template: str, language: str, words: dict[str, str]) -> bytes:
    script = json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # nothing ends it early
    values = {name: html.escape(text) for name, text in words.items()} | {"lang": language, "words": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template).encode()


def _is_cached(request: Request, tag: str) -> bool:
    """Whether the client has this already (RFC 9110 §13.1.2: several tags, which proxies may have made weak)."""
    known = ",".join(request.headers.getlist("If-None-Match")).split(",")
    return not {tag, "*"}.isdisjoint(one.strip().removeprefix("W/") for one in known)


def _package_file(name: str, place: str) -> Traversable:
    """What comes along: inside the package where it was installed, beside it in a checkout."""
    installed: Traversable = files("askbot_ws") / name
    return installed if installed.is_dir() or installed.is_file() else Path(__file__).parents[3] / place


def _client_files(folder: Traversable) -> list[tuple[str, bytes]]:
    """What a page or a program loads: the files of `client/` and `client/page/`, by their names."""
    found = [(file.name, file) for file in folder.iterdir()]
    found += [(f"page/{file.name}", file) for file in (folder / "page").iterdir()]
    return [(name, file.read_bytes()) for name, file in found if Path(name).suffix in CONTENT_TYPES]


def preferred_language(accepted: str, offered: Sequence[str]) -> str:
    """Of the offered languages the best liked; the first of them for who likes none, or says it in no way we know."""
    liking = {name: weight for weight, name in sorted(_parse_accept_language(accepted), key=lambda wish: wish[0])}
    best = max(offered, key=lambda name: liking.get(name, 0.0))  # the first of equals
    return best if liking.get(best) else offered[0]


def _parse_accept_language(accepted: str) -> Iterator[tuple[float, str]]:
    for part in accepted.split(","):
        if wish := LANGUAGE_RANGE.fullmatch(part):
            yield float(wish[2] or 1), wish[1].lower()
