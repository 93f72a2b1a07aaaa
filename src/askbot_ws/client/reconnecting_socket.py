"""ReconnectingSocket: a WebSocket to the server that is opened again when it is lost.

It decides when to close, when to reconnect, and which errors are final. What frames mean is up to its owner.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from ..dialects.askbot.frames import (
    PROTOCOL,
    ClientFrame,
    GoingAway,
    Ready,
    ServerFrame,
    UnknownEvent,
    decode_server,
    encode,
)
from ..errors import AskbotError, Forbidden, SessionNotFound, Unauthorized
from .errors import Closed
from .view import Gap

MAX_SILENCE_SECONDS = 45.0  # the server sends `alive` after 20 s without another frame
MAX_FRAME_BYTES = 64 * 1024**2  # a page of history with long answers

# After these errors the connection is opened again. InvalidHandshake: a proxy's too. OSError: TimeoutError too.
_CONNECTION_ERRORS = (ConnectionClosed, InvalidHandshake, InvalidURI, InvalidProxy, OSError, Gap)

State: TypeAlias = Literal["connecting", "open", "waiting", "closed"]
"""What a conversation's connection does, as `connect` tells `on_state`.

`connecting`: it is being opened. `open`: the server has answered, and events arrive. `waiting`: it was lost, or
an attempt to open it failed, and the next one follows after a pause. `closed`: there will be no further attempt.
"""


def reconnect_delay(attempt: int) -> float:
    """Return the seconds to wait before an attempt to reconnect; the first one, 0, is made at once.

    Full jitter up to 30 s, so that not all clients connect to a restarted server in the same instant.
    """
    return random.uniform(0, min(30.0, 0.5 * 2**attempt)) if attempt else 0.0  # noqa: S311 - not a secret


class ResumePoint(NamedTuple):
    """What a connection is to read: the events of `session` after the position `after` of its history `log`.

    Without `session` it is a new one; without `after` the server begins with the newest turns.
    """

    session: str | None = None
    after: int | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server's URL, and how to connect to it: the arguments of `connect` that are about it."""

    url: str
    token: str | None = None
    ssl: SSLContext | None = None
    proxy: str | Literal[True] | None = True  # True: what the environment names
    silence: float = MAX_SILENCE_SECONDS  # seconds without a frame after which the connection is given up
    delay: Callable[[int], float] = reconnect_delay

    async def open(self, point: ResumePoint) -> ClientConnection:
        """Connect, and return the socket. Raises one of `_CONNECTION_ERRORS`."""
        parts = urlsplit(self.url)
        return await open_socket(
            resume_url(self.url, point),
            subprotocols=[Subprotocol(PROTOCOL)],
            additional_headers={"Authorization": f"Bearer {self.token}"} if self.token else None,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            ping_interval=None,  # `alive` is enough, and also shows that proxies pass frames on
            close_timeout=1,
            proxy=None if self.proxy is True and parts.hostname in {"127.0.0.1", "::1", "localhost"} else self.proxy,
            ssl=(self.ssl or True) if parts.scheme in {"wss", "https"} else None,
        )


class ReconnectingSocket:
    """A WebSocket that is replaced by another one when it is lost; its owner gives the position to resume after."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_state: Callable[[State], None],
        resume_point: Callable[[], ResumePoint],
        on_frame: Callable[[ServerFrame | UnknownEvent], Awaitable[None] | None],
    ) -> None:
        """`resume_point` returns what the next connection is to read.

        `on_frame` is called with each frame; where it returns an awaitable, the next one is read once that is done.
        """
        self.connection_number = 0  # counts the connections that got as far as `ready`
        self._endpoint = endpoint
        self._on_state = on_state
        self._resume_point = resume_point
        self._on_frame = on_frame
        self._socket: ClientConnection | None = None  # while it may send: from `ready` to `going_away`
        self._session: str | None = None  # the one that the URL of this connection names
        self._reconnect_at: float | None = None  # the loop's time
        self._attempts = 0  # to reconnect, without success

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: from `ready` to `going_away`."""
        return self._socket is not None

    def send(self, frame: ClientFrame) -> None:
        """Send a frame, without waiting. It is lost where the socket is not open, or breaks."""
        if self._socket:
            broadcast((self._socket,), encode(frame), text=True)

    async def run(self) -> None:
        """Connect, and reconnect for ever. Raises the final error; a failure of the first connection is `Closed`."""
        while True:
            self._on_state("connecting")
            try:
                await self._run_connection()
            except _CONNECTION_ERRORS as error:
                self._raise_if_final(error)
            finally:
                self._socket = None
            self._on_state("waiting")
            await asyncio.sleep(self._next_delay())

    async def _run_connection(self) -> None:
        point = self._resume_point()
        self._session = point.session
        socket = await self._endpoint.open(point)
        try:
            await self._read_frames(socket)
        finally:
            try:
                await socket.close()  # else cancelling would close it as an internal error
            finally:
                socket.transport.abort()  # also where closing is cancelled

    async def _read_frames(self, socket: ClientConnection) -> None:
        """Read frames until the socket ends. Raises TimeoutError after too long a silence, or at `_reconnect_at`."""
        self._reconnect_at = None
        while True:
            deadline = asyncio.get_running_loop().time() + self._endpoint.silence
            try:
                async with asyncio.timeout_at(min(deadline, self._reconnect_at or deadline)):
                    data = await socket.recv(decode=False)
            except TimeoutError:
                if self._reconnect_at is None:
                    socket.transport.abort()  # the peer is gone, so there is no closing handshake
                raise
            if (frame := decode_server(data)) and (wait := self._receive(socket, frame)):
                await wait

    def _receive(self, socket: ClientConnection, frame: ServerFrame | UnknownEvent) -> Awaitable[None] | None:
        if isinstance(frame, Ready) and self._socket is None and self._reconnect_at is None:
            self._socket = socket
            self.connection_number += 1
            self._on_state("open")
        elif not isinstance(frame, Ready):
            self._attempts = 0  # not at `ready`: a server that dies after it must not get a connection each moment
        if isinstance(frame, GoingAway):
            self._socket = None  # it may still send, but new requests wait for the next connection
            self._reconnect_at = asyncio.get_running_loop().time() + frame.reconnect_after
        return self._on_frame(frame)

    def _raise_if_final(self, error: Exception) -> None:
        """Raise where the error that ended a connection rules out another one, or the first one failed."""
        if final := _final_error(error, resumed=self._session is not None):
            raise final from error
        if not self.connection_number:
            raise Closed(f"There is no answer from {self._endpoint.url}: {_message_of(error)}.") from error

    def _next_delay(self) -> float:
        """Count an attempt, and return the seconds to wait before it."""
        until_ready = max(0.0, (self._reconnect_at or 0.0) - asyncio.get_running_loop().time())
        self._attempts += 1
        return until_ready + self._endpoint.delay(self._attempts - 1)


def resume_url(url: str, point: ResumePoint) -> str:
    """Return the URL to connect to, with the resume point in its query; the path is `/v1/chat` where it has none."""
    parts = urlsplit(url)
    given = {name: str(value) for name, value in point._asdict().items() if value is not None}
    query = dict(parse_qsl(parts.query)) | given
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path if parts.path.strip("/") else "/v1/chat"
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


def _final_error(error: Exception, *, resumed: bool) -> AskbotError | None:
    """Return the error that ends the conversation; None where reconnecting may help."""
    code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else None
    status = error.response.status_code if isinstance(error, InvalidStatus) else None
    match code or status:
        case 1000:
            return Closed("The server has ended the conversation.")
        case 4401 | 401:
            return Unauthorized()
        case 4403 | 403:
            return Forbidden()
        case 4404 if resumed:
            return SessionNotFound()
        case _:
            return None


def _message_of(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
