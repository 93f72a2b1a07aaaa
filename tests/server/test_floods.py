"""Floods: whatever is thrown at the socket, the server lives, stays small, and goes on with whoever is honest.

Memory is the resident size of the real server's process; an honest client asks all the while, and is answered in time.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import struct
import time
import zlib
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from ..process import Askbot, ProviderProcess, askbot, reading, resident
from ..seeds import seed
from .test_frames import BAD, REAL

MB = 1024 * 1024
FRAME_LIMIT = MB
TEXT, CONTINUATION, PING, CLOSE = 1, 0, 9, 8
KEY = b"\0\0\0\0"  # a mask that changes nothing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Iterator[Askbot]:
    """Without limits on connections and frames: what holds here is not owed to a counter."""
    folder = tmp_path_factory.mktemp("floods")
    with askbot(folder, upstream=provider.url, ASKBOT_LIMITS="off") as server:
        yield server
        assert server.process.poll() is None
        assert troubles(server) == []


def troubles(server: Askbot) -> list[str]:
    """What it logged as a warning or worse, but for refusals, and what it wrote besides."""
    lines = [line for line in server.log.read_text().splitlines() if '"connection_refused"' not in line]
    return [line for line in lines if not line.startswith("{") or json.loads(line)["level"] != "info"]


def processor_time(process: psutil.Process) -> float:
    """How many seconds a process has run."""
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def weathered(server: Askbot, *, grows: int = 24 * MB, within: float = 1.0) -> AsyncGenerator[None]:
    """An honest client is answered soon during what happens here, and memory stays within a bound.

    `within` are seconds of the server's processor time for each answer: what else runs on the machine is not in it.
    """
    over, times = asyncio.Event(), list[float]()
    process = psutil.Process(server.process.pid)
    sizes = [resident(server.process.pid)]
    async with reading(server.url) as reader:

        async def ask() -> None:
            while not over.is_set() or not times:
                begun = processor_time(process)
                assert (await reader.answer("say:Well.", 20)).reason == "stop"
                times.append(processor_time(process) - begun)
                await asyncio.sleep(0.05)

        async def weigh() -> None:
            while not over.is_set():
                sizes.append(resident(server.process.pid))
                await asyncio.sleep(0.01)

        tasks = asyncio.create_task(ask()), asyncio.create_task(weigh())
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)
    grew = max(sizes) - sizes[0]
    print(f"{len(times)} answers, the slowest in {max(times):.3f} s; memory grew by {grew / MB:.1f} MB")
    assert max(times) < within
    assert grew < grows


# --- what is thrown --------------------------------------------------------------------------------------------------


def dial(server: Askbot) -> socket.socket:
    """A TCP connection."""
    return socket.create_connection(("127.0.0.1", int(server.http.rpartition(":")[2])), 10)


def request(*headers: str) -> bytes:
    lines = ["GET /v1/chat HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def open_socket(server: Askbot, *headers: str) -> Generator[socket.socket]:
    """A WebSocket connection; the reading is left to whoever wants it."""
    with dial(server) as connection:
        connection.sendall(request(*headers))
        assert connection.recv(12).endswith(b" 101")
        yield connection


def frame(payload: bytes, kind: int = TEXT, *, last: bool = True, packed: bool = False) -> bytes:
    """A client's frame."""
    first = kind | (0x80 if last else 0) | (0x40 if packed else 0)
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length) + KEY + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, 0x80 | 126, length) + KEY + payload
    return struct.pack("!BBQ", first, 0x80 | 127, length) + KEY + payload


def throw(connection: socket.socket, data: bytes, *, limit: float = 8.0) -> bool:
    """Send it all, and read what comes meanwhile; False where the server ends it before, or takes no more."""
    connection.settimeout(0)
    left, until = memoryview(data), time.monotonic() + limit
    while left and time.monotonic() < until:
        try:
            with suppress(BlockingIOError):
                if not connection.recv(1 << 16):
                    return False
            left = left[connection.send(left[: 1 << 16]) :]
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            return False
    return not left


def drained(connection: socket.socket, limit: float = 5.0) -> bytes:
    """What comes until the server ends the connection."""
    connection.settimeout(limit)
    parts = list[bytes]()
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def closed_with(data: bytes, code: int) -> bool:
    """Whether a close frame with this code is at the end."""
    return struct.pack("!H", code) in data[-130:]


# --- connections -----------------------------------------------------------------------------------------------------


async def test_two_thousand_connections_that_come_and_go(server: Askbot) -> None:
    """Without a word, within the handshake, right after it: each a third, each as fast as one can."""

    def flood() -> None:
        for number in range(2_000):
            with dial(server) as connection, suppress(OSError):
                if number % 3:
                    connection.sendall(request() if number % 3 == 1 else request()[:60])

    async with weathered(server):
        await asyncio.to_thread(flood)


async def test_handshakes_that_never_end_are_ended(server: Askbot) -> None:
    """A thousand that say nothing, and ten that send a byte at a time: all are closed after ten seconds."""

    def drip(slow: list[socket.socket], until: float) -> None:
        place = 0
        while time.monotonic() < until:
            for connection in slow:
                with suppress(OSError):
                    connection.send(request()[place : place + 1])
            place += 1
            time.sleep(0.15)

    with ExitStack() as stack:
        silent = [stack.enter_context(dial(server)) for _ in range(1_000)]
        slow = [stack.enter_context(dial(server)) for _ in range(10)]
        async with weathered(server, grows=48 * MB):
            await asyncio.to_thread(drip, slow, time.monotonic() + 10.5)
        for connection in silent + slow:
            connection.settimeout(1)
            assert b" 101" not in drained(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 200_000,
        request("X-Large: " + "x" * 200_000),
        request(*(f"X-{number}: x" for number in range(5_000))),
        request("Cookie: " + "x" * 8_000, *(f"X-{number}: " + "x" * 8_000 for number in range(126))),
        b"\x16\x03\x01" + bytes(200_000),
        b"\0" * 200_000,
        b"POST /v1/chat HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    ],
    ids=["address", "header", "headers", "all of them", "TLS", "zeros", "body"],
)
async def test_a_handshake_that_is_too_large_is_refused(server: Askbot, sent: bytes) -> None:
    """A hundred times: with a status, or a close, and not a line in the log."""

    def flood() -> None:
        for _ in range(100):
            with dial(server) as connection:
                throw(connection, sent)
                connection.settimeout(1)
                with suppress(OSError):
                    assert b" 101" not in connection.recv(100)

    async with weathered(server):
        await asyncio.to_thread(flood)


async def test_more_connections_than_the_system_has_room_for(tmp_path: Path, provider: ProviderProcess) -> None:
    """No file descriptors left: whoever is in stays in, and once there is room, others come in again."""
    with askbot(tmp_path, upstream=provider.url) as server, ExitStack() as stack:
        process = psutil.Process(server.process.pid)
        async with reading(server.url) as reader:
            await reader.answer("say:Before.")
            process.rlimit(resource.RLIMIT_NOFILE, (80, 80))
            crowd = [stack.enter_context(dial(server)) for _ in range(200)]
            used = process.cpu_times().user
            for _ in range(20):
                await reader.send(type="ping")
                await reader.until("pong", 3)
                await asyncio.sleep(0.1)
            assert process.cpu_times().user - used < 1, "it turns in circles"
            for connection in crowd:
                connection.close()
            await reader.answer("say:After.")
            async with reading(server.url) as other:
                await other.answer("say:Room again.")
        assert len(troubles(server)) < 50


# --- frames ----------------------------------------------------------------------------------------------------------


async def test_frames_at_the_limit_and_beyond(server: Askbot) -> None:
    """One of exactly the limit is read; one byte more is 1009; what only announces much is not waited for."""

    def flood() -> None:
        padded = b'{"type":"ping","id":"p","x":"' + b"x" * (FRAME_LIMIT - 31) + b'"}'
        assert len(padded) == FRAME_LIMIT
        for _ in range(20):
            with open_socket(server) as connection:
                connection.sendall(frame(padded) * 3 + frame(padded + b" "))
                assert closed_with(drained(connection), 1009)
            with open_socket(server) as connection:
                connection.sendall(struct.pack("!BBQ", 0x81, 0xFF, 1 << 62) + KEY)
                assert closed_with(drained(connection), 1009)

    async with weathered(server, grows=48 * MB):
        await asyncio.to_thread(flood)


async def test_a_message_in_too_many_pieces_is_given_up(server: Askbot) -> None:
    """Thousands of tiny continuation frames, or empty ones: each would cost far more than it holds."""

    def flood() -> None:
        for piece in (b"x", b""):
            for _ in range(5):
                with open_socket(server) as connection:
                    first = frame(b'{"type":"ping","x":"', last=False)
                    connection.sendall(first + frame(piece, CONTINUATION, last=False) * 200_000)
                    connection.sendall(frame(b"", CLOSE))
                    assert closed_with(drained(connection), 1009)

    async with weathered(server, grows=48 * MB):
        await asyncio.to_thread(flood)


async def test_a_flood_of_pings_from_one_that_reads(server: Askbot) -> None:
    """Each gets its pong; nobody waits long for that."""

    def flood() -> None:
        with open_socket(server) as connection:
            for payload in (b"x" * 125, b""):
                assert throw(connection, frame(payload, PING) * 50_000)

    async with weathered(server):
        await asyncio.to_thread(flood)


async def test_a_flood_of_pings_from_one_that_does_not_read(server: Askbot) -> None:
    """Pongs that nobody takes are not kept without end."""

    def flood() -> None:
        with open_socket(server) as connection:
            connection.settimeout(2)
            with suppress(OSError):
                for _ in range(100):
                    connection.sendall(frame(b"x" * 125, PING) * 10_000)

    async with weathered(server):
        await asyncio.to_thread(flood)


async def test_questions_and_commands_as_fast_as_they_can_be_sent(server: Askbot) -> None:
    """Good frames, from one that reads and one that doesn't."""

    def flood() -> None:
        ask = frame(b'{"type":"ask","text":"say:Well.","when_busy":"reject"}')
        for sent in (frame(b'{"type":"ping","id":"p"}') * 20_000, ask * 2_000, frame(b'{"type":"history"}') * 2_000):
            with open_socket(server) as connection:
                throw(connection, sent, limit=4)
            with open_socket(server) as connection:
                connection.settimeout(0.5)
                with suppress(OSError):
                    connection.sendall(sent * 5)

    async with weathered(server, grows=32 * MB):
        await asyncio.to_thread(flood)


async def test_deep_and_wide_json(server: Askbot) -> None:
    """A megabyte of brackets, of names, of digits, of escapes: an error each, and soon."""
    deep = [b"[" * 500_000, b'{"a":' * 200_000, b'{"type":"ask","text":' + b"[" * 1_000_000]
    wide = [b'{"type":"ping",' + b",".join(b'"%d":0' % number for number in range(80_000)) + b"}"]
    odd = [b"9" * 1_000_000, b'{"type":"ping","id":"' + b"\\u0041" * 160_000 + b'"}', b"[" + b"1e9999," * 100_000]

    def flood() -> None:
        with open_socket(server) as connection:
            assert throw(connection, b"".join(frame(text) * 4 for text in deep + wide + odd))

    async with weathered(server, grows=64 * MB):
        await asyncio.to_thread(flood)


async def test_a_hundred_thousand_malformed_frames(server: Askbot) -> None:
    """Real frames, each with some bytes changed, 200 a connection: after so many it would be closed."""
    chance = random.Random(seed(1))
    real = [json.dumps(one).encode() for one in REAL] + [text.encode() for text, _ in BAD.values() if len(text) < 500]

    def flood() -> None:
        for _ in range(500):
            with open_socket(server) as connection:
                throw(connection, b"".join(mutated(chance, chance.choice(real)) for _ in range(200)))
                throw(connection, frame(b"", CLOSE))
                with suppress(OSError):  # it may have ended the connection already
                    connection.shutdown(socket.SHUT_WR)  # a damaged length may promise bytes that never come
                drained(connection, 15)

    async with weathered(server, grows=48 * MB):
        await asyncio.to_thread(flood)


def mutated(chance: random.Random, payload: bytes) -> bytes:
    """A frame of this with other bytes here and there; now and then its own head is damaged, too."""
    data = bytearray(payload)
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        data[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    text = bytes(data).decode("utf-8", "replace").encode() if chance.random() < 0.95 else bytes(data)
    sent = bytearray(frame(text))
    if chance.random() < 0.002:
        sent[chance.randrange(min(len(sent), 6))] ^= 1 << chance.randrange(8)
    return bytes(sent)


# --- compression -----------------------------------------------------------------------------------------------------


async def test_a_compression_bomb_does_not_go_off(tmp_path: Path, provider: ProviderProcess) -> None:
    """A megabyte that would be a gigabyte is 1009 as soon as it is more than the limit."""
    bomb = await asyncio.to_thread(_deflated, 1024)
    assert len(bomb) < FRAME_LIMIT
    with askbot(tmp_path, "--compression", upstream=provider.url, ASKBOT_LIMITS="off") as server:

        def flood() -> None:
            for _ in range(20):
                with open_socket(server, "Sec-WebSocket-Extensions: permessage-deflate") as connection:
                    connection.sendall(frame(bomb, packed=True))
                    assert closed_with(drained(connection), 1009)

        async with weathered(server, grows=128 * MB):
            await asyncio.to_thread(flood)
        assert troubles(server) == []


def _deflated(megabytes: int) -> bytes:
    """So many megabytes of blanks, as a frame of permessage-deflate holds them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(b" " * MB) for _ in range(megabytes)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]
