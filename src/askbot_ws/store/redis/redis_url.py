"""RedisUrl: where the servers are and how to log in, as ASKBOT_STORE says it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias
from urllib.parse import parse_qsl, unquote

from ...errors import ConfigError

Address: TypeAlias = tuple[str, int] | str
"""A host and its port; or the path of a Unix socket."""

VALID_FORMS = (
    "redis://[user:password@]host[:port][,host[:port]…][/database][?service=NAME], rediss://… for TLS, "
    "or unix://[user:password@]/path[?db=database]"
)
OPTIONS = {"redis": {"service"}, "rediss": {"service", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}, "unix": {"db"}}
PORT, SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL, parsed.

    Attributes:
        addresses: A server, several nodes of a Cluster, or the Sentinels.
        user: Whom to log in as; None: the default user.
        password: The password; None: there is none.
        database: The number of the database.
        service: The name of the group that Sentinels watch; None: none was given.
        tls: How to make TLS connections; None: without TLS.
    """

    addresses: tuple[Address, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str | None = None
    tls: ssl.SSLContext | None = None


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a URL. Raises `ConfigError` where it is invalid, which never repeats what may be a part of a password."""
    scheme, _, rest = url.partition("://")
    if scheme not in OPTIONS:
        _refuse("the scheme is redis, rediss or unix")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not OPTIONS[scheme].issuperset(options) or (query and not options):
        _refuse(f"the options of a {scheme}:// URL are {', '.join(sorted(OPTIONS[scheme]))}")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    hosts, slash, path = place.partition("/")
    addresses: tuple[Address, ...]
    if scheme == "unix":
        if hosts or not path:
            _refuse("a unix:// URL has the path of a socket")
        addresses, database = (unquote(slash + path),), options.get("db", "")
    else:
        port = SENTINEL_PORT if "service" in options else PORT
        addresses, database = tuple(_parse_host(host, port) for host in hosts.split(",")), path
    if database and not (database.isascii() and database.isdigit()):
        _refuse("the database is a number")
    return RedisUrl(
        addresses,
        user=unquote(user) or None,
        password=unquote(password) or None,
        database=int(database or 0),
        service=options.get("service") or None,
        tls=_tls_context(options) if scheme == "rediss" else None,
    )


def text_of(address: Address) -> str:
    """An address as it is shown to an operator."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_host(text: str, default_port: int) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        _refuse("each server has a host and may have a port; in a password, write / ? # @ as %2F %3F %23 %40")
    return unquote(host), int(port)


def _tls_context(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs") or None)
        if options.get("ssl_certfile"):
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile") or None)
    except OSError as error:  # SSLError is one
        _refuse(f"a file of ssl_ca_certs, ssl_certfile or ssl_keyfile can't be used ({error.strerror or 'invalid'})")
    return context


def _refuse(reason: str) -> NoReturn:
    raise ConfigError(f"ASKBOT_STORE: {reason}; the valid forms are {VALID_FORMS}.") from None
