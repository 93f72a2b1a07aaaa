"""Address: where a server can be reached."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from .listening import AF_UNIX, openable_host

CHAT_PATH = "/v1/chat"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, as clients and people write it.

    Attributes:
        sockets: The sockets on which it listens, at least one.
        named_host: The host as the settings name it.
        has_tls: Whether connections over TCP use TLS.
    """

    sockets: Sequence[socket.socket]
    named_host: str
    has_tls: bool

    @property
    def _socket(self) -> socket.socket:
        """The socket on which it listens; of several, a TCP socket."""
        return min(self.sockets, key=lambda each: each.family == AF_UNIX)

    @property
    def unix(self) -> str | None:
        """The path of the Unix socket; None for a TCP socket."""
        return str(self._socket.getsockname()) if self._socket.family == AF_UNIX else None

    @property
    def host(self) -> str | None:
        """The name or address on which it listens; None for a Unix socket."""
        return self.named_host if self.unix is None else None

    @property
    def port(self) -> int:
        """The port on which it listens; 0 for a Unix socket."""
        return 0 if self.unix is not None else int(self._socket.getsockname()[1])

    @property
    def authority(self) -> str:
        """Host and port as in a URL that can be opened on this machine; for a Unix socket, its path."""
        if self.unix is not None:
            return self.unix
        host = openable_host(self._socket) or self.named_host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return self.unix is None and openable_host(self._socket) is not None

    @property
    def page_url(self) -> str:
        """The URL of the page, for instance `http://127.0.0.1:8765/`; without a path for a Unix socket."""
        if self.unix is not None:
            return f"http+unix:{self.unix}"
        return f"{'https' if self.has_tls else 'http'}://{self.authority}/"

    @property
    def url(self) -> str:
        """The URL to which clients connect, for instance `ws://127.0.0.1:8765/v1/chat`.

        For a Unix socket, `ws+unix:/run/askbot/askbot.sock:/v1/chat`.
        """
        if self.unix is not None:
            return f"ws+unix:{self.unix}:{CHAT_PATH}"
        return f"{'wss' if self.has_tls else 'ws'}://{self.authority}{CHAT_PATH}"
