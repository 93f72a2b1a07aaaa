"""Endpoint: the server's URL, and how to open a socket to it.

What is told of a failure never has credentials: no user, password, query or fragment of a URL, and no token.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from ssl import SSLContext, SSLEOFError, SSLError, SSLSyscallError, SSLZeroReturnError
from typing import Literal, NamedTuple, Protocol, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import (
    InvalidMessage,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ..dialects.askbot.frames import PROTOCOL
from .backoff import reconnect_delay
from .credentials import Credentials

MAX_SILENCE_SECONDS = 45.0  # the server sends `alive` after 20 s without another frame
MAX_FRAME_BYTES = 64 * 1024**2  # a page of history with long answers
DEFAULT_PATH = "/v1/chat"  # of a URL without one
WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
UNKNOWN_URL = "the given URL"  # shown for one whose parts can't be told apart

_logger = logging.getLogger("askbot_ws.client")
_logger.setLevel(logging.INFO)  # at DEBUG, websockets logs the request: its query, and the token


class ResumePoint(NamedTuple):
    """What a connection is to read: the events of `session` after the position `after` of its history `log`.

    Without `session` it is a new one; without `after` the server begins with the newest turns.
    """

    session: str | None = None
    after: int | None = None
    log: str | None = None


class ConnectError(Exception):
    """No connection could be opened; the message has no credentials.

    `retryable` is whether a later attempt may succeed, `status` the HTTP status of a refused handshake, `retry_after`
    for how many seconds the server wants no other.
    """

    def __init__(
        self, message: str, *, retryable: bool, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.retry_after = retry_after


class Socket(Protocol):
    """What is needed of a WebSocket that is open.

    Attributes:
        clock_offset: The server's time, in seconds since 1970, less the event loop's, as it was at the handshake.
    """

    clock_offset: float

    async def recv(self, decode: Literal[False]) -> bytes:
        """Return the next message. Raises `ConnectionClosed`."""
        ...

    def send_soon(self, data: bytes) -> None:
        """Send a text message in UTF-8, without waiting. It is lost where the socket breaks."""
        ...

    async def close(self) -> None:
        """Close it as the protocol has it."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class WebSocket(ClientConnection):
    """A `Socket` of the websockets package."""

    clock_offset: float = 0.0

    def send_soon(self, data: bytes) -> None:
        """Send a text message in UTF-8, without waiting."""
        broadcast((self,), data, text=True)

    def abort(self) -> None:
        """Close it at once."""
        self.transport.abort()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server's URL, and how to connect to it: the arguments of `connect` that are about it."""

    url: str = field(repr=False)
    credentials: Credentials = field(default_factory=Credentials)
    ssl: SSLContext | None = None
    proxy: str | Literal[True] | None = field(default=True, repr=False)  # True: what the environment names
    silence: float = MAX_SILENCE_SECONDS  # seconds without a frame after which the connection is given up
    delay: Callable[[int], float] = reconnect_delay

    async def open(self, point: ResumePoint, ticket: str | None = None) -> Socket:
        """Connect, with this ticket where there is one already. Raises `ConnectError` or `TokenError`."""
        token = await self.credentials.get_token()
        ticket = ticket or await self.credentials.get_ticket()
        try:
            return await self._open_socket(point, token, ticket)
        except InvalidStatus as error:
            failure = _refusal(error.response)
        except (WebSocketException, OSError, ValueError, LookupError) as error:  # LookupError: a header comes twice
            failure = ConnectError(safe_message(error), retryable=_may_pass(error))
        raise failure  # not in the block above: the error would be its context, and has the URL

    async def _open_socket(self, point: ResumePoint, token: str | None, ticket: str | None) -> Socket:
        parts, began = urlsplit(self.url), asyncio.get_running_loop().time()
        opening = open_socket(
            resume_url(self.url, point, ticket),
            subprotocols=[Subprotocol(PROTOCOL)],
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,  # `alive` is enough, and also shows that proxies pass frames on
            close_timeout=1,
            proxy=None if self.proxy is True and parts.hostname in {"127.0.0.1", "::1", "localhost"} else self.proxy,
            ssl=(self.ssl or True) if parts.scheme in {"wss", "https"} else None,
            logger=_logger,
            create_connection=WebSocket,
        )
        socket = cast("WebSocket", await opening)
        date = socket.response.headers.get_all("Date") if socket.response else []
        socket.clock_offset = _server_time(date) - began  # `began` is early by the handshake, as the date may be
        return socket


def resume_url(url: str, point: ResumePoint, ticket: str | None = None) -> str:
    """Return the URL to connect to, with resume point and ticket in its query; its path is `/v1/chat` by default."""
    parts = urlsplit(url)
    wanted = {**point._asdict(), "ticket": ticket}
    given = {name: str(value) for name, value in wanted.items() if value is not None}
    query = dict(parse_qsl(parts.query)) | given
    scheme = WEBSOCKET_SCHEMES.get(parts.scheme, parts.scheme)
    path = parts.path if parts.path.strip("/") else DEFAULT_PATH
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


# --- whether a later attempt may succeed -----------------------------------------------------------------------------


def is_temporary(status: int) -> bool:
    """Return whether an HTTP status tells of a fault that may pass: the server's own, or too much or too slow."""
    return status in {408, 425, 429} or (status >= 500 and status not in {501, 505})


def _may_pass(error: Exception) -> bool:
    """Return whether a later attempt may succeed: not where the URL, a certificate or the kind of server is wrong."""
    match error:
        case InvalidProxyStatus():
            return is_temporary(error.response.status_code)
        case InvalidMessage() | InvalidProxyMessage():
            return isinstance(error.__cause__, EOFError)  # it was closed before its answer, as by a restart
        case SSLEOFError() | SSLZeroReturnError() | SSLSyscallError():
            return True  # as above
        case SSLError() | PermissionError():
            return False
        case _:
            return isinstance(error, OSError | ProxyError)


# --- what is told of a failure ---------------------------------------------------------------------------------------


def safe_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, or `UNKNOWN_URL` where they can't be told apart."""
    with suppress(ValueError):
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme and host and "@" not in parts.path + parts.query + parts.fragment:
            host = f"[{host}]" if ":" in host else host
            return urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", parts.path, "", ""))
    return UNKNOWN_URL


def safe_message(error: Exception) -> str:
    """Return what an error says, with the URLs in it as `safe_url` returns them; its type where it says nothing."""
    match error:
        case InvalidURI():
            return f"the URL isn't valid: {error.msg}"
        case InvalidProxy():
            return "the proxy's URL isn't valid"
        case ValueError() if not isinstance(error, OSError):  # a certificate's error is both
            return "the URL isn't valid"
        case _:
            text = re.sub(r"\w[\w+.-]*://\S+", lambda found: safe_url(found[0]), str(error))
            return text.rstrip(".") or type(error).__name__


def _refusal(response: Response) -> ConnectError:
    status = response.status_code
    given = response.headers.get_all("Retry-After") if status in {429, 503} else []
    waits = [wait for each in given if (wait := _seconds_of(each)) is not None]
    message = f"it has refused the connection: HTTP {status}"
    return ConnectError(message, retryable=is_temporary(status), status=status, retry_after=max(waits, default=None))


def _seconds_of(retry_after: str) -> float | None:
    """Return the seconds that a `Retry-After` header has, or until the date in it; None where it has neither."""
    if retry_after.isdecimal():
        return seconds if math.isfinite(seconds := float(retry_after)) else None
    date = _parse_date(retry_after)
    return None if date is None else max(0.0, date - time.time())


def _server_time(dates: list[str]) -> float:
    """Return the time that a `Date` header has, in seconds since 1970; this machine's where there is none."""
    date = _parse_date(dates[0]) if dates else None
    return time.time() if date is None else date


def _parse_date(written: str) -> float | None:
    """Return an HTTP date in seconds since 1970; None where it is none."""
    with suppress(ValueError, OverflowError):
        date = parsedate_to_datetime(written)
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    return None
