"""Pages: static files, and the page in each of its languages.

`index.html` names its strings, `page/strings.json` has them. Where the page's modules are there as one file too, which
tools/bundle.py makes of them, the page loads that: one request in place of some forty.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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
PAGE_MODULE = "page-module.js"
BUNDLE = "page/bundle.js"
MODULE_PRELOAD = re.compile(r' *<link rel="modulepreload" href="[^"{]+" />\n')
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
# For instance "ko-KR;q=0.8": the language and its weight.
LANGUAGE_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=\s*([01](?:\.\d{0,3})?)\s*)?")
STRINGS_ADAPTER = TypeAdapter(dict[str, dict[str, str]])


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file in memory, with its response headers."""

    body: bytes
    headers: dict[str, str]

    @classmethod
    def create(cls, body: bytes, content_type: str, **headers: str) -> StaticFile:
        """Make a file with all its headers; further ones are given with underscores in their names."""
        about = {
            "Content-Type": content_type,
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        }
        return cls(body, about | COMMON_HEADERS | {name.replace("_", "-"): text for name, text in headers.items()})

    def respond(self, request: Request) -> Response:
        """Return the file, or status 304 where the client has it already."""
        if _is_cached(request, self.headers["ETag"]):
            return Response(status_code=304, headers=self.headers)
        return Response(self.body, headers=self.headers)


def routes(module: Path | None = None) -> list[Route]:
    """Return a route for each file; all of them are read into memory.

    Args:
        module: The JavaScript module that the page imports, if there is one.

    Raises:
        OSError: The module cannot be read.
    """
    client = _package_file("client_files", "client")
    asyncapi = _package_file("asyncapi.json", "docs/asyncapi.json").read_bytes()
    client_files = read_client_files(client)
    found = {
        f"/{name}": StaticFile.create(body, CONTENT_TYPES[Path(name).suffix]) for name, body in client_files.items()
    }
    found["/asyncapi.json"] = StaticFile.create(asyncapi, "application/json")
    if module is not None:
        found[f"/{PAGE_MODULE}"] = StaticFile.create(module.read_bytes(), CONTENT_TYPES[".js"])
    page = _page_route(client, has_module=module is not None, is_bundled=has_bundle(client_files))
    static = [_file_route(path, file) for path, file in found.items()]
    return [page, Route("/schema.json", _serve_schema), *static]


async def _serve_schema(request: Request) -> Response:
    return _schema_file().respond(request)


@cache
def _schema_file() -> StaticFile:
    """Return the schema, which is made when it is first asked for: that takes 30 ms, a tenth of a server's start."""
    return StaticFile.create(json.dumps(schema(), indent=2).encode() + b"\n", "application/schema+json")


def _file_route(path: str, file: StaticFile) -> Route:
    async def serve(request: Request) -> Response:
        return file.respond(request)

    return Route(path, serve)


def _page_route(client: Traversable, *, has_module: bool, is_bundled: bool) -> Route:
    pages = {
        language: StaticFile.create(body, "text/html; charset=utf-8", Content_Language=language, Vary="Accept-Language")
        for language, body in render_page_by_language(client, has_module=has_module, is_bundled=is_bundled).items()
    }

    async def serve(request: Request) -> Response:
        accepted = ",".join(request.headers.getlist("Accept-Language"))
        return pages[preferred_language(accepted, tuple(pages))].respond(request)

    return Route("/", serve)


def render_page_by_language(
    folder: Traversable, *, has_module: bool = False, is_bundled: bool = False
) -> dict[str, bytes]:
    """Return the page by language, the default one first; its texts are in it as JSON too, for its scripts."""
    template = (folder / "index.html").read_text(encoding="utf-8")
    if is_bundled:
        template = MODULE_PRELOAD.sub("", template).replace("page/page.js", BUNDLE)
    strings = STRINGS_ADAPTER.validate_json((folder / "page" / "strings.json").read_bytes())
    module = f'<link id="page-module" rel="modulepreload" href="{PAGE_MODULE}" />' if has_module else ""
    return {language: _render(template, language, known, module) for language, known in strings.items()}


def _render(template: str, language: str, words: dict[str, str], module: str) -> bytes:
    script = json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # nothing ends it early
    values = {name: html.escape(text) for name, text in words.items()} | {
        "lang": language,
        "strings": script,
        "page_module": module,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template).encode()


def _is_cached(request: Request, tag: str) -> bool:
    """Return whether the client has this ETag (RFC 9110 §13.1.2: several may be named, also weak ones)."""
    known = ",".join(request.headers.getlist("If-None-Match")).split(",")
    return not {tag, "*"}.isdisjoint(one.strip().removeprefix("W/") for one in known)


def _package_file(name: str, place: str) -> Traversable:
    """Return a file or folder: inside the package where that is installed, else at `place` in the checkout."""
    installed: Traversable = files("askbot_ws") / name
    return installed if installed.is_dir() or installed.is_file() else Path(__file__).parents[3] / place


def read_client_files(folder: Traversable) -> dict[str, bytes]:
    """Return the files of `client/` and `client/page/` that a browser loads, by path."""
    found = [(file.name, file) for file in folder.iterdir()]
    found += [(f"page/{file.name}", file) for file in (folder / "page").iterdir()]
    return {name: file.read_bytes() for name, file in found if Path(name).suffix in CONTENT_TYPES}


def bundle_banner(client_files: Mapping[str, bytes]) -> bytes:
    """Return how a bundle of these modules begins: with a digest of them."""
    digest = hashlib.sha256()
    for name in sorted(client_files):
        if name.endswith(".js") and name != BUNDLE:
            digest.update(b"%s\0%d\0%s" % (name.encode(), len(client_files[name]), client_files[name]))
    return b"/*! of the modules %s */" % digest.hexdigest()[:32].encode()


def has_bundle(client_files: Mapping[str, bytes]) -> bool:
    """Return whether there is a bundle of just these modules: in a checkout, they may have changed since."""
    return client_files.get(BUNDLE, b"").startswith(bundle_banner(client_files))


def preferred_language(accepted: str, offered: Sequence[str]) -> str:
    """Return the offered language that an `Accept-Language` header prefers (RFC 9110 §12.5.4), or the first one."""
    weights = {name: weight for weight, name in sorted(_parse_accept_language(accepted), key=lambda pair: pair[0])}
    best = max(offered, key=lambda name: weights.get(name, 0.0))  # the first of equals
    return best if weights.get(best) else offered[0]


def _parse_accept_language(accepted: str) -> Iterator[tuple[float, str]]:
    for part in accepted.split(","):
        if match := LANGUAGE_RANGE.fullmatch(part):
            yield float(match[2] or 1), match[1].lower()
