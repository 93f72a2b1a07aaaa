"""A thousand readers that stop reading while their answers run: they cost little, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from ..process import ROOT, Askbot, Story, askbot, reading, resident
from .upstream import BLOCK, block

READERS = 1000
BLOCKS, EVERY_MS = 25, 200  # 200 KiB in 5 s
OTHERS = 20
LIMIT_S = 8
KIB = 1024

# the stated figure: what a reader that stops costs more than one that reads, whatever it is owed
PER_READER = 64 * KIB
FLUSHED = "\naskbot_unflushed_bytes 0.0\n"  # in the metrics
LATER = 0.15  # seconds by which the stopped may delay the 99th percentile of others' tokens


@dataclass
class Phone:
    """It is in a tunnel."""

    raw: socket.socket
    session: str


async def stopped(port: int, number: int) -> Phone:
    """A client that asks, and takes nothing more; its kernel takes little for it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    lines = [
        "GET /v1/chat HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    question = json.dumps({"type": "ask", "id": "q", "text": f"blocks:{BLOCKS} every:{EVERY_MS} {number}"}).encode()
    await loop.sock_sendall(raw, "\r\n".join(lines).encode())
    head = b""
    while head.count(b"}") < 2:  # `ready` has two of them
        head += await loop.sock_recv(raw, 2048)
    await loop.sock_sendall(raw, bytes([0x81, 0x80 | len(question), 0, 0, 0, 0]) + question)
    return Phone(raw, str(json.loads(head[head.index(b"{") :])["session"]))


class Others:
    """People whose tokens say when they were made."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def read(self, url: str) -> None:
        """One answer of 4 s."""
        async with reading(url) as reader:
            await reader.ask("clock:100 every:40")
            while (frame := await reader.next())["type"] != "done":
                if frame["type"] == "token":
                    now = time.monotonic_ns()
                    self.late += [(now - int(made)) / 1e9 for made in frame["text"].split()]

    async def p99(self, url: str) -> float:
        """Of all of them."""
        self.late.clear()
        await asyncio.gather(*(self.read(url) for _ in range(OTHERS)))
        return sorted(self.late)[len(self.late) * 99 // 100]


@pytest.mark.timed  # a delay of 150 ms is not to be told from what other tests on the same cores cause
async def test_a_thousand_readers_that_stop_cost_little_and_delay_nobody(tmp_path: Path) -> None:
    """Memory for each within the stated figure, others' tokens in time; 4408 after the limit; all there on resume."""
    flags = ["--upstream", "tests.chaos.upstream:answer", "--no-limits"]
    flags += ["--reader-timeout", f"{LIMIT_S}s", "--memory", "1MiB"]
    with askbot(tmp_path, *flags, upstream="http://127.0.0.1:9/v1", PYTHONPATH=str(ROOT)) as server:
        others = Others()
        before = await crowd(server, others, reads=True)
        for phone in before.phones:
            phone.raw.close()
        during = await crowd(server, others, reads=False)
        each = (during.memory - before.memory) / READERS
        await asyncio.sleep(during.over + LIMIT_S - time.monotonic())
        newest = during.phones[-50:]  # the others, which had as long again to take their close frame, may be cut off
        codes = Counter(await asyncio.gather(*(wakes(phone) for phone in newest)))
        await closed(server)
        for phone in during.phones:
            phone.raw.close()
        await asyncio.gather(*(whole(server, phone.session) for phone in during.phones[::10]))

    print(f"{each / KIB:.0f} KiB each; p99 {before.p99:.3f} s, then {during.p99:.3f} s")
    assert codes == {4408: 50}
    assert each < PER_READER
    assert during.p99 < before.p99 + LATER


class Crowd(NamedTuple):
    """A thousand that have asked at once, and read or didn't."""

    phones: list[Phone]
    p99: float  # of others' tokens meanwhile, in seconds
    memory: int  # of the server at the end, in bytes
    over: float  # when all answers had ended, by the steady clock


async def crowd(server: Askbot, others: Others, *, reads: bool) -> Crowd:
    """A thousand ask at once, and read or don't."""
    port = int(server.http.rpartition(":")[2])
    phones = [await stopped(port, number) for number in range(READERS)]
    over = time.monotonic() + BLOCKS * EVERY_MS / 1000 + 1  # all answers have ended
    draining = [asyncio.create_task(drain(phone)) for phone in phones if reads]
    p99 = await others.p99(server.url)
    await asyncio.sleep(over - time.monotonic())
    for task in draining:
        task.cancel()
    await asyncio.gather(*draining, return_exceptions=True)
    return Crowd(phones, p99, await used(server), over)


async def used(server: Askbot) -> int:
    """The server's memory, without what waits for a slow disk, and what is free again."""
    async with asyncio.timeout(LIMIT_S):
        while FLUSHED not in await asyncio.to_thread(metrics, server):  # noqa: ASYNC110 - nothing tells us of it
            await asyncio.sleep(0.1)
    async with reading(server.url) as reader:
        await reader.ask("trim:1 every:0")
        await reader.until("done")
    return resident(server.process.pid)


def metrics(server: Askbot) -> str:
    """What `/metrics` says."""
    with urllib.request.urlopen(server.http + "/metrics", timeout=LIMIT_S) as response:
        return str(response.read().decode())


async def drain(phone: Phone) -> None:
    """It reads whatever comes."""
    while await asyncio.get_running_loop().sock_recv(phone.raw, 64 * KIB):
        pass


async def wakes(phone: Phone) -> int:
    """It comes out of its tunnel, and reads on: the code with which it was closed."""
    end = b""
    async with asyncio.timeout(10):
        while data := await asyncio.get_running_loop().sock_recv(phone.raw, 64 * KIB):
            end = (end + data)[-200:]
    place = end.rindex(b"\x88")  # a close frame: its length, the code, why
    return int.from_bytes(end[place + 2 : place + 4], "big")


async def closed(server: Askbot) -> None:
    """Until all of those are given up, who never read on too."""
    gone = 0
    async with asyncio.timeout(30):
        while gone < 2 * READERS:
            await asyncio.sleep(0.5)
            lines = server.lines()
            gone = sum(line["event"] == "connection_closed" and line["total_s"] > 5 for line in lines)


async def whole(server: Askbot, session: str) -> None:
    """A reader that comes back has the whole answer."""
    story = Story(session=session)
    async with reading(server.url, story) as reader:
        await reader.until("done", 30)
    assert story.last.answer == "".join(block(number) for number in range(BLOCKS))
    assert story.last.reason == "stop"
    assert len(story.last.answer) == BLOCKS * BLOCK
