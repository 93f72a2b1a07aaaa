"""Access: whose requests are answered, judged by the `Host` and the `Origin` that they name.

A page of another site may ask a browser to connect to us, under our name or (DNS rebinding) under one of its own that
leads to our address. So a request has to call us by a name that is ours, and a page has to come from an origin that is
ours or listed. Programs that send no `Origin` are let through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

import structlog

from ..core.limits import TokenBucket

DEFAULT_PORTS = {"http": 80, "https": 443}
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]:/?#@\\%,]+?)\.?(?::(\d{0,5}))?")
ORIGIN = re.compile(r"(https?)://(.+)")

Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and its port, as URLs and `Host` have them."""

    name: str  # in lower case, without brackets and without the dot that may end a name
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Of a text; None where it is none: with a user, a path, a blank or two names in it."""
        match = AUTHORITY.fullmatch(text.lower())
        if match is None or int(match[2] or 0) > 65535:
            return None
        return cls(match[1].strip("[]"), int(match[2]) if match[2] else None)

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address: nobody can make that lead elsewhere."""
        return _is_ip_address(self.name)

    @property
    def is_loopback(self) -> bool:
        """Whether it names the machine that it is said on."""
        if self.is_address:
            return ip_address(self.name).is_loopback
        return self.name == "localhost" or self.name.endswith(".localhost")


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: a header, what it said, and the setting that would allow it."""

    header: str
    value: str
    setting: str

    @property
    def message(self) -> str:
        """For whoever sent it."""
        what = "This host name is not ours" if self.header == "Host" else "This origin may not connect"
        return f"{what}; the operator can allow it with {self.setting}."


class AccessPolicy:
    """Which hosts we are called by, and which origins may use us."""

    def __init__(
        self, *, hosts: Sequence[str], origins: Sequence[str], loopback: bool, now: Callable[[], float]
    ) -> None:
        """`hosts` and `origins` as in the settings; `loopback`: we can be reached from this machine only.

        `now` is a clock in seconds, for the rate of log lines.
        """
        ours = [Authority.parse(host) for host in hosts]
        self._hosts = frozenset(host for host in ours if host is not None)
        self._origins = frozenset(_normalized(origin.rstrip("/")) for origin in origins)
        self._loopback = loopback
        self._now = now
        self._log_bucket = TokenBucket(rate=0.1, burst=5)
        self._unlogged = 0

    def check(self, headers: Headers, *, loopback_pages: bool = False) -> Refusal | None:
        """Why a request with these headers (names in lower case) is refused, or None.

        With `loopback_pages`, pages of every port of this machine may come, where only this machine can reach us.
        """
        refusal = self._refusal(_header_values(headers, b"host"), _header_values(headers, b"origin"), loopback_pages)
        if refusal is not None:
            self._log(refusal)
        return refusal

    def cors_headers(self, headers: Headers, *, loopback_pages: bool = False) -> Headers:
        """The headers by which a browser lets the page that sent these read the response; none for who is refused."""
        origins = [value for name, value in headers if name == b"origin"]
        if not origins or self._refusal(
            _header_values(headers, b"host"), _header_values(headers, b"origin"), loopback_pages
        ):
            return []
        return [(b"access-control-allow-origin", origins[0]), (b"vary", b"Origin")]

    def _refusal(self, hosts: list[str], origins: list[str], loopback_pages: bool) -> Refusal | None:  # noqa: FBT001 - one call
        host = Authority.parse(hosts[0]) if hosts and hosts[0] else None
        if len(hosts) > 1 or (hosts and hosts[0] and not self._is_allowed_host(host)):
            return Refusal("Host", ", ".join(hosts), "ASKBOT_HOSTS")
        if len(origins) > 1 or (origins and not self._is_allowed_origin(origins[0], host, loopback_pages)):
            return Refusal("Origin", ", ".join(origins), "ASKBOT_ORIGINS")
        return None

    def _is_allowed_host(self, host: Authority | None) -> bool:
        if host is None:
            return False
        ports = (None, 80, 443) if host.port is None else (None, host.port)
        return host.is_address or host.is_loopback or any(Authority(host.name, port) in self._hosts for port in ports)

    def _is_allowed_origin(self, text: str, host: Authority | None, loopback_pages: bool) -> bool:  # noqa: FBT001 - one call
        if "*" in self._origins or _normalized(text) in self._origins:
            return True
        match = ORIGIN.fullmatch(text.lower())
        origin = Authority.parse(match[2]) if match else None
        if match is None or origin is None:
            return False
        default = DEFAULT_PORTS[match[1]]
        port = origin.port or default
        if origin.is_loopback and self._loopback and loopback_pages:
            return True
        if any(Authority(origin.name, allowed) in self._hosts for allowed in (None, port)):
            return True
        if host is None or (host.port or default) != port:
            return False
        return origin.name == host.name or (self._loopback and origin.is_loopback and host.is_loopback)

    def _log(self, refusal: Refusal) -> None:
        """A line for who is refused, but not one for each of a flood."""
        if self._log_bucket.acquire(now=self._now()):
            self._unlogged += 1
            return
        log.warning(
            "request_refused",
            header=refusal.header,
            value=ascii(refusal.value[:200])[1:-1],
            setting=refusal.setting,
            unlogged=self._unlogged,
        )
        self._unlogged = 0


def _header_values(headers: Headers, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name == wanted]


def _normalized(origin: str) -> str:
    """As browsers send it: in lower case, without the scheme's own port."""
    origin = origin.lower()
    scheme, _, rest = origin.partition("://")
    return f"{scheme}://{rest.removesuffix(f':{DEFAULT_PORTS[scheme]}')}" if scheme in DEFAULT_PORTS else origin
