"""Server URL: what names a server, and what of it may be shown: never user, password, query or fragment."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..client.endpoint import DEFAULT_PATH, WEBSOCKET_SCHEMES

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s?#]*@)?([^\s?#]*)(?:[?#]\S*?(?=[\"'),.:;]*(?:\s|$)))?", re.IGNORECASE)


def server_name(url: str) -> str:
    """Return the URL that names a server: equal for all URLs that lead to it, without credentials, query and fragment.

    Raises ValueError where no server can have this URL.
    """
    parts = urlsplit(url)
    scheme = WEBSOCKET_SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError("a URL of a server begins with ws://, wss://, http:// or https://, and names a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in {None, _DEFAULT_PORTS[scheme]} else f":{parts.port}"
    return f"{scheme}://{host}{port}{parts.path.rstrip('/') or DEFAULT_PATH}"


def earlier_names(url: str) -> set[str]:
    """Return the names that earlier versions gave to this server: host and port, whatever the path."""
    parts, name = urlsplit(url), server_name(url)
    if urlsplit(name).path != DEFAULT_PATH:
        return set()
    default = _DEFAULT_PORTS[urlsplit(name).scheme]
    ports = {None, default} if parts.port in {None, default} else {parts.port}
    return {f"{parts.hostname}:{port}" for port in ports}


def hide_credentials(text: str) -> str:
    """Return a text in which every URL is without user, password, query and fragment."""
    return _URL.sub(r"\1\3", text)
