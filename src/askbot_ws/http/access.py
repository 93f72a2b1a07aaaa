"""Access policy: accepts or refuses requests by their `Host` and `Origin` headers.

A page of another site can make a browser connect to this server, by its name or (DNS rebinding) by a name of the
site's own that resolves to its address. So `Host` must be a name of this server, and `Origin`, where there is one, the
server's own or a listed one. Programs that send no `Origin` are accepted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

import structlog

from ..core.limits import TokenBucket
from ..metrics import RefusalReason

DEFAULT_PORTS = {"http": 80, "https": 443}
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]:/?#@\\%,]+?)\.?(?::(\d{0,5}))?")
ORIGIN = re.compile(r"(https?)://(.+)")

Headers = Sequence[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and its port, as in a URL or a `Host` header."""

    name: str  # in lower case, without brackets and without a final dot
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse a host with an optional port; returns None for anything else, also with a user, a path or a blank."""
        match = AUTHORITY.fullmatch(text.lower())
        if match is None or int(match[2] or 0) > 65535:
            return None
        return cls(match[1].strip("[]"), int(match[2]) if match[2] else None)

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address, which no name server can redirect."""
        return _is_ip_address(self.name)

    @property
    def is_loopback(self) -> bool:
        """Whether it names the machine itself."""
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
    """Why a request is refused: a header, its value, and the setting that would allow it."""

    header: str
    value: str
    setting: str
    reason: RefusalReason

    @property
    def message(self) -> str:
        """The message for the client."""
        what = "This host name is not ours" if self.header == "Host" else "This origin may not connect"
        return f"{what}; the operator can allow it with {self.setting}."


class AccessPolicy:
    """The names of this server, and the origins whose pages may use it."""

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        origins: Sequence[str],
        loopback: bool,
        now: Callable[[], float],
        own_names: Sequence[str] = (),
        counts: Counter[RefusalReason] | None = None,
    ) -> None:
        """`hosts` and `origins` are those of the settings; `loopback`: only this machine can reach the server.

        `now` is a monotonic clock in seconds, which limits the rate of log lines. `own_names` are names by which the
        server may be called, too, but no origins: pages of other ports of this machine are foreign. Refusals are added
        to `counts`.
        """
        self._own_names = _parsed(own_names)
        self.replace_allowed(hosts=hosts, origins=origins)
        self._loopback = loopback
        self._now = now
        self._counts: Counter[RefusalReason] = Counter() if counts is None else counts
        self._log_bucket = TokenBucket(rate=0.1, burst=5)
        self._unlogged = 0

    def replace_allowed(self, *, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """Accept these hosts and origins from now on, and no others."""
        self._hosts = _parsed(hosts)
        self._named = self._hosts | self._own_names
        self._origins = frozenset(_normalized(origin.rstrip("/")) for origin in origins)

    def check(
        self, headers: Headers, *, secure: bool = False, loopback_pages: bool = False, address: str = ""
    ) -> Refusal | None:
        """Return why a request with these headers (names in lower case) is refused, or None; counts and logs refusals.

        `secure`: it came over HTTPS, so that a page of the same host that came over HTTP is foreign. With
        `loopback_pages`, pages of any port of this machine are accepted where only this machine can connect.
        `address` is the client's IP address, for the log; empty where there is none.
        """
        refusal = self._refusal(headers, secure=secure, loopback_pages=loopback_pages)
        if refusal is not None:
            self._counts[refusal.reason] += 1
            self._log(refusal, address)
        return refusal

    def would_accept(self, headers: Headers, *, secure: bool) -> bool:
        """Return whether a request with these headers (names in lower case) would be accepted.

        `secure`: it came over HTTPS.
        """
        return self._refusal(headers, secure=secure, loopback_pages=False) is None

    def cors_headers(self, headers: Headers, *, secure: bool = False, loopback_pages: bool = False) -> Headers:
        """Return the headers that let the page which sent these read the response; none where it is refused."""
        origins = [value for name, value in headers if name == b"origin"]
        if not origins or self._refusal(headers, secure=secure, loopback_pages=loopback_pages):
            return []
        return [(b"access-control-allow-origin", origins[0]), (b"vary", b"Origin")]

    def _refusal(self, headers: Headers, *, secure: bool, loopback_pages: bool) -> Refusal | None:
        hosts, origins = _header_values(headers, b"host"), _header_values(headers, b"origin")
        host = Authority.parse(hosts[0]) if hosts and hosts[0] else None
        if len(hosts) > 1 or (hosts and hosts[0] and not self._is_allowed_host(host)):
            return Refusal("Host", ", ".join(hosts), "ASKBOT_HOSTS", "host_not_allowed")
        if len(origins) > 1 or (
            origins and not self._is_allowed_origin(origins[0], host, secure=secure, loopback_pages=loopback_pages)
        ):
            return Refusal("Origin", ", ".join(origins), "ASKBOT_ORIGINS", "origin_not_allowed")
        return None

    def _is_allowed_host(self, host: Authority | None) -> bool:
        if host is None:
            return False
        ports = (None, 80, 443) if host.port is None else (None, host.port)
        return host.is_address or host.is_loopback or any(Authority(host.name, port) in self._named for port in ports)

    def _is_allowed_origin(self, text: str, host: Authority | None, *, secure: bool, loopback_pages: bool) -> bool:
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
        if secure and match[1] != "https":  # whoever is between the browser and us can write such a page
            return False
        if any(Authority(origin.name, allowed) in self._hosts for allowed in (None, port)):
            return True
        return (
            host is not None
            and (host.port or default) == port
            and (origin.name == host.name or (self._loopback and origin.is_loopback and host.is_loopback))
        )

    def _log(self, refusal: Refusal, address: str) -> None:
        """Log a refusal, at a limited rate."""
        if self._log_bucket.acquire(now=self._now()):
            self._unlogged += 1
            return
        log.warning(
            "request_refused",
            header=refusal.header,
            value=ascii(refusal.value[:200])[1:-1],
            setting=refusal.setting,
            address=address,
            unlogged=self._unlogged,
        )
        self._unlogged = 0


def _parsed(hosts: Sequence[str]) -> frozenset[Authority]:
    return frozenset(authority for host in hosts if (authority := Authority.parse(host)) is not None)


def _header_values(headers: Headers, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name == wanted]


def _normalized(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's default port."""
    origin = origin.lower()
    scheme, _, rest = origin.partition("://")
    return f"{scheme}://{rest.removesuffix(f':{DEFAULT_PORTS[scheme]}')}" if scheme in DEFAULT_PORTS else origin
