"""What a connection has taken is free once it is lost: the garbage collector comes to old objects after minutes."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from websockets.server import ServerProtocol

from askbot_ws.core.prompt import Prompt
from askbot_ws.core.turn import TurnMachine
from askbot_ws.errors import UpstreamError, UpstreamRejected
from askbot_ws.server.http_connection import HttpConnection
from askbot_ws.server.websocket import WebSocket
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

from ..attack.raw_connection import CLOSE, TEXT, dial, frame, handshake, head

COUNT = 5  # connections of each kind
CHAT = handshake("", "Sec-WebSocket-Protocol: askbot.v1")
ASK = frame(json.dumps({"type": "ask", "id": "1", "text": "Hello?"}).encode())

KINDS: dict[str, tuple[bytes, ...]] = {  # what is sent, each after something has come back
    "nothing": (),
    "no HTTP": (b"\0\r\n\r\n",),
    "a request": (head("GET", "/healthz"),),
    "a request that breaks off": (b"GET / HT",),
    "a handshake that is refused": (handshake(host="elsewhere.example"),),
    "a handshake that websockets refuses": (handshake().replace(b"Version: 13", b"Version: 12"),),
    "a WebSocket that is lost": (CHAT,),
    "a WebSocket that is closed": (CHAT, frame(b"\x03\xe8", CLOSE)),
    "a frame that is not one": (CHAT, b"\xff\xff\xff\xff"),
    "a frame without a mask": (CHAT, frame(b"{}", masked=False)),
    "a frame that is too large": (CHAT, frame(b"{", length=1 << 40)),
    "text that is not UTF-8": (CHAT, frame(b"\xff", TEXT)),
    "an answer": (CHAT, ASK),
}
WATCHED = (HttpConnection, WebSocket, ServerProtocol, TurnMachine, UpstreamError)


class FailingUpstream(ScriptedUpstream):
    """Rejects every question."""

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        raise UpstreamRejected


def alive() -> Counter[str]:
    """How many objects there are of what would be kept by a connection, or by its turn."""
    return Counter(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), WATCHED))


@pytest.fixture
def no_collection() -> Iterator[None]:
    """The garbage collector waits."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_is_lost_is_freed(kind: str) -> None:
    """Whatever it was, and whichever side has ended it."""
    async with serving(ScriptedUpstream()) as server:
        await connect(server.port, KINDS[kind])  # what is made once
        before = alive()
        for number in range(COUNT):
            await connect(server.port, KINDS[kind], reset=number % 2 == 1)
        await wait_until_gone(before)


@pytest.mark.usefixtures("no_collection")
async def test_a_question_that_has_failed_is_freed() -> None:
    """Its exceptions too, which know where they were raised."""
    async with serving(FailingUpstream()) as server:
        await connect(server.port, (CHAT, ASK))
        before = alive()
        for _ in range(COUNT):
            await connect(server.port, (CHAT, ASK))
        await wait_until_gone(before)


async def connect(port: int, data: Sequence[bytes], *, reset: bool = False) -> None:
    """Connect, send this, and close or reset the connection."""
    connection = await dial(port, "127.0.0.1")
    for number, each in enumerate(data):
        if number:
            assert await connection.read_until(b'"ready"')
        await connection.send(each)
    if data[1:] == (ASK,):
        assert await connection.read_until(b'"done"')
    else:
        await connection.read(seconds=0.05)
    connection.close(reset=reset)


async def wait_until_gone(before: Counter[str]) -> None:
    """Wait until there is no more than before; the server hears of an end a little later."""
    async with asyncio.timeout(5):
        while more := alive() - before:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                raise AssertionError(f"still there: {more}") from None
