"""The proxy does to a connection what it says, and nothing else; the schedule is the seed's; the watchers see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ..process import Json, Story
from .checking_client import take
from .faults import schedule
from .proxy import Kind, Order, Proxy, proxied
from .results import BrokenError


class Echo(asyncio.Protocol):
    """Repeats everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@asynccontextmanager
async def echo() -> AsyncGenerator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a proxy to what repeats everything."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with proxied(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        yield proxy, reader, writer
        writer.transport.abort()
    server.close()
    await asyncio.sleep(0.01)


async def test_a_cut_comes_after_just_so_many_bytes() -> None:
    """Three to the echo and three back are six."""
    async with echo() as (proxy, reader, writer):
        proxy.hurt(Order(Kind.CUT, 5), 0.0)
        writer.write(b"abc")
        assert await reader.read() == b"ab"


async def test_a_reset_is_one() -> None:
    """The client sees an error, not an end."""
    async with echo() as (proxy, reader, _):
        proxy.hurt(Order(Kind.RESET), 0.0)
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize("kind", [Kind.STALL, Kind.TRICKLE, Kind.SPLIT])
async def test_what_only_takes_its_time_changes_nothing(kind: Kind) -> None:
    """All bytes, in their order, also those that are sent meanwhile."""
    text = bytes(range(256)) * 40
    async with echo() as (proxy, reader, writer):
        begun = time.monotonic()
        proxy.hurt(Order(kind, 0, 0.3), 0.0)
        writer.write(text)
        assert await reader.readexactly(len(text)) == text
        assert kind is Kind.SPLIT or time.monotonic() - begun > 0.25
        writer.write(b"on")
        assert await reader.readexactly(2) == b"on"


async def test_half_open_is_silence_and_then_an_end() -> None:
    """Nothing arrives, nobody is told, until the router restarts."""
    async with echo() as (proxy, reader, writer):
        proxy.hurt(Order(Kind.HALF_OPEN, 0, 0.3), 0.0)
        writer.write(b"anybody?")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.15)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_fault_for_the_next_connection_leaves_this_one() -> None:
    """It strikes a handshake."""
    async with echo() as (proxy, reader, writer):
        proxy.hurt_next(Order(Kind.CUT, 2))
        other, to_other = await asyncio.open_connection("127.0.0.1", proxy.port)
        to_other.write(b"GET /")
        assert await other.read() == b""
        to_other.transport.abort()
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"


def test_a_seed_is_a_schedule() -> None:
    """The same one each time, another one for another seed; ten minutes of it have ten thousand faults."""
    one = schedule(7, 600, network=19, machine=0.25)

    assert one == schedule(7, 600, network=19, machine=0.25)
    assert one != schedule(8, 600, network=19, machine=0.25)
    assert len(one) > 10_000
    assert len({fault.name for fault in one}) == 15


def token(seq: int, text: str) -> Json:
    return {"type": "token", "session": "s", "seq": seq, "turn": "t1", "text": text}


@pytest.mark.parametrize(
    ("frame", "promise"),
    [
        (token(5, "c"), "lost"),
        (token(3, "b"), "doubled"),
        ({"type": "question", "session": "s", "seq": 4, "turn": "t1", "text": "?"}, "doubled"),
        ({"type": "ready", "session": "s", "seq": 9, "from": 9}, "lost"),
        ({"type": "done", "session": "s", "seq": 4, "turn": "t1", "reason": "stop", "check": {}}, "wrong"),
    ],
)
def test_whoever_watches_sees_what_is_broken(frame: Json, promise: str) -> None:
    """A run without findings says something only if findings would be found."""
    story = Story(session="s")
    take(story, {"type": "question", "session": "s", "seq": 1, "turn": "t1", "text": "?"})
    take(story, token(3, "ab"))

    with pytest.raises(BrokenError) as broken:
        take(story, frame)
    assert broken.value.promise == promise
