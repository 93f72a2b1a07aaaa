"""What we lean on of other packages' insides: where a new version changes it, this says so before anything else does.

`askbot_ws.server.http_connection` and `askbot_ws.server.websocket` extend classes of uvicorn and websockets. Their
ranges in pyproject.toml end at the versions for which this was seen to hold.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import httptools
import pytest
from starlette.applications import Starlette
from starlette.routing import Router
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.protocol import State
from websockets.server import ServerProtocol

from askbot_ws.testing import serving

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def source(thing: object) -> str:
    """Its text, without blanks."""
    return re.sub(r"\s+", "", inspect.getsource(thing))  # type: ignore[arg-type]


def test_the_ranges_end_where_nobody_has_looked() -> None:
    """What is installed is within them; the next minor version of uvicorn, the next major one of others is not."""
    needed: list[str] = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    for package, parts in (("uvicorn", 2), ("websockets", 1), ("starlette", 1)):
        (line,) = [line for line in needed if line.startswith(package)]
        upper = re.search(r"<([\d.]+)", line)
        assert upper, line
        limit = tuple(map(int, upper[1].split(".")))
        installed = tuple(map(int, version(package).split(".")[:parts]))
        assert installed < limit, f"{package} {version(package)}"


# --- uvicorn ---------------------------------------------------------------------------------------------------------


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"Hi", "more_body": False})


def protocol(app: Any = hello) -> tuple[HttpToolsProtocol, Transport]:
    config = Config(app, loop="none", ws="none", lifespan="off", interface="asgi3", log_config=None, workers=1)
    config.load()
    made, transport = HttpToolsProtocol(config, ServerState(), {}), Transport()
    made.connection_made(transport)
    return made, transport


async def test_uvicorns_protocol_has_what_ours_extends() -> None:
    """Attributes, callbacks of the parser, and the request that is being answered."""
    made, transport = protocol()
    for name in (
        "access_log", "connections", "flow", "headers", "loop", "logger", "parser", "pipeline", "server_state", "tasks",
        "timeout_keep_alive_task", "transport",
    ):  # fmt: skip
        assert name in vars(made), name
    assert isinstance(made.flow, FlowControl)
    assert made.flow.write_paused is False
    made.server_state.default_headers = [(b"x", b"y")]
    made.data_received(b"GET /there?x=y HTTP/1.1\r\nHost: me\r\nA: b\r\n\r\n")
    cycle = made.cycle
    assert isinstance(cycle, RequestResponseCycle)
    assert made.url == b"/there?x=y"
    assert made.headers == [(b"host", b"me"), (b"a", b"b")]
    assert made.scope["headers"] is made.headers, "what is changed there is what the application sees"
    for name in ("body", "disconnected", "keep_alive", "message_event", "response_complete", "response_started"):
        assert hasattr(cycle, name), name
    await asyncio.gather(*made.server_state.tasks)
    assert cycle.response_complete
    assert transport.written.startswith(STATUS_LINE[200] + b"x: y\r\n")
    assert made.timeout_keep_alive_task is not None
    made._unset_keepalive_if_required()  # pyright: ignore[reportPrivateUsage]
    assert vars(made)["timeout_keep_alive_task"] is None
    assert made in made.connections
    made.shutdown()
    assert transport.closed
    made.connection_lost(None)
    assert made not in made.connections


async def test_a_connection_of_uvicorn_may_end_before_its_first_byte() -> None:
    """`connection_lost` is ours to pass on at any time."""
    made, _ = protocol()
    made.connection_lost(OSError())


async def test_of_the_requests_that_wait_the_newest_is_the_first() -> None:
    """`cycle` is it, too; the oldest is answered next. Nothing is read meanwhile, which ours doesn't leave at that."""
    asked: list[str] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await hello(scope, receive, send)

    made, _ = protocol(noting)
    made.data_received(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n")
    assert [cycle.scope["path"] for cycle, _ in made.pipeline] == ["/3", "/2"]
    assert made.cycle is made.pipeline[0][0]
    assert made.flow.read_paused
    while made.server_state.tasks:
        await asyncio.gather(*made.server_state.tasks)
    assert asked == ["/1", "/2", "/3"]


async def test_an_exception_behind_the_head_of_a_response_ends_the_connection() -> None:
    """Without the end of the body: so an answer is broken off. It is logged by the protocol's own logger."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Hi", "more_body": True})
        raise RuntimeError

    made, transport = protocol(breaks)
    made.logger = logging.getLogger("tests.quiet")
    made.logger.disabled = True
    made.data_received(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.gather(*made.server_state.tasks)

    assert transport.closed
    assert transport.written.endswith(b"\r\n\r\n2\r\nHi\r\n")


async def test_a_request_that_is_given_up_says_no_more() -> None:
    """`disconnected` on the cycle: then the refusal that we write ourselves is the only answer."""

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    made, transport = protocol(waits)
    made.data_received(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    await asyncio.sleep(0)
    made.cycle.disconnected = True
    made.cycle.message_event.set()
    await asyncio.gather(*made.server_state.tasks)

    assert transport.written == b""


def test_the_parser_stops_after_the_head_of_an_upgrade() -> None:
    """And says how many bytes it took: the rest is the other protocol's."""

    class Callbacks:
        upgrade = None

        def on_headers_complete(self) -> None:
            self.upgrade = parser.should_upgrade()

    head = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    callbacks = Callbacks()
    parser = httptools.HttpRequestParser(callbacks)
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        parser.feed_data(head + b"rest")
    assert upgrade.value.args == (len(head),)
    assert callbacks.upgrade
    assert (parser.get_method(), parser.get_http_version()) == (b"GET", "1.1")


async def test_a_servers_config_leaves_the_logging_of_its_program_alone() -> None:
    """A host program's own uvicorn keeps its access log, and nothing of ours is in it, queries least of all."""
    theirs = logging.getLogger("uvicorn.access")
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    theirs.addHandler(handler)
    try:
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /?session=secret HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
        assert theirs.handlers == [handler]
        assert theirs.propagate
        assert lines.getvalue() == ""
    finally:
        theirs.removeHandler(handler)


def test_starlettes_router_can_be_told_not_to_redirect() -> None:
    """Where there is nothing, there is nothing."""
    assert isinstance(Starlette().router, Router)
    assert Starlette().router.redirect_slashes is True


# --- websockets ------------------------------------------------------------------------------------------------------


class Idle(ServerConnection):
    """Made for a connection, and never begun."""

    made: ClassVar[list[tuple[tuple[Any, ...], dict[str, Any]]]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made.append((arguments, options))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody need know."""


async def test_websockets_makes_a_connection_and_begins_it_later() -> None:
    """In the protocol factory, with these arguments; it serves it from `connection_made` on, and not before."""

    async def never(connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, create_connection=Idle) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
    ((arguments, options),) = Idle.made
    assert [type(each) for each in arguments] == [ServerProtocol, Server]
    assert {"ping_interval", "write_limit", "close_timeout", "max_queue"} <= options.keys()


def test_websockets_keeps_what_a_socket_writes_with() -> None:
    """Frames are written beside `send`: the state and the extensions say when that may be."""
    made = ServerProtocol()
    assert made.state is State.CONNECTING
    assert made.extensions == []
    assert callable(made.send_text)
    for name in ("send_data", "pause_writing", "resume_writing", "data_received", "connection_lost", "connection_made"):
        assert name in vars(Connection) or name in vars(ServerConnection), name
    assert "assertnotself.paused" in source(Connection.pause_writing)
    assert "self.transport=transport" in source(Connection.connection_made)
