"""Line: a connection to a server that comes back by itself.

It knows when to leave, when to come back and what ends it for good. What is said on it is its owner's business.
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

SILENCE = 45.0  # the server says `alive` after 20 s
MAX_FRAME = 64 * 1024**2  # a page of history with long answers

# What a connection may end with and be made again. InvalidHandshake: a proxy's too. OSError: TimeoutError too.
_LOST = (ConnectionClosed, InvalidHandshake, InvalidURI, InvalidProxy, OSError, Gap)

State: TypeAlias = Literal["connecting", "open", "waiting", "closed"]


def delay(tries: int) -> float:
    """Full jitter, so that a restarted server is not met by every client in the same instant; the first is at once."""
    return random.uniform(0, min(30.0, 0.5 * 2**tries)) if tries else 0.0  # noqa: S311 - not a secret


class Place(NamedTuple):
    """What a connection is to read: everything of `session` after the place `after` of its history `log`.

    Without a session it is a new one; without `after` an old one is told from its newest turns on.
    """

    session: str | None = None
    after: int | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to the server; all that `connect` was told of it. Times in seconds."""

    url: str
    token: str | None = None
    ssl: SSLContext | None = None
    proxy: str | Literal[True] | None = True  # True: as the environment says
    silence: float = SILENCE
    delay: Callable[[int], float] = delay

    async def open(self, place: Place) -> ClientConnection:
        """A socket that reads from there on."""
        parts = urlsplit(self.url)
        return await open_socket(
            address(self.url, place),
            subprotocols=[Subprotocol(PROTOCOL)],
            additional_headers={"Authorization": f"Bearer {self.token}"} if self.token else None,
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,  # `alive` tells as much, and of the whole way
            close_timeout=1,
            proxy=None if self.proxy is True and parts.hostname in {"127.0.0.1", "::1", "localhost"} else self.proxy,
            ssl=(self.ssl or True) if parts.scheme in {"wss", "https"} else None,
        )


class Line:
    """One connection after another."""

    def __init__(
        self,
        way: Way,
        *,
        on_state: Callable[[State], None],
        place: Callable[[], Place],
        hear: Callable[[ServerFrame | UnknownEvent], Awaitable[None] | None],
    ) -> None:
        """`place` says what the next connection is to read.

        `hear` takes the frames; where it returns something to wait for, the next one is read after that.
        """
        self.number = 0  # of the connections so far that got as far as `ready`
        self._way = way
        self._on_state = on_state
        self._place = place
        self._hear = hear
        self._socket: ClientConnection | None = None  # while it takes frames: from `ready` to `going_away`
        self._session: str | None = None  # the one that the address named
        self._leave_at: float | None = None
        self._tries = 0

    @property
    def open(self) -> bool:
        """Whether it takes frames."""
        return self._socket is not None

    def send(self, frame: ClientFrame) -> None:
        """Send a frame, or lose it: only an answer says that it has arrived."""
        if self._socket:
            broadcast((self._socket,), encode(frame), text=True)

    async def run(self) -> None:
        """Connect, and connect again. Raises what ends it for good; the first connection has to succeed."""
        while True:
            self._on_state("connecting")
            try:
                await self._connection()
            except _LOST as error:
                self._lost(error)
            finally:
                self._socket = None
            self._on_state("waiting")
            await asyncio.sleep(self._pause())

    async def _connection(self) -> None:
        place = self._place()
        self._session = place.session
        socket = await self._way.open(place)
        try:
            await self._read(socket)
        finally:
            try:
                await socket.close()  # else leaving would tell the server of an internal error
            finally:
                socket.transport.abort()  # who is cancelled in the middle of that leaves no open socket either

    async def _read(self, socket: ClientConnection) -> None:
        """Hear frames, until it is time to leave or the socket is dead."""
        self._leave_at = None
        while True:
            deadline = asyncio.get_running_loop().time() + self._way.silence
            try:
                async with asyncio.timeout_at(min(deadline, self._leave_at or deadline)):
                    data = await socket.recv(decode=False)
            except TimeoutError:
                if self._leave_at is None:
                    socket.transport.abort()  # nobody is there to say goodbye to
                raise
            if (frame := decode_server(data)) and (wait := self._heard(socket, frame)):
                await wait

    def _heard(self, socket: ClientConnection, frame: ServerFrame | UnknownEvent) -> Awaitable[None] | None:
        if isinstance(frame, Ready) and self._socket is None and self._leave_at is None:
            self._socket = socket
            self.number += 1
            self._on_state("open")
        elif not isinstance(frame, Ready):
            self._tries = 0  # a server that dies after `ready` must not be hammered
        if isinstance(frame, GoingAway):
            self._socket = None  # it may still tell, but what is asked now waits for the next one
            self._leave_at = asyncio.get_running_loop().time() + frame.reconnect_after
        return self._hear(frame)

    def _lost(self, error: Exception) -> None:
        """A connection has ended: raises where that is for good."""
        if fatal := _ending(error, resumed=self._session is not None):
            raise fatal from error
        if not self.number:
            raise Closed(f"There is no answer from {self._way.url}: {_words(error)}.") from error

    def _pause(self) -> float:
        """How long to wait before the next connection."""
        drained = max(0.0, (self._leave_at or 0.0) - asyncio.get_running_loop().time())
        self._tries += 1
        return drained + self._way.delay(self._tries - 1)


def address(url: str, place: Place) -> str:
    """Where to connect: the URL, with the place to resume from; the usual path where it has none."""
    parts = urlsplit(url)
    known = {name: str(value) for name, value in place._asdict().items() if value is not None}
    query = dict(parse_qsl(parts.query)) | known
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path if parts.path.strip("/") else "/v1/chat"
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


def _ending(error: Exception, *, resumed: bool) -> AskbotError | None:
    """What ends the conversation for good; None where it is worth coming back."""
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


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
