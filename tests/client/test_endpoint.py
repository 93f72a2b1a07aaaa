"""The way to a server: `wss://`, and proxies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trustme

from askbot_ws import connect
from askbot_ws.client import Closed
from askbot_ws.testing import serving

from .. import certificates
from ..process import address
from .internals import cut


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates here; nobody else trusts it."""
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    return certificates.trusting(authority)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's, with a certificate for this name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass everything on to a port of this machine, and back."""
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(pipe(reader, other_writer), pipe(other_reader, writer))


@asynccontextmanager
async def relay(target: int, context: ssl.SSLContext) -> AsyncGenerator[int]:
    """What ends TLS before a server, as a load balancer does."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, target)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


class Tunnels:
    """An HTTP proxy that makes tunnels, all of which lead to one port."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.asked: list[str] = []
        self.refuses = 0  # how many of the next it refuses
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().splitlines()[0])
        if self.refuses > 0:
            self.refuses -= 1
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await join(reader, writer, self.target)


@asynccontextmanager
async def tunnels(target: int) -> AsyncGenerator[Tunnels]:
    proxy = Tunnels(target)
    async with await asyncio.start_server(proxy.accept, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no proxy."""
    for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy", "no_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_a_server_behind_tls_is_reached(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """`ssl` says whom to trust; `https://` means the same."""
    context = certified(authority, "localhost")
    async with serving() as server, relay(server.port, context) as port:
        for scheme in ("wss", "https"):
            async with connect(f"{scheme}://localhost:{port}", ssl=trusting) as chat:
                assert (await chat.ask("Why?")).text == "You asked: Why?"
        with pytest.raises(Closed, match="certificate"):
            await connect(f"wss://localhost:{port}")


async def test_the_proxy_of_the_environment_is_used(environ: pytest.MonkeyPatch) -> None:
    """The name is the proxy's to look up; a lost connection comes back the same way."""
    async with serving(hosts="chat.example") as server, tunnels(server.port) as proxy:
        environ.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with connect("ws://chat.example/v1/chat", delay=lambda _: 0.0) as chat:
            assert (await chat.ask("Why?")).text == "You asked: Why?"
            proxy.refuses = 1
            cut(server)
            assert (await chat.ask("And?")).text == "You asked: And?"

    assert proxy.asked == ["CONNECT chat.example:80 HTTP/1.1"] * 3


async def test_tls_goes_through_a_proxy(
    environ: pytest.MonkeyPatch, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """It ends at the server, not there."""
    context = certified(authority, "chat.example")
    async with serving(hosts="chat.example") as server, relay(server.port, context) as port, tunnels(port) as proxy:
        given = f"http://127.0.0.1:{proxy.port}"
        async with connect("wss://chat.example", ssl=trusting, proxy=given) as chat:
            assert (await chat.ask("Why?")).text == "You asked: Why?"

    assert proxy.asked == ["CONNECT chat.example:443 HTTP/1.1"]


async def test_no_proxy_is_used_for_this_machine_or_where_none_is_wanted(environ: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    async with serving(hosts="127.1") as server, tunnels(server.port) as proxy:
        environ.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with connect(address(server.port)) as chat:
            await chat.ask("Why?")
        async with connect(address(server.port).replace("127.0.0.1", "127.1"), proxy=None) as chat:
            await chat.ask("Why?")

    assert proxy.asked == []


async def test_a_proxy_that_is_not_there_is_told(environ: pytest.MonkeyPatch) -> None:
    """As a server is."""
    environ.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(Closed, match="no answer from"):
        await connect("ws://chat.example")
    with pytest.raises(Closed, match="no answer from"):
        await connect("ws://chat.example", proxy="nonsense")


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [("302 Found", "Location: /one", None), ("503 Busy", "Retry-After: 9", 9.0), ("200 OK", "Upgrade: x", None)],
)
async def test_a_header_that_comes_twice_is_a_failed_attempt(status: str, header: str, seconds: float | None) -> None:
    """Whatever answers is told as a server that can't be reached."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\n{header}\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Closed, match="There is no answer") as caught:
            await connect(f"ws://127.0.0.1:{port}/v1/chat")
    assert caught.value.retry_after == pytest.approx(seconds, abs=1)
