"""ApiConfig: a provider's address, key and headers, from arguments and from OPENAI_* in the environment.

It reads what the openai package reads, which takes half a second to import, and its 40 MB of memory stay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from .. import __version__
from ..errors import ConfigError

OPENAI_BASE_URL = "https://api.openai.com/v1"
_URL_CHARS = "!$%&'()*+,-./:;=?@_~[]|"  # that stay as they are in a path or a query; others are percent-encoded


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Where an API is, and what every request to it carries."""

    base_url: str
    api_key: str  # "": none
    headers: Mapping[str, str]  # names in lower case, the key's among them

    @classmethod
    def read(
        cls,
        *,
        base_url: str | None,
        api_key: str | None,
        headers: Mapping[str, str],
        environ: Mapping[str, str] = os.environ,
    ) -> ApiConfig:
        """Read the configuration; arguments count before the environment, and `headers` before all other headers.

        The environment's variables are OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID and
        OPENAI_CUSTOM_HEADERS ("name: value", one a line).

        Raises:
            ConfigError: The URL is not one, or OpenAI's own API has no key.
        """
        try:
            url = _normalize_url(base_url or environ.get("OPENAI_BASE_URL") or OPENAI_BASE_URL)
        except ValueError as error:
            raise ConfigError(f"OPENAI_BASE_URL: {error}.") from error
        key = api_key or environ.get("OPENAI_API_KEY") or ""
        if not key and is_openai(url):
            raise ConfigError("OPENAI_API_KEY is not set, and api.openai.com answers nobody without a key.")
        known = {
            "accept": "application/json",
            "user-agent": f"askbot-ws/{__version__}",
            "authorization": f"Bearer {key}" if key else None,
            "openai-organization": environ.get("OPENAI_ORG_ID"),
            "openai-project": environ.get("OPENAI_PROJECT_ID"),
        }
        found = {name: value for name, value in known.items() if value is not None}
        found |= _parse_headers(environ.get("OPENAI_CUSTOM_HEADERS", ""))
        found |= {name.lower(): value for name, value in headers.items()}
        return cls(url, key, found)


def is_openai(base_url: str) -> bool:
    """Whether this is OpenAI itself, not a server that speaks like it."""
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def _parse_headers(lines: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines.split("\n") if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _normalize_url(text: str) -> str:
    """The address in ASCII. Raises `ValueError` where it is not an http:// or https:// address."""
    if not text.isprintable():
        raise ValueError(f"{text!r} has a character that no address has")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http:// or https:// address")
    _ = parts.port  # raises for what is no port
    try:
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError(f"{parts.hostname!r} is not a host's name") from error
    return urlunsplit((parts.scheme, host, quote(parts.path, _URL_CHARS), quote(parts.query, _URL_CHARS), ""))
