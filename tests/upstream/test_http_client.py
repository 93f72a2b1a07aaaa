"""The HTTP client: one socket, whatever happens to it."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import cast

import pytest
import uvloop

from askbot_ws.errors import UpstreamError, UpstreamStalled, UpstreamUnavailable
from askbot_ws.upstream import http_client
from askbot_ws.upstream.http_client import HttpClient, HttpUrl, PreparedRequest
from askbot_ws.upstream.http_exchange import HttpExchange, Response, Sink
from askbot_ws.upstream.provider_connection import ProviderConnection, is_stale_connection
from tests.provider import Provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    client.close()


class Script(asyncio.Protocol):
    """A server that sends these bytes for each request, and then closes, or does not."""

    def __init__(self, pieces: tuple[bytes, ...], *, close: bool) -> None:
        self.left = asyncio.Event()
        self._pieces, self._close = pieces, close
        self.transports: list[asyncio.Transport] = []
        self._tasks: list[asyncio.Task[None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transports.append(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set()

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._tasks.append(asyncio.create_task(self._send(self.transports[-1])))

    async def _send(self, transport: asyncio.Transport) -> None:
        for piece in self._pieces:
            transport.write(piece)
            await asyncio.sleep(0)
        if self._close:
            transport.close()

    def abort(self) -> None:
        for transport in self.transports:
            transport.abort()


@asynccontextmanager
async def server(*pieces: bytes, close: bool = False, host: str = "127.0.0.1") -> AsyncGenerator[tuple[str, Script]]:
    script = Script(pieces, close=close)
    listener = await asyncio.get_running_loop().create_server(lambda: script, host, 0)
    name = f"[{host}]" if ":" in host else host
    yield f"http://{name}:{listener.sockets[0].getsockname()[1]}/", script
    await asyncio.sleep(0.01)  # a connection may be about to be accepted
    listener.close()
    script.abort()
    await asyncio.sleep(0)


async def fetch(
    client: HttpClient, url: str, *, patience: float = 5.0, sink: Sink | None = None
) -> tuple[str, Response]:
    body: list[bytes] = []

    def keep(data: bytes) -> None:
        body.append(data)

    response = await client.send(
        PreparedRequest.prepare("GET", HttpUrl.parse(url), {}), sink or keep, stall_timeout=patience
    )
    return b"".join(body).decode(), response


async def ask(client: HttpClient, provider: Provider, script: str, sink: Sink | None = None) -> Response:
    request = {"stream": True, "messages": [{"role": "user", "content": script}]}
    url, body = HttpUrl.parse(provider.url + "/chat/completions"), json.dumps(request).encode()
    return await client.send(
        PreparedRequest.prepare("POST", url, {}), sink or (lambda data: None), body=lambda: body, stall_timeout=5.0
    )


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe", b"llo\r\n0\r\nTrailer: 1\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    ],
)
async def test_every_framing_gives_the_body(client: HttpClient, pieces: list[bytes]) -> None:
    """Counted or chunked, in one read or many."""
    async with server(*pieces) as (url, _):
        body, response = await fetch(client, url)

    assert (body, response.status) == ("hello", 200)
    assert "link" not in response.headers


async def test_a_body_may_end_with_the_connection(client: HttpClient) -> None:
    """As HTTP/1.0 has it."""
    async with server(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", close=True) as (url, _):
        assert (await fetch(client, url))[0] == "hello"


async def test_what_one_read_brings_is_one_call(client: HttpClient) -> None:
    """However many chunks it holds: the cost is per call."""
    calls: list[bytes] = []

    def sink(data: bytes) -> None:
        calls.append(data)

    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with server(head + b"1\r\na\r\n" * 100 + b"0\r\n\r\n") as (url, _):
        await fetch(client, url, sink=sink)

    assert calls == [b"a" * 100]


async def test_an_error_has_its_status_headers_and_body(client: HttpClient) -> None:
    """The body is not the sink's."""
    async with server(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy") as (url, _):
        body, response = await fetch(client, url)

    assert body == ""
    assert response == Response(429, {"retry-after": "3", "content-length": "4"}, b"busy")


async def test_an_endless_error_is_cut(client: HttpClient) -> None:
    """64 KiB tell enough; the rest is not read."""
    async with server(b"HTTP/1.1 500 No\r\nContent-Length: 9000000\r\n\r\n", b"x" * 200_000) as (url, script):
        _, response = await fetch(client, url)
        async with asyncio.timeout(5):
            await script.left.wait()

    assert len(response.body) == 65_536


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",  # it is cut
    ],
)
async def test_an_answer_that_has_ended_leaves_nothing_to_collect(client: HttpClient, head: bytes) -> None:
    """In a circle, all that it refers to stays until a garbage collection, which stops the server for its time."""
    gc.collect()
    gc.disable()
    try:
        async with server(head + b"1\r\na\r\n0\r\n\r\n", close=True) as (url, script):
            with suppress(UpstreamError):
                await fetch(client, url)
            await script.left.wait()
        left = [found for found in gc.get_objects() if type(found) is HttpExchange]
    finally:
        gc.enable()

    assert left == []


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [b"SSH-2.0-OpenSSH_9.6\r\n"],
        [b"\x16\x03\x01\x02\x00\x01"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nxyz"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n"],
        [b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 70_000],
        [b"HTTP/1.1 200 OK\r\n", *(b"X-%d: %b\r\n" % (n, b"y" * 1000) for n in range(70))],
    ],
)
async def test_what_is_not_http_is_said_and_left(client: HttpClient, pieces: list[bytes]) -> None:
    """Something else listens there; headers without end are no better."""
    async with server(*pieces) as (url, script):
        with pytest.raises(UpstreamUnavailable) as caught:
            await fetch(client, url)
        async with asyncio.timeout(5):
            await script.left.wait()

    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nConte"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ],
)
async def test_a_connection_that_closes_too_early_is_an_error(client: HttpClient, pieces: list[bytes]) -> None:
    """A half answer is never taken for a whole one."""
    async with server(*pieces, close=True) as (url, _):
        with pytest.raises(UpstreamUnavailable):
            await fetch(client, url)


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"]])
async def test_silence_is_a_stall_and_the_connection_is_closed(client: HttpClient, pieces: list[bytes]) -> None:
    """Before the first byte, and after any."""
    async with server(*pieces) as (url, script):
        with pytest.raises(UpstreamStalled):
            await fetch(client, url, patience=0.05)
        async with asyncio.timeout(5):
            await script.left.wait()


async def test_a_server_that_closes_at_once_is_an_error(client: HttpClient) -> None:
    """Before the request is out: nothing is waited for, nothing is kept."""
    listener = await asyncio.start_server(lambda reader, writer: writer.transport.abort(), "127.0.0.1", 0)
    for _ in range(20):
        with pytest.raises(UpstreamUnavailable):
            await fetch(client, f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", patience=60)
    listener.close()
    await asyncio.sleep(0.01)

    assert not client._connections  # pyright: ignore[reportPrivateUsage]


async def test_a_host_that_does_not_take_the_connection_is_given_up() -> None:
    """In time: a full backlog, or a firewall that swallows packets."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        with socket.socket() as second:
            second.settimeout(0)
            second.connect_ex(full.getsockname())
            client = HttpClient(connect_timeout=0.05)
            with pytest.raises(UpstreamUnavailable) as caught:
                await fetch(client, f"http://127.0.0.1:{full.getsockname()[1]}/")

    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "xn--a"])
async def test_a_name_that_leads_nowhere_is_an_error(client: HttpClient, host: str) -> None:
    """Whatever the resolver says."""
    with pytest.raises(UpstreamUnavailable):
        await fetch(client, f"http://{host}/")


async def test_an_error_of_the_sink_is_the_callers(client: HttpClient, provider: Provider) -> None:
    """It is not lost in the loop, and the provider is left."""

    def full(data: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        await ask(client, provider, "tokens:100 rate:100", full)
    async with asyncio.timeout(5):
        await provider.seen[0].over.wait()

    assert provider.seen[0].left


def test_a_header_with_a_line_end_is_refused() -> None:
    """It would be two headers."""
    with pytest.raises(ValueError, match="line end"):
        PreparedRequest.prepare("GET", HttpUrl.parse("http://127.0.0.1/"), {"X": "a\r\nY: b"})


def test_a_provider_that_sends_and_sends_does_not_keep_the_others_waiting() -> None:
    """By itself, libuv would read megabytes before it looks at anything else."""
    total, most = 8 * 2**20, 0

    def provide(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + bytes(total))

    async def ask(port: int) -> int:
        nonlocal most
        got = seen = 0

        def take(data: bytes) -> None:
            nonlocal got
            got += len(data)

        client = HttpClient()
        request = PreparedRequest.prepare("GET", HttpUrl.parse(f"http://127.0.0.1:{port}/"), {})
        asking = asyncio.create_task(client.send(request, take, stall_timeout=5.0))
        while not asking.done():
            await asyncio.sleep(0)
            most, seen = max(most, got - seen), got
        client.close()
        return got

    with socket.create_server(("127.0.0.1", 0)) as listening:
        provider = threading.Thread(target=provide, args=(listening,))
        provider.start()
        assert uvloop.run(ask(listening.getsockname()[1])) == total
        provider.join()
    assert most <= 512 * 1024


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(("piece", "pieces"), [(10, 30), (400_000, 30), (10, 0)])
def test_what_has_come_while_the_process_was_paused_is_no_silence(
    run: Callable[[Coroutine[None, None, int]], int], piece: int, pieces: int
) -> None:
    """It is read first, also where reading rests after a large read; a provider that was silent then has stalled."""
    total = piece * 30

    def provide(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            for _ in range(pieces):
                time.sleep(0.05)
                connection.sendall(bytes(piece))
            connection.recv(1)  # until the client has left

    async def ask(port: int) -> int:
        client = HttpClient()
        request = PreparedRequest.prepare("GET", HttpUrl.parse(f"http://127.0.0.1:{port}/"), {})
        got = 0

        def take(data: bytes) -> None:
            nonlocal got
            got += len(data)

        asyncio.get_running_loop().call_later(0.2, time.sleep, 1.0)
        try:
            await client.send(request, take, stall_timeout=0.5)
        finally:
            client.close()
        return got

    with socket.create_server(("127.0.0.1", 0)) as listening:
        provider = threading.Thread(target=provide, args=(listening,))
        provider.start()
        with nullcontext() if pieces else pytest.raises(UpstreamStalled):
            assert run(ask(listening.getsockname()[1])) == total
        provider.join()


async def test_a_loop_that_is_always_late_leaves_a_provider_that_is_silent(client: HttpClient) -> None:
    """It is given once what it takes to read what has come."""
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") as (url, _):
        asking = asyncio.create_task(fetch(client, url, patience=0.3))
        for _ in range(30):
            await asyncio.sleep(0)
            if asking.done():
                break
            time.sleep(0.25)  # noqa: ASYNC251 - it blocks
        assert isinstance(asking.exception(), UpstreamStalled)


# --- connections -----------------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again(client: HttpClient, provider: Provider) -> None:
    """As long as one suffices."""
    for _ in range(3):
        await ask(client, provider, "say:a")
    await asyncio.gather(*(ask(client, provider, "tokens:5 rate:100") for _ in range(2)))
    await ask(client, provider, "say:a")

    assert [seen.connection for seen in provider.seen[:4]] == [0, 0, 0, 0]
    assert len(provider.connections) == 2


@pytest.mark.parametrize("script", ["framing:close say:a", "status:500", "framing:length say:a"])
async def test_only_a_connection_that_lives_is_used_again(client: HttpClient, provider: Provider, script: str) -> None:
    """After any of these the next request is answered."""
    await ask(client, provider, script)

    assert (await ask(client, provider, "say:a")).status == 200


async def test_a_connection_that_was_closed_while_idle_is_not_used(client: HttpClient, provider: Provider) -> None:
    """The server's right; the end may have been read by the loop or not."""
    await ask(client, provider, "say:a")
    provider.connections[0].shut_down()
    await ask(client, provider, "say:b")
    provider.connections[1].shut_down()
    await asyncio.sleep(0.01)
    await ask(client, provider, "say:c")

    assert [seen.connection for seen in provider.seen] == [0, 1, 2]


async def test_a_request_is_sent_once(client: HttpClient, provider: Provider) -> None:
    """Closed on the request, before a byte of an answer: said so, and whoever asked decides."""
    await ask(client, provider, "say:a")
    with pytest.raises(UpstreamUnavailable) as kept:
        await ask(client, provider, "hangup")
    with pytest.raises(UpstreamUnavailable) as fresh:
        await ask(client, provider, "hangup")

    assert (is_stale_connection(kept.value), is_stale_connection(fresh.value)) == (True, False)
    assert [seen.connection for seen in provider.seen] == [0, 0, 1]


async def test_with_a_stale_connection_those_go_that_were_idle_for_longer(
    client: HttpClient, provider: Provider
) -> None:
    """They are no better, and each would cost a try."""
    await asyncio.gather(*(ask(client, provider, "tokens:3 rate:100") for _ in range(3)))
    with pytest.raises(UpstreamUnavailable):
        await ask(client, provider, "hangup")
    await ask(client, provider, "say:a")

    assert len(provider.connections) == 4


async def test_what_closes_because_we_end_is_not_stale(client: HttpClient, provider: Provider) -> None:
    """Nobody would send that again."""
    await ask(client, provider, "say:a")
    task = asyncio.create_task(ask(client, provider, "stall"))
    await asyncio.sleep(0.01)
    client.close()
    with pytest.raises(UpstreamUnavailable) as caught:
        await task

    assert not is_stale_connection(caught.value)


async def test_an_idle_connection_grows_old() -> None:
    """And is closed, though nobody asks any more."""
    client = HttpClient(max_idle=0.02)
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, script):
        await fetch(client, url)
        async with asyncio.timeout(5):
            await script.left.wait()


async def test_more_idle_connections_than_the_limit_are_closed(
    client: HttpClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst does not hold its sockets."""
    monkeypatch.setattr(http_client, "MAX_IDLE_PER_ORIGIN", 2)
    await asyncio.gather(*(ask(client, provider, "tokens:3 rate:100") for _ in range(5)))
    await asyncio.gather(*(ask(client, provider, "tokens:3 rate:100") for _ in range(5)))

    assert len(provider.connections) == 8


async def test_bytes_that_nobody_asked_for_end_the_connection(client: HttpClient) -> None:
    """A second response could be taken for the next one's."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
    async with server(response + response) as (url, script):
        assert (await fetch(client, url))[0] == "a"
        async with asyncio.timeout(5):
            await script.left.wait()


async def test_a_sink_that_has_enough_ends_the_wait_and_keeps_the_connection(client: HttpClient) -> None:
    """What is left of the body is waited for aside."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    async with server(head, b"", b"", b"0\r\n\r\n") as (url, script):
        await fetch(client, url, sink=lambda data: 0.0)
        await asyncio.sleep(0.02)
        await fetch(client, url, sink=lambda data: 0.0)

        assert len(script.transports) == 1


async def test_a_body_that_goes_on_after_enough_is_cut(client: HttpClient) -> None:
    """The provider would go on, and we would pay."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    async with server(head, b"enough", b"more") as (url, script):
        await fetch(client, url, sink=lambda data: 0.0)
        async with asyncio.timeout(5):
            await script.left.wait()


async def test_a_sink_that_waits_a_little_gets_a_good_end(client: HttpClient) -> None:
    """It has what matters; what does not come is not missed."""
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello") as (url, script):
        _, response = await fetch(client, url, sink=lambda data: 0.02)
        async with asyncio.timeout(5):
            await script.left.wait()

    assert response.status == 200


@pytest.mark.parametrize("patience", ["usual", "little"])
async def test_a_cancel_closes_the_connection_at_once(client: HttpClient, provider: Provider, patience: str) -> None:
    """The provider sees it, also after the last text."""
    arrived = asyncio.Event()

    def sink(data: bytes) -> float | None:
        arrived.set()
        return None if patience == "usual" else 60.0

    task = asyncio.create_task(ask(client, provider, "tokens:3 stall after:3", sink))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await provider.seen[0].over.wait()

    assert provider.seen[0].left


async def test_a_cancel_while_it_connects_leaves_nothing(client: HttpClient) -> None:
    """Not even a connection for later."""
    async with server() as (url, _):
        task = asyncio.create_task(fetch(client, url))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_the_client_ends_what_runs(provider: Provider) -> None:
    """A task that still waits hears of it."""
    client = HttpClient()
    task = asyncio.create_task(ask(client, provider, "stall"))
    await asyncio.sleep(0.05)
    client.close()

    with pytest.raises(UpstreamError):
        await task


async def test_nagle_is_off(client: HttpClient, provider: Provider) -> None:
    """A small request is not held back."""
    await ask(client, provider, "say:a")
    (connection,) = client._connections  # pyright: ignore[reportPrivateUsage]
    sock: socket.socket = connection._transport.get_extra_info("socket")  # pyright: ignore[reportPrivateUsage]

    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- TLS and addresses -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody signed, in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(file), "-out", str(file.with_suffix(".crt"))]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


async def test_tls_works_for_whom_we_trust(certificate: Path) -> None:
    """HTTP/1.1 is what we offer, cancelling and reuse are the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    client = HttpClient(ssl_context=ssl.create_default_context(cafile=str(certificate)))
    async with Provider(context=context) as provider:
        for _ in range(2):
            assert (await ask(client, provider, "tokens:50")).status == 200
        client.close()
        await asyncio.sleep(0.01)

    assert len(provider.connections) == 1


async def test_tls_does_not_work_for_a_stranger(client: HttpClient, certificate: Path) -> None:
    """The error says why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Provider(context=context) as provider:
        with pytest.raises(UpstreamUnavailable) as caught:
            await ask(client, provider, "say:a")
        await asyncio.sleep(0.05)  # until the server has noticed

    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a", HttpUrl(("a", 80, False), "a", "/")),
        ("https://a.b/v1", HttpUrl(("a.b", 443, True), "a.b", "/v1")),
        ("http://a:8000/v1?x=1", HttpUrl(("a", 8000, False), "a:8000", "/v1?x=1")),
        ("http://[::1]:8000/", HttpUrl(("::1", 8000, False), "[::1]:8000", "/")),
        ("http://me:pass@a/", HttpUrl(("a", 80, False), "a", "/")),
    ],
)
def test_an_address_has_its_parts(text: str, url: HttpUrl) -> None:
    """Those that HTTP needs apart."""
    assert HttpUrl.parse(text) == url


async def test_ipv6_works(client: HttpClient) -> None:
    """Where the machine has it."""
    try:
        async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", host="::1") as (url, _):
            assert (await fetch(client, url))[0] == "a"
    except OSError:
        pytest.skip("no IPv6 here")


class Wire(asyncio.Transport):
    """Takes everything, until it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


@pytest.mark.parametrize("crossing", ["cancel", "close"])
async def test_what_arrives_when_nobody_waits_any_more_is_no_fault(crossing: str) -> None:
    """A cancel, or the end of our patience, and the last bytes may cross."""
    wire = Wire()
    connection = ProviderConnection(("127.0.0.1", 80, False), HttpClient())
    connection.connection_made(wire)
    waiting = connection.send(b"GET / HTTP/1.1\r\n\r\n", lambda _: 0.0, stall_timeout=5.0)
    if crossing == "cancel":
        waiting.cancel()
    else:
        connection.close()

    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")

    assert wire.aborted
    connection.connection_lost(None)
    expected = asyncio.CancelledError if crossing == "cancel" else UpstreamUnavailable
    with pytest.raises(expected):
        await waiting
