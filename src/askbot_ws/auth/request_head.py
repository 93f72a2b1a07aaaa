"""Request head: what a request says before its body, in which credentials are looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs

PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of an HTTP request or of a WebSocket handshake. Its `repr` has neither query nor headers.

    Attributes:
        path: The path of the URL, for instance `/v1/chat`.
        query: The query string, without `?`; it may hold a ticket.
        headers: All headers in their order, as pairs of a name in lower case and a value.
        client_address: The IP address of the client; empty where there is none, as on a Unix socket.

    Example:
        head = askbot_ws.RequestHead("/v1/chat", headers=(("cookie", "sessionid=5f1d"),))
        assert head.cookie("sessionid") == "5f1d"
    """

    path: str
    query: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    client_address: str = ""

    @classmethod
    def of(cls, target: str, headers: Iterable[tuple[str, str]], client_address: str) -> Self:
        """Make a head.

        Args:
            target: Path and query, as in the first line of the request.
            headers: Pairs of a name, in any case, and a value.
            client_address: The IP address of the client.

        Returns:
            The head, with the names of headers in lower case.
        """
        path, _, query = target.partition("?")
        return cls(path, query, tuple((name.lower(), value.strip()) for name, value in headers), client_address)

    def header(self, name: str) -> str | None:
        """Return a header's value; several of that name are joined by commas. None: there is none.

        Args:
            name: The name, in any case.

        Returns:
            The value, or None.
        """
        values = [value for each, value in self.headers if each == name.lower()]
        return ", ".join(values) if values else None

    def parameter(self, name: str) -> str | None:
        """Return the value of a parameter of the query, the last one of several.

        Args:
            name: The name.

        Returns:
            The value, decoded; None: there is none.
        """
        return parse_qs(self.query, keep_blank_values=True, max_num_fields=None).get(name, [None])[-1]

    def cookie(self, name: str) -> str | None:
        """Return the value of a cookie, the first one of several.

        Args:
            name: The name, in its case.

        Returns:
            The value, without quotes; None: there is none.
        """
        for pair in (self.header("cookie") or "").replace(",", ";").split(";"):
            key, sign, value = pair.partition("=")
            if sign and key.strip() == name:
                return value.strip().strip('"')
        return None

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy has passed it on, so that `client_address` may be that of the proxy."""
        return any(name in PROXY_HEADERS or name.startswith("x-forwarded-") for name, _ in self.headers)

    @property
    def names_origin(self) -> bool:
        """Whether a browser says which page sent it: by `Origin`, or that it was one of this server."""
        return self.header("origin") is not None or self.header("sec-fetch-site") == "same-origin"
