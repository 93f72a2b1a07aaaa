"""Proxies: which client a request comes from, by what the proxies between say of it.

Anybody can write these headers, so they count only where the connection comes from a listed proxy, and from the right:
each proxy appends the address that it saw, so what stands left of the last address that is no listed proxy's was
written by the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, Self, TypeAlias, cast

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Scheme: TypeAlias = Literal["http", "https"]

UNIX = "unix"  # in the list of proxies: whoever connects through the Unix socket
MAX_HEADER_CHARS = 2048  # that are read of each header, from its end
MAX_FORWARDED_ELEMENTS = 16  # that are read of `Forwarded`, from its end
SCHEMES: dict[str, Scheme] = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
NODE = re.compile(r"\[([0-9a-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}|([0-9a-f:.]+)", re.IGNORECASE)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the word of RFC 9110, no secret
_PAIR = rf'{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
PAIR = re.compile(rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")')
LAST_ELEMENT = re.compile(rf"(?:^|,)[ \t]*({_PAIR}(?:;{_PAIR})*)[ \t]*$")  # of a `Forwarded` header (RFC 7239, 4)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose headers count."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, names: Iterable[str]) -> Self:
        """Parse addresses, networks and `unix`, as the setting has them. Raises ValueError."""
        names = tuple(names)
        return cls(tuple(ip_network(name) for name in names if name != UNIX), UNIX in names)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return self.unix or bool(self.networks)

    def __contains__(self, address: str) -> bool:
        """Return whether an IP address is a proxy's; empty: whoever connects through the Unix socket."""
        if not address:
            return self.unix
        known = _parse_address(address)
        return known is not None and any(known in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class RequestSender:
    """Who has sent a request, and how it was sent."""

    address: str  # the client's IP address; empty where there is none (Unix sockets)
    scheme: Scheme | None = None  # between the client and its proxy; None: no proxy says it
    host: str | None = None  # that the client has asked for; None: no proxy says it


def client_address(peer: str, headers: Headers, trusted: TrustedProxies) -> str:
    """Return the IP address of the client that sent a request; `peer` where no proxy says it, or says it wrongly.

    Args:
        peer: The address of the connection's other side; empty for a Unix socket.
        headers: Of the request, with names in lower case.
        trusted: The proxies that are believed.
    """
    return find_sender(peer, headers, trusted).address


def find_sender(peer: str, headers: Headers, trusted: TrustedProxies) -> RequestSender:
    """Return who has sent a request and how, see `client_address`.

    `X-Forwarded-For` counts before `Forwarded`: most proxies write the former, and pass on the latter as it came.
    """
    if peer not in trusted:
        return RequestSender(peer)
    chain = _list_header(headers, b"x-forwarded-for")
    if not chain and _header_values(headers, b"forwarded"):
        return _by_forwarded(peer, headers, trusted)
    address = _first_untrusted((_parse_node(node) for node in reversed(chain)), peer, trusted)
    scheme = _list_header(headers, b"x-forwarded-proto")
    host = _list_header(headers, b"x-forwarded-host")
    return RequestSender(
        address, SCHEMES.get(scheme[-1].lower()) if scheme else None, host[-1] or None if host else None
    )


def _first_untrusted(nodes: Iterable[str | None], peer: str, trusted: TrustedProxies) -> str:
    """Return the first address that is no proxy's, else the last one; `peer` where there is anything else before."""
    found = peer
    for node in nodes:
        if node is None:
            return peer
        found = node
        if node not in trusted:
            break
    return found


def _by_forwarded(peer: str, headers: Headers, trusted: TrustedProxies) -> RequestSender:
    """Return who has sent a request by `Forwarded`, and how, as the proxy nearest to the client says."""
    found = RequestSender(peer)
    for pairs in _forwarded_elements(headers):
        address = _parse_node(pairs.get("for", ""))
        if address is None:
            return RequestSender(peer)
        found = RequestSender(address, SCHEMES.get(pairs.get("proto", "").lower()), pairs.get("host") or None)
        if address not in trusted:
            break
    return found


def _forwarded_elements(headers: Headers) -> Iterator[dict[str, str]]:
    """Yield the elements of `Forwarded`, the last one first; an empty one where the rest is no such list.

    They are read from the end, as a quote that the client did not close would swallow what the proxies have appended.
    """
    left = ", ".join(_header_values(headers, b"forwarded"))
    for _ in range(MAX_FORWARDED_ELEMENTS):
        if not left:
            return
        match = LAST_ELEMENT.search(left)
        if match is None:
            yield {}
            return
        yield {name.lower(): _unquoted(value) for name, value in PAIR.findall(match[1])}
        left = left[: match.start()]
    yield {}


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _list_header(headers: Headers, name: bytes) -> list[str]:
    """Return the items of a header that is a list; it may be sent in several parts."""
    return [item.strip() for value in _header_values(headers, name) for item in value.split(",")]


def _header_values(headers: Headers, wanted: bytes) -> list[str]:
    values = [value[-MAX_HEADER_CHARS:].decode("latin-1") for name, value in headers if name == wanted]
    return [value for value in values if value.strip()]


def _parse_node(text: str) -> str | None:
    """Return the IP address of a client as a proxy writes it, with or without its port; None for anything else."""
    match = NODE.fullmatch(text.strip())
    address = _parse_address(next(filter(None, match.groups()))) if match else None
    return None if address is None else str(address)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address, as IPv4 where it is that in the form of IPv6; None for anything else."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return cast(IPv4Address | None, getattr(address, "ipv4_mapped", None)) or address
