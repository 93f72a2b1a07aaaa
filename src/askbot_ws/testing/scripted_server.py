"""ScriptedServer: a WebSocket server that says what a script tells it to, at any moment, right or wrong."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ..dialects.askbot.frames import PROTOCOL, encode
from ..events import Record
from ..server.listening import stop_accepting
from .scripted_connection import (
    Close,
    Cut,
    Frame,
    Receive,
    Refuse,
    RequireToken,
    Script,
    ScriptedConnection,
    ServerStep,
)

CLOSE_TIMEOUT_SECONDS = 1.0
UNAUTHORIZED = 4401  # the close code
_PLACEHOLDER = re.compile(r"\$(\w+)\.(\w+)")


class ScriptedServer:
    """A server that plays scripts, one for each connection: for tests of clients.

    It listens on a free port of this machine while its block runs. The first connection plays the first script, the
    second one the second, and all after the last script play that one again. A script is a sequence of steps:

    - a frame to send: a `dict`, which need not be a right frame, or a model of one; a `ScriptedLog` makes right ones.
      In it, `"$ask.id"` stands for the field `id` of the frame that a `Receive` has taken under the name `ask`
    - `str`, `bytes`: a text message or a binary message, as it is
    - `Receive`: a wait for the client's next frame
    - `float`: a pause, in seconds
    - `asyncio.Event`: a wait until the event is set
    - a function: it is called with the `ScriptedConnection`, and the frames that it returns, if any, are sent
    - `Close`, `Cut`: the end of the connection; `Refuse`: of its handshake
    - `RequireToken`: the end of one whose client shows another token

    After its script a connection stays open, and what the client sends is recorded. Leaving the block ends all
    connections and all tasks.

    Attributes:
        connections: All attempts to connect, refused ones too, oldest first.

    Raises:
        Exception: By leaving the block: the first error of a script, such as a `"$ask.id"` before any `ask`.

    Example:
        ```python
        import asyncio
        from askbot_ws import connect
        from askbot_ws.testing import Cut, Receive, ScriptedLog, ScriptedServer

        async def main() -> None:
            log = ScriptedLog()
            server = ScriptedServer(
                [log.ready(), Receive("ask"), log.question(), log.token("Be"), Cut()],
                [log.resume(), log.token("cause."), log.done()],
            )
            async with server, connect(server.url) as chat:
                assert (await chat.ask("Why?")).answer == "Because."
            assert len(server.frames("ask")) == 1
            assert server.connections[1].query["after"] == "3"

        asyncio.run(main())
        ```
    """

    def __init__(self, *scripts: Script) -> None:
        """Make a server.

        Args:
            *scripts: One for each connection; at least one.

        Raises:
            ValueError: There is no script.
        """
        if not scripts:
            raise ValueError("a ScriptedServer needs a script")
        self.connections: list[ScriptedConnection] = []
        self._scripts = scripts
        self._named: dict[str, Mapping[str, Any]] = {}  # the frames that Receive has taken, by name
        self._open: dict[ServerConnection, tuple[ScriptedConnection, Script]] = {}
        self._transports: set[asyncio.Transport] = set()  # of all TCP connections, before their handshakes too
        self._connected = asyncio.Event()
        self._errors: list[Exception] = []
        self._server: WebSocketServer | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = next(iter(self._listening.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/v1/chat"

    def frames(self, type: str | None = None) -> list[Mapping[str, Any]]:
        """Return the frames that clients sent on all connections.

        Args:
            type: Only those of this type.

        Returns:
            The JSON objects, in the order of the connections.
        """
        return [frame for connection in self.connections for frame in connection.frames(type)]

    async def connected(self, count: int = 1) -> ScriptedConnection:
        """Wait until there was a number of attempts to connect.

        Args:
            count: How many.

        Returns:
            The last one of them.
        """
        while len(self.connections) < count:
            self._connected.clear()
            await self._connected.wait()
        return self.connections[count - 1]

    @property
    def _listening(self) -> WebSocketServer:
        if self._server is None:
            raise RuntimeError("a ScriptedServer runs inside its `async with` block only")
        return self._server

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._begin,
            select_subprotocol=_select_subprotocol,
            create_connection=_connection_class(self._transports),
            compression=None,
            ping_interval=None,
            max_size=None,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_accepting(listening.fileno() for listening in self._listening.sockets)
        self._listening.close(close_connections=False)
        for transport in tuple(self._transports):
            transport.abort()
        await self._listening.wait_closed()
        if self._errors and error is None:
            raise self._errors[0]

    # --- a connection ------------------------------------------------------------------------------------------------

    def _begin(self, socket: ServerConnection, request: Request) -> Response | None:
        """Count an attempt to connect, and choose its script."""
        url = urlsplit(request.path)
        connection = ScriptedConnection(
            url.path, dict(parse_qsl(url.query)), request.headers, asyncio.get_running_loop().time()
        )
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
        self.connections.append(connection)
        self._connected.set()
        if script and isinstance(required := script[0], RequireToken):
            script = script[1:] if _has_token(connection, required) else [_refusal(connection)]
        if script and isinstance(refusal := script[0], Refuse):
            connection.finished.set()
            response = socket.respond(refusal.status, refusal.text)
            response.headers.update(refusal.headers)
            return response
        self._open[socket] = connection, script
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        connection, script = self._open[socket]
        playing = asyncio.create_task(self._play(connection, socket, script))
        try:
            with suppress(ConnectionClosed):
                async for data in socket:
                    connection.record(data)
        finally:
            connection.close_code = socket.close_code
            playing.cancel()
            await asyncio.wait([playing])
            del self._open[socket]

    async def _play(self, connection: ScriptedConnection, socket: ServerConnection, script: Script) -> None:
        try:
            for step in script:
                await self._take(step, connection, socket)
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 - the test that has the block sees it
            self._errors.append(error)
            socket.transport.abort()
        finally:
            connection.finished.set()

    async def _take(self, step: ServerStep, connection: ScriptedConnection, socket: ServerConnection) -> None:
        match step:
            case float() | int():
                await asyncio.sleep(step)
            case asyncio.Event():
                await step.wait()
            case Receive(type, name):
                frame = await connection.receive(type)
                self._named[name or str(frame.get("type"))] = frame
            case Close(code, reason):
                await socket.close(code, reason)
            case Cut(reset):
                _cut(socket, reset=reset)
            case Refuse() | RequireToken():
                raise ValueError(f"{step.__class__.__name__} is the first step of a script")
            case str() | bytes() | Mapping() | Record():
                await socket.send(self._encode(step))
            case _:
                for made in step(connection) or ():
                    await socket.send(self._encode(made))

    def _encode(self, message: Frame | str | bytes) -> str | bytes:
        match message:
            case str() | bytes():
                return message
            case Record():
                return encode(message).decode()
            case _:
                return json.dumps(self._fill(message))

    def _fill(self, value: object) -> object:
        """Return a value with what its placeholders stand for."""
        match value:
            case str() if found := _PLACEHOLDER.fullmatch(value):
                return self._named[found[1]].get(found[2])
            case Mapping():
                fields = cast("Mapping[str, Any]", value)
                return {name: self._fill(each) for name, each in fields.items()}
            case list() | tuple():
                return [self._fill(each) for each in cast("Sequence[Any]", value)]
            case _:
                return value


def _has_token(connection: ScriptedConnection, required: RequireToken) -> bool:
    return not {connection.token, connection.ticket}.isdisjoint(required.accepted)


def _refusal(connection: ScriptedConnection) -> Close | Refuse:
    """Return how a client without the right token is refused: a page can't read the status of a handshake."""
    return Close(UNAUTHORIZED) if connection.is_page else Refuse(401)


def _connection_class(transports: set[asyncio.Transport]) -> type[ServerConnection]:
    """Return a class of connections whose transports are in `transports`, from their first moment to their last one."""

    class TrackedConnection(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transports.add(self.transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.discard(self.transport)
            super().connection_lost(exc)

    return TrackedConnection


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol(PROTOCOL) if PROTOCOL in offered else None


def _cut(connection: ServerConnection, *, reset: bool) -> None:
    if reset:
        raw: socket.socket = connection.transport.get_extra_info("socket")
        with suppress(OSError):  # the client has ended it already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()
