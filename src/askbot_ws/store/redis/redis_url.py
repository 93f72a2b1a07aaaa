"""RedisUrl: where the servers are and how to log in, as ASKBOT_STORE says it."""

from __future__ import annotations

import re
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
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
OPTIONS = {"redis": {"service"}, "rediss": {"service", *TLS_OPTIONS}, "unix": {"db"}}
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
        ca_file: Whose certificates are trusted; None: those that the system trusts.
        certificate_file: A certificate of our own; None: there is none.
        key_file: Its key; None: it is in the same file.
    """

    addresses: tuple[Address, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str | None = None
    tls: ssl.SSLContext | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a URL. Raises `ConfigError` where it is invalid, which never repeats what may be a part of a password."""
    scheme, _, rest = url.partition("://")
    if scheme not in OPTIONS:
        _refuse("the scheme is redis, rediss or unix")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not OPTIONS[scheme].issuperset(options) or (query and not options):
        _refuse(
            f"the options of a {scheme}:// URL are {', '.join(sorted(OPTIONS[scheme]))}; in a password, write ? as %3F"
        )
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
    if database and not _is_number(database):
        _refuse("the database is a number")
    ca, certificate, key = (options.get(name) or None for name in TLS_OPTIONS)
    return RedisUrl(
        addresses,
        user=unquote(user) or None,
        password=unquote(password) or None,
        database=int(database or 0),
        service=options.get("service") or None,
        tls=_tls_context(ca, certificate, key) if scheme == "rediss" else None,
        ca_file=ca,
        certificate_file=certificate,
        key_file=key,
    )


def text_of(address: Address) -> str:
    """An address as it is shown to an operator."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoint(host: str, port: int, said_by: Address) -> Address:
    """An address that a server names; without a host, it is on the server's own."""
    if host in {"", "?"} and not isinstance(said_by, str):
        return said_by[0], port
    return host, port


def _parse_host(text: str, default_port: int) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(default_port)
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        _refuse("an address of IPv6 stands in brackets, as in redis://[::1]:6379")
    host = unquote(host.removeprefix("[").removesuffix("]"))
    if not _is_host(host) or not _is_number(port) or not 0 < int(port) < 65_536:
        _refuse("each server has a host and may have a port; in a password, write / ? # @ as %2F %3F %23 %40")
    return host, int(port)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def _is_host(text: str) -> bool:
    """Whether this may be the name or the address of a host."""
    try:
        return bool(text.encode("idna")) and text.isprintable() and " " not in text
    except UnicodeError:
        return False


def _tls_context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    if key and not certificate:
        _refuse("ssl_keyfile is the key of ssl_certfile, which is missing")
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key, _refuse_password)
    except OSError as error:  # SSLError is one
        _refuse(f"a file of {', '.join(TLS_OPTIONS)} can't be used ({error.strerror or 'invalid'})")
    return context


def _refuse_password() -> str:
    """Refuse to use a key that is encrypted: nobody is there to type its password."""
    _refuse("the key in ssl_keyfile is encrypted, and there is no password for it; decrypt it")


def _refuse(reason: str) -> NoReturn:
    raise ConfigError(f"ASKBOT_STORE: {reason}; the valid forms are {VALID_FORMS}.") from None
