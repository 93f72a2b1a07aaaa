"""Server URL: what names a server, and what of it may be shown: never user, password, query or fragment."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit, urlunsplit

from ..client.endpoint import DEFAULT_PATH, WEBSOCKET_SCHEMES

_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8765  # where `askbot serve` listens
_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_LONE_SCHEME = re.compile(r"(wss?|https?):(?!//|[0-9])", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s?#]*@)?([^\s?#]*)(?:[?#]\S*?(?=[\"'),.:;]*(?:\s|$)))?", re.IGNORECASE)


def complete_url(written: str) -> str:
    """Return the `ws` or `wss` URL that a user means who leaves scheme, host or port out, as in `localhost:8765`.

    Without a scheme, a host or port that is missing is that of a server on this machine.

    Raises ValueError where it is no URL of a server; the message says why, and repeats nothing of it.
    """
    text = written.strip()
    if _LONE_SCHEME.match(text):
        raise ValueError("its scheme has to be followed by //")
    if not _SCHEME.match(text):
        text = _complete_address(text)
    try:
        parts = urlsplit(text)
    except ValueError:  # whose message has a part of the URL
        raise ValueError("its host has brackets around what is no IPv6 address") from None
    if parts.scheme not in WEBSOCKET_SCHEMES:
        raise ValueError("its scheme has to be ws, wss, http or https")
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        raise ValueError("its port has to be a number from 1 to 65535")
    if not parts.hostname or re.search(r"\s", text):
        raise ValueError("it has to name a host")
    scheme, path = WEBSOCKET_SCHEMES[parts.scheme], parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path, parts.query, parts.fragment))


def _complete_address(text: str) -> str:
    """Return a URL from `host`, `host:port`, `:port` or an IPv6 address, in brackets or not; a path may follow."""
    address, *rest = re.split(r"(?=[/?#])", text.removeprefix("//"), maxsplit=1)
    user, at, host = address.rpartition("@")
    try:
        host = f"[{IPv6Address(host)}]"
    except ValueError:  # no bare IPv6 address
        host = _DEFAULT_HOST + host if host.startswith(":") else host
    host = host.removesuffix(":")
    port = "" if re.search(r":[^\]]*$", host) else f":{_DEFAULT_PORT}"
    return f"ws://{user}{at}{host}{port}{''.join(rest)}"


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
