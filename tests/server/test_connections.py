"""One port for both: HTTP, and the WebSocket that a request may ask for; the same over every way to it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from askbot_ws.server import app
from askbot_ws.server.app import Server
from askbot_ws.server.http_connection import HttpConnection
from askbot_ws.testing import ScriptedUpstream

from ..http.raw_requests import BrokenOffError, chunk_of, head_of, lines, response_of
from ..process import eventually
from .transports import Way, limited, made

HOST = "Host: 127.0.0.1"
JSON = "Content-Type: application/json"
HANDSHAKE = (
    HOST, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)  # fmt: skip


def asking(prompt: str, *fields: str) -> bytes:
    """A whole request."""
    body = json.dumps({"userPrompt": prompt}).encode()
    return lines("POST", "/aiCompletion", HOST, JSON, f"Content-Length: {len(body)}", *fields) + body


async def frame_of(reader: asyncio.StreamReader) -> dict[str, object]:
    """The next text frame of a WebSocket; none here is long."""
    first, length = await reader.readexactly(2)
    assert first == 0x81
    size = int.from_bytes(await reader.readexactly(2)) if length == 126 else length
    frame: dict[str, object] = json.loads(await reader.readexactly(size))
    return frame


def test_a_conversation_by_websocket(way: Way) -> None:
    """As ever."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["Hello ", "there."])):
            socket = await way.connect()
            await socket.send(json.dumps({"type": "ask", "text": "Well?"}))
            frames = [json.loads(await socket.recv())]
            while frames[-1]["type"] != "done":
                frames.append(json.loads(await socket.recv()))
            await socket.close()
            assert "".join(frame["text"] for frame in frames if frame["type"] == "token") == "Hello there."

    way.run(case)


def test_a_long_answer_comes_whole(way: Way) -> None:
    """Half a megabyte in slices: the transport's flow control is the same over each way."""

    async def case(way: Way) -> None:
        text = "0123456789" * 1000
        async with way.serving(ScriptedUpstream([text] * 50)):
            socket = await way.connect()
            await socket.send(json.dumps({"type": "ask", "text": "Much?"}))
            answer, frame = "", {"type": ""}
            while frame["type"] != "done":
                frame = json.loads(await socket.recv())
                answer += frame["text"] if frame["type"] == "token" else ""
            await socket.close()
            assert answer == text * 50

    way.run(case)


def test_requests_one_after_the_other(way: Way) -> None:
    """On one connection, which stays: pages, errors, bodies of known and unknown length, an answer as it comes."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["Hello ", "there."], ["Again."])):
            reader, writer = await way.open()
            for request, method, status in (
                (lines("GET", "/", HOST), "GET", 200),
                (lines("HEAD", "/askbot.js", HOST), "HEAD", 200),
                (lines("GET", "/nothing", HOST), "GET", 404),
                (lines("DELETE", "/", HOST), "DELETE", 405),
                (lines("GET", "/v1/chat", HOST), "GET", 426),
                (asking("Well?"), "POST", 200),
                (lines("POST", "/aiCompletion", HOST, JSON, "Transfer-Encoding: chunked")
                 + b'11;x=y\r\n{"userPrompt": "A\r\n1\r\n"\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n', "POST", 200),
                (b"\r\n\r\n" + lines("GET", "/healthz", HOST), "GET", 200),
            ):  # fmt: skip
                writer.write(request)
                assert (await response_of(reader, method)).status == status, request
            writer.write(lines("GET", "/healthz", HOST, "Connection: close"))
            last = await response_of(reader)
            assert (last.status, last.headers["connection"]) == (200, "close")
            assert last.headers["date"].endswith(" GMT")
            assert last.headers["server"].startswith("askbot-ws/")
            assert await reader.read() == b""
            writer.close()

    way.run(case)


def test_a_request_that_comes_byte_by_byte(way: Way) -> None:
    """Nothing depends on how it was cut."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So."])):
            reader, writer = await way.open()
            for byte in asking("Well?") + lines("GET", "/healthz", HOST):
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await response_of(reader)).body == b"So."
            assert (await response_of(reader)).status == 200
            writer.close()

    way.run(case)


def test_requests_that_do_not_wait_are_answered_in_their_order(way: Way) -> None:
    """Pipelined, the first one slow."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So", 0.05, "."])):
            reader, writer = await way.open()
            writer.write(asking("Well?") + lines("GET", "/healthz", HOST) + lines("GET", "/nothing", HOST))
            answers = [await response_of(reader) for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 404]
            assert answers[0].body == b"So."
            writer.close()

    way.run(case)


@pytest.mark.parametrize("leave", ["close", "abort"])
def test_leaving_is_noticed_though_another_request_waits(way: Way, leave: str) -> None:
    """It has been sent behind the question, whose model stops all the same; of a whole one and of half of one."""

    async def case(way: Way) -> None:
        upstream = ScriptedUpstream(["So", asyncio.Event()], ["So", asyncio.Event()])
        async with way.serving(upstream) as server:
            for number, behind in enumerate((lines("GET", "/healthz", HOST), asking("Again?")[:-1])):
                reader, writer = await way.open()
                writer.write(asking("Well?"))
                await head_of(reader)
                assert await chunk_of(reader) == b"So"
                writer.write(behind)
                await eventually(lambda: any(each.pipeline for each in connections(server)))
                getattr(writer if leave == "close" else writer.transport, leave)()
                await eventually(lambda: upstream.stopped > number, 5)  # noqa: B023 - awaited at once
                await eventually(lambda: not server.acceptor.state.tasks and server.hub.session_count == 0)
            assert server.acceptor.connection_limits.count == 0

    way.run(case)


def connections(server: Server) -> list[HttpConnection]:
    """Those over which HTTP is spoken."""
    return [each for each in server.acceptor.state.connections if isinstance(each, HttpConnection)]


def test_a_request_that_waits_is_received(way: Way) -> None:
    """Its body has its time and its size; where it keeps to neither, those before it are answered as ever."""

    async def case(way: Way) -> None:
        first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
        upstream = ScriptedUpstream(["So", first, "."], ["Yes."], ["So", second, "."], ["So", third, "."])
        async with way.serving(upstream, max_frame=10_000) as server:
            limited(server, body_timeout=1)
            whole = asking("Again?")
            large = lines("POST", "/aiCompletion", HOST, JSON, "Content-Length: 6000") + b"x" * 6000
            for gate, behind, answers in (
                (first, [whole[:-5], whole[-5:]], [b"So.", b"Yes."]),
                (second, [whole[:-5]], [b"So."]),
                (third, [large, large[:-5], large[-5:]], [b"So.", b""]),
            ):
                reader, writer = await way.open()
                writer.write(asking("Well?"))
                for part in behind:
                    await asyncio.sleep(0.05)
                    writer.write(part)
                await asyncio.sleep(1.2)
                gate.set()
                for answer in answers:
                    response = await response_of(reader)
                    assert response.body == answer or response.status == 400
                if answers[-1] != b"Yes.":
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
                writer.close()

    way.run(case)


def test_a_handshake_on_a_kept_connection(way: Way) -> None:
    """After pages, and with the first frame right behind it."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So."])) as server:
            reader, writer = await way.open()
            for _ in range(3):
                writer.write(lines("GET", "/", HOST))
                assert (await response_of(reader)).status == 200
            ping = Frame(Opcode.TEXT, b'{"type":"ping","id":"p"}').serialize(mask=True)
            writer.write(lines("GET", "/v1/chat", *HANDSHAKE) + ping)
            response = await head_of(reader)
            assert (response.status, response.headers["upgrade"]) == (101, "websocket")
            assert (await frame_of(reader))["type"] == "ready"
            assert await frame_of(reader) == {"type": "pong", "id": "p"}
            assert server.connection_count == 1
            writer.close()

    way.run(case)


def test_a_handshake_while_the_response_before_it_is_on_its_way(way: Way) -> None:
    """It is complete, but not taken yet: the WebSocket begins on a connection that takes no more for now."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So."])) as server:
            reader, writer = await way.open(limit=2**10)
            await eventually(lambda: connections(server) != [])
            (connection,) = connections(server)
            kernel = connection.transport.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # less than a response: it takes a part of one
            state, asked, answered = server.acceptor.state, 0, 0
            for tries in range(200):
                if asked and state.total_requests == asked and (stuck(server) or tries > 50):
                    break
                if stuck(server):  # in the middle of a response
                    assert (await response_of(reader)).status == 200
                    answered += 1
                else:
                    writer.write(lines("GET", "/asyncapi.json", HOST))
                    asked += 1
                await eventually(lambda: state.total_requests == asked or stuck(server))  # noqa: B023 - awaited at once
            assert stuck(server) or way.kind == "tls", "TLS takes a response whole"
            writer.write(lines("GET", "/v1/chat", *HANDSHAKE))
            await eventually(lambda: not state.connections)
            for _ in range(asked - answered):
                assert (await response_of(reader)).status == 200
            assert (await head_of(reader)).status == 101
            assert (await frame_of(reader))["type"] == "ready"
            writer.write(Frame(Opcode.TEXT, b'{"type":"ask","text":"?"}').serialize(mask=True))
            assert [(await frame_of(reader))["type"] for _ in range(3)] == ["question", "token", "done"]
            writer.close()

    way.run(case)


def stuck(server: Server) -> bool:
    """Whether the transport of its HTTP connection takes no more."""
    return any(each.flow.write_paused for each in connections(server))


def test_an_upgrade_that_is_not_taken_is_as_if_it_were_not_offered(way: Way) -> None:
    """To HTTP/2, with a body, from HTTP/1.0, behind a request that is being answered; the next request is read, too."""

    async def case(way: Way) -> None:
        offers = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        async with way.serving(ScriptedUpstream(["One."], ["Two."], ["Three", 0.05, "."])):
            reader, writer = await way.open()
            writer.write(lines("GET", "/healthz", HOST, *offers) + asking("Well?", *offers))
            assert (await response_of(reader)).status == 200
            assert (await response_of(reader)).body == b"One."
            writer.write(asking("Well?", *HANDSHAKE[1:]))
            assert (await response_of(reader)).body == b"Two."
            writer.write(asking("Well?") + lines("GET", "/v1/chat", *HANDSHAKE))
            assert (await response_of(reader)).body == b"Three."
            assert (await response_of(reader)).status == 426
            writer.write(lines("GET", "/v1/chat", *HANDSHAKE, "Content-Length: 00"))
            assert (await response_of(reader)).status == 426
            writer.write(lines("GET", "/v1/chat", *HANDSHAKE).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            assert (await response_of(reader)).status == 426
            writer.close()

    way.run(case)


def test_what_is_malformed_is_400(way: Way) -> None:
    """And the connection ends; never 5xx, which operators are called for. Whole requests before it are answered."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So", 0.05, "."])):
            for sent in (
                b"GET\r\n\r\n",
                b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
                lines("GET", "/", "Host : 127.0.0.1"),
                lines("GET", "/", HOST, "X: y", " folded"),
                lines("GET", "/ /", HOST),
                lines("POST", "/", HOST, "Content-Length: 1", "Content-Length: 2"),
                lines("POST", "/", HOST, "Content-Length: 1", "Transfer-Encoding: chunked"),
                lines("POST", "/", HOST, "Content-Length: -1"),
                lines("POST", "/", HOST, "Content-Length: 1x"),
                lines("POST", "/aiCompletion", HOST, "Transfer-Encoding: chunked") + b"x\r\n",
                lines("POST", "/", HOST, "Transfer-Encoding: gzip") + b"x",
                lines("GET", "example.com:80", HOST),
                lines("CONNECT", "example.com:80", HOST),
                lines("GET", "/", HOST).replace(b"HTTP/1.1", b"HTTP/2.0", 1),
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ):
                reader, writer = await way.open()
                writer.write(sent)
                response = await response_of(reader)
                assert (response.status, response.headers["connection"]) == (400, "close"), sent
                assert await reader.read() == b""
                writer.close()
            reader, writer = await way.open()
            writer.write(asking("Well?") + b"nonsense\r\n\r\n")
            assert (await response_of(reader)).body == b"So."
            assert await reader.read() == b""
            writer.close()

    way.run(case)


def test_a_connection_that_ends_anywhere_leaves_nothing_behind(way: Way) -> None:
    """Before a byte, in every part of a request, during the response: the count is right, and no task remains."""

    async def case(way: Way) -> None:
        upstream = ScriptedUpstream(["So", asyncio.Event()])
        async with way.serving(upstream, max_connections=5) as server:
            whole = asking("Well?")
            for place in [*range(0, len(whole), 20), len(whole)]:
                reader, writer = await way.open()
                writer.write(whole[:place])
                await writer.drain()
                if place == len(whole):
                    assert (await head_of(reader)).status == 200
                    assert await chunk_of(reader) == b"So"
                writer.transport.abort()
                await eventually(lambda: not server.acceptor.state.connections and not server.acceptor.state.tasks)
            assert server.acceptor.connection_limits.count == 0
            assert upstream.stopped == 1
            reader, writer = await way.open()
            writer.write(lines("GET", "/", HOST))
            assert (await response_of(reader)).status == 200
            writer.close()

    way.run(case)


def test_a_handshake_that_websockets_does_not_understand_is_ended(way: Way) -> None:
    """At once: it has narrower limits than we do."""

    async def case(way: Way) -> None:
        async with way.serving() as server:
            for more, status in ((["X: " + "x" * 9_000], 431), (["X: y"] * 200, 431)):
                reader, writer = await way.open()
                writer.write(lines("GET", "/v1/chat", *HANDSHAKE, *more) + b"more")
                assert (await head_of(reader)).status == status
                await reader.read()
                writer.close()
            await eventually(lambda: server.acceptor.connection_limits.count == 0)

    way.run(case)


def test_noise_of_all_kinds(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Requests with bytes changed, one behind the other, cut or given up anywhere: it costs an answer at most."""
    chance = random.Random(11)
    whole = [
        lines("GET", "/", HOST), lines("HEAD", "/askbot.js", HOST), lines("OPTIONS", "/aiCompletion", HOST), b"\r\n",
        asking("Well?"), asking("Well?", "Expect: 100-continue"), lines("GET", "/v1/chat", *HANDSHAKE),
        lines("GET", "/healthz", HOST, "Connection: Upgrade", "Upgrade: h2c"), b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        lines("POST", "/aiCompletion", HOST, JSON, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=True),
    ]  # fmt: skip

    async def noise(way: Way) -> None:
        data = bytearray(b"".join(chance.choices(whole, k=chance.randrange(1, 5))))
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        reader, writer = await way.open()
        with suppress(OSError, RuntimeError, TimeoutError):
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                writer.write(bytes(part))
                await asyncio.sleep(0)
            if way.kind != "tls" and chance.random() < 0.3:
                writer.write_eof()
            async with asyncio.timeout(chance.choice((0.001, 0.05))):
                await reader.read(2**20)
        writer.transport.abort()

    async def case(way: Way) -> None:
        async with way.serving() as server:
            for _ in range(20):
                await asyncio.gather(*[noise(way) for _ in range(20)])
            await eventually(lambda: server.acceptor.connection_limits.count == 0 and not server.acceptor.state.tasks)
            await eventually(lambda: server.connection_count == server.hub.session_count == 0)
            reader, writer = await way.open()
            writer.write(lines("GET", "/healthz", HOST))
            assert (await response_of(reader)).status == 200
            writer.close()

    way.run(case)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_head_has_a_size(way: Way) -> None:
    """431 for a byte more than 32 KiB, in one header, in many, in the address, at once or bit by bit."""

    async def case(way: Way) -> None:
        async with way.serving():
            for request, status in (
                (lines("GET", "/healthz", HOST, "X: " + "x" * 32_000), 200),
                (lines("GET", "/healthz", HOST, "X: " + "x" * 33_000), 431),
                (lines("GET", "/healthz?" + "x" * 33_000, HOST), 431),
                (lines("GET", "/healthz", HOST, *["X: " + "x" * 100] * 400), 431),
                (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, 431),
                (lines("GET", "/v1/chat", *HANDSHAKE, *["X: " + "x" * 100] * 400), 431),
            ):
                for size in (len(request), 4000):
                    reader, writer = await way.open()
                    for place in range(0, len(request), size):
                        writer.write(request[place : place + size])
                        await asyncio.sleep(0)
                    assert (await response_of(reader)).status == status, request[:50]
                    writer.close()
            reader, writer = await way.open()
            writer.write(lines("GET", "/healthz", HOST) + b"GET / HTTP/1.1\r\nX: " + b"x" * 30_000)
            assert (await response_of(reader)).status == 200
            writer.write(b"x" * 33_000)
            assert (await response_of(reader)).status == 431
            writer.close()

    way.run(case)


def test_a_head_has_its_time(way: Way) -> None:
    """408, on every request of a connection; one that says nothing at all is closed without a word."""

    async def case(way: Way) -> None:
        async with way.serving() as server:
            limited(server, head_timeout=0.2)
            (silent, one), (slow, other), (kept, third) = [await way.open() for _ in range(3)]
            third.write(lines("GET", "/healthz", HOST))
            assert (await response_of(kept)).status == 200
            responses = [asyncio.create_task(response_of(reader)) for reader in (slow, kept)]
            for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 1000:
                for response, writer in zip(responses, (other, third), strict=True):
                    if not response.done():  # who writes on after the end may lose the response
                        writer.write(bytes((byte,)))
                await asyncio.sleep(0.02)
                if all(response.done() for response in responses):
                    break
            assert [(await response).status for response in responses] == [408, 408]
            assert await silent.read() == b""
            for writer in (one, other, third):
                writer.close()

    way.run(case)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_handshake_of_tls_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Literal["asyncio", "uvloop"]
) -> None:
    """Connections are counted after it: nobody may hold them by saying nothing, or half of it."""
    monkeypatch.setattr(app, "TLS_HANDSHAKE_SECONDS", 0.2)

    async def case(way: Way) -> None:
        async with way.serving() as server:
            for said in (b"", b"\x16\x03\x01\x02\x00\x01\x00"):  # the beginning of a ClientHello
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(said)
                async with asyncio.timeout(2):
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
                writer.close()
            socket = await way.connect()
            await socket.close()

    made("tls", loop, tmp_path).run(case)


def test_a_body_has_a_size(way: Way) -> None:
    """413 for more than `max_frame`, announced or not, whatever is asked for; the client can read it."""

    async def case(way: Way) -> None:
        async with way.serving(max_frame=10_000):
            for path in ("/aiCompletion", "/nothing"):
                announced = lines("POST", path, HOST, JSON, "Content-Length: 10001")
                chunked = lines("POST", path, HOST, JSON, "Transfer-Encoding: chunked")
                reader, writer = await way.open()
                writer.write(announced + b"x" * 10_001)
                response = await response_of(reader)
                assert (response.status, response.headers["connection"]) == (413, "close")
                writer.close()
                reader, writer = await way.open()
                writer.write(chunked + b"1000\r\n" + b"x" * 4096 + b"\r\n")
                if path == "/nothing":
                    assert (await response_of(reader)).status == 404
                writer.write((b"1000\r\n" + b"x" * 4096 + b"\r\n") * 2)
                if path == "/aiCompletion":
                    assert (await response_of(reader)).status == 413
                with suppress(ConnectionResetError):  # there is nobody any more who would take the rest of the body
                    assert await reader.read() == b""
                writer.close()

    way.run(case)


def test_what_follows_a_body_has_a_size(way: Way) -> None:
    """Trailers, extensions of chunks: whatever is no body is not kept without end."""

    async def case(way: Way) -> None:
        async with way.serving():
            for endless in (
                b"0\r\n" + b"X: yyyyyyyy\r\n" * 10_000,
                b"0\r\nX: " + b"y" * 100_000,
                b"1;" + b"y" * 100_000,
            ):
                reader, writer = await way.open()
                writer.write(lines("POST", "/aiCompletion", HOST, JSON, "Transfer-Encoding: chunked"))
                for place in range(0, len(endless), 4000):
                    writer.write(endless[place : place + 4000])
                    await asyncio.sleep(0)
                assert (await response_of(reader)).status == 413, endless[:10]
                writer.close()

    way.run(case)


def test_a_body_has_its_time(way: Way) -> None:
    """408, whether the application waits for it or has answered long ago."""

    async def case(way: Way) -> None:
        async with way.serving() as server:
            limited(server, body_timeout=1)
            reader, writer = await way.open()
            writer.write(lines("POST", "/aiCompletion", HOST, JSON, "Content-Length: 100") + b"{")
            assert (await response_of(reader)).status == 408
            assert await reader.read() == b""
            writer.close()
            reader, writer = await way.open()
            writer.write(lines("POST", "/nothing", HOST, JSON, "Content-Length: 100") + b"{")
            assert (await response_of(reader)).status == 404
            assert await reader.read() == b""
            writer.close()

    way.run(case)


def test_an_idle_connection_is_closed(way: Way) -> None:
    """Some time after its last response; empty lines do not keep it, nor does a body that came after its answer."""

    async def case(way: Way) -> None:
        async with way.serving() as server:
            server.acceptor.config.timeout_keep_alive = 0.2  # type: ignore[assignment]  # a fraction, for the test
            reader, writer = await way.open()
            writer.write(lines("GET", "/healthz", HOST))
            assert (await response_of(reader)).status == 200
            ended = asyncio.create_task(reader.read())
            async with asyncio.timeout(5):
                while not (ended.done() or writer.is_closing()):  # empty lines do not stop for its end
                    writer.write(b"\r\n")
                    await asyncio.sleep(0.02)
            with suppress(ConnectionError):  # the last of them may have come too late
                assert await ended == b""
            writer.close()
            for framing, body in (("Content-Length: 5", b"hello"), ("Transfer-Encoding: chunked", b"0\r\n\r\n")):
                reader, writer = await way.open()
                writer.write(lines("POST", "/nothing", HOST, framing))
                assert (await response_of(reader)).status == 404
                writer.write(body)
                assert await reader.read() == b""
                writer.close()

    way.run(case)


def test_requests_that_do_not_wait_have_an_end(way: Way) -> None:
    """Sixteen may; the connection then ends after their responses, and the others cost nothing."""

    async def case(way: Way) -> None:
        gate = asyncio.Event()
        async with way.serving(ScriptedUpstream([gate, "So."])):
            reader, writer = await way.open()
            writer.write(asking("Well?") + lines("GET", "/healthz", HOST) * 10_000)
            await writer.drain()
            gate.set()
            count = 0
            while True:
                try:
                    response = await response_of(reader)
                except (BrokenOffError, ConnectionResetError):
                    break
                assert response.status == 200
                count += 1
            assert count == 17
            writer.close()

    way.run(case)


def test_a_client_that_expects_to_be_asked_is_asked(way: Way) -> None:
    """As curl: it sends a body of some length only after `100 Continue`; one that is too long it need not send."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So."])):
            head, body = asking("Well?", "Expect: 100-continue").split(b"\r\n\r\n")
            reader, writer = await way.open()
            writer.write(head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await response_of(reader)).body == b"So."
            expecting = (HOST, JSON, "Content-Length: 99999999", "Expect: 100-continue")
            writer.write(lines("POST", "/aiCompletion", *expecting))
            assert (await response_of(reader)).status == 413
            writer.close()

    way.run(case)


# --- too many --------------------------------------------------------------------------------------------------------


def test_too_many_connections_are_told_so(way: Way) -> None:
    """Of both kinds together, from when they are accepted: 503 and 1013; health is told all the same."""

    async def case(way: Way) -> None:
        async with way.serving(max_connections=2):
            socket = await way.connect()
            reader, writer = await way.open()
            writer.write(lines("GET", "/healthz", HOST))
            assert (await response_of(reader)).status == 200
            third, other = await way.open()
            other.write(lines("GET", "/healthz", HOST))
            assert (await response_of(third)).status == 200
            other.write(lines("GET", "/", HOST))
            response = await response_of(third)
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert await third.read() == b""
            other.close()
            late = await way.connect()
            await late.wait_closed()
            assert late.close_code == 1013
            writer.close()
            await writer.wait_closed()
            async with asyncio.timeout(5):
                while (again := await way.connect()) and (await closed_soon(again)):
                    pass
            await again.close()
            await socket.close()

    way.run(case)


async def closed_soon(socket: ClientConnection) -> bool:
    """Whether a WebSocket is closed before it is told anything."""
    try:
        await socket.recv()
    except ConnectionClosed:
        return True
    return False


def test_one_address_is_told_that_it_has_too_many(way: Way) -> None:
    """429 and 4429; over a Unix socket there are no addresses to tell apart."""

    async def case(way: Way) -> None:
        async with way.serving(max_connections_per_address=1):
            socket = await way.connect()
            reader, writer = await way.open()
            writer.write(lines("GET", "/", HOST))
            response = await response_of(reader)
            if way.kind == "unix":
                assert response.status == 200
            else:
                assert (response.status, response.headers["retry-after"]) == (429, "1")
                late = await way.connect()
                await late.wait_closed()
                assert late.close_code == 4429
            writer.close()
            await socket.close()

    way.run(case)


# --- clients that leave, or do not read; and the end -----------------------------------------------------------------


def test_leaving_is_seen_behind_requests_that_wait(way: Way) -> None:
    """A model that is silent is stopped too, though there is more to read from the client than was asked for."""

    async def case(way: Way) -> None:
        upstream = ScriptedUpstream([asyncio.Event()], ["So ", asyncio.Event()])
        async with way.serving(upstream) as server:
            for stopped, waiting in ((1, 1), (2, 12)):
                _, writer = await way.open()
                writer.write(asking("Well?") + lines("GET", "/healthz", HOST) * waiting)
                await eventually(lambda: len(upstream.prompts) == stopped)  # noqa: B023 - awaited at once
                writer.close()
                await eventually(lambda: upstream.stopped == stopped)  # noqa: B023
            await eventually(lambda: not server.acceptor.state.tasks and server.acceptor.connection_limits.count == 0)

    way.run(case)


def test_a_response_that_nobody_reads_is_given_up(way: Way) -> None:
    """After `reader_timeout`; the model stops, and what it said is not heaped up."""

    async def case(way: Way) -> None:
        upstream = ScriptedUpstream(["0123456789" * 1000] * 500 + [asyncio.Event()])
        async with way.serving(upstream, reader_timeout=0.5) as server:
            reader, writer = await way.open(limit=1)
            writer.write(asking("Much?"))
            await eventually(lambda: bool(upstream.stopped) and not server.acceptor.state.connections)
            await eventually(lambda: server.hub.session_count == 0)
            writer.transport.abort()
            del reader

    way.run(case)


def test_a_drain_lets_responses_end(way: Way) -> None:
    """Connections on which nothing is asked are closed at once, the others after their answers."""

    async def case(way: Way) -> None:
        gate = asyncio.Event()
        async with way.serving(ScriptedUpstream(["So", gate, "."]), drain=10) as server:
            idle, one = await way.open()
            one.write(lines("GET", "/healthz", HOST))
            assert (await response_of(idle)).status == 200
            busy, other = await way.open()
            other.write(asking("Well?"))
            await head_of(busy)
            assert await chunk_of(busy) == b"So"
            draining = asyncio.create_task(server.drain())
            assert await idle.read() == b""
            gate.set()
            assert await chunk_of(busy) == b"."
            assert await chunk_of(busy) == b""
            assert await busy.read() == b""
            await draining
            one.close()
            other.close()

    way.run(case)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_clients_that_came_just_before_a_server_closed_are_sent_away(
    tmp_path: Path, kind: Literal["tcp", "unix"], loop: Literal["asyncio", "uvloop"]
) -> None:
    """However far their connections are; else they would wait for an answer until the process ends."""

    async def case(way: Way) -> None:
        for ticks in range(5):
            async with way.serving() as server:
                clients = [socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) for _ in range(5)]
                for client in clients:
                    client.settimeout(2)
                    client.connect(str(tmp_path / "socket") if kind == "unix" else ("127.0.0.1", server.port))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                async with asyncio.timeout(1):
                    await server.close()
                for client in clients:
                    with client, suppress(ConnectionResetError):
                        assert client.recv(100) == b""

    made(kind, loop, tmp_path).run(case)


def test_a_drain_lets_who_reads_slowly_take_the_answer(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has ended, the client is still reading: nobody can give it the rest but this server."""
    monkeypatch.setattr(app, "CLOSE_TIMEOUT_SECONDS", 0.2)

    async def case(way: Way) -> None:
        text = "0123456789" * 1000
        async with way.serving(ScriptedUpstream([text] * 300), drain=20) as server:
            reader, writer = await way.open(limit=1000)
            writer.write(asking("Much?", "Askbot-Session: new"))
            session = (await head_of(reader)).headers["askbot-session"]
            await eventually(lambda: not server.hub.is_busy(session))
            draining = asyncio.create_task(server.drain())
            answer = b""
            while chunk := await chunk_of(reader):
                answer += chunk
                await asyncio.sleep(0.005)
            assert answer.decode() == text * 300
            assert await reader.read() == b""
            await draining
            writer.close()

    way.run(case)


def test_a_drain_that_cannot_wait_breaks_responses_off(way: Way) -> None:
    """The client can tell that its answer is not whole."""

    async def case(way: Way) -> None:
        async with way.serving(ScriptedUpstream(["So", asyncio.Event()]), drain=0) as server:
            reader, writer = await way.open()
            writer.write(asking("Well?"))
            await head_of(reader)
            assert await chunk_of(reader) == b"So"
            await server.drain()
            with pytest.raises(BrokenOffError):
                await chunk_of(reader)
            writer.close()

    way.run(case)
