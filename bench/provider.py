"""A fake OpenAI-compatible provider that costs little: one timer for all streams, one write a token.

What it streams is said by the question: `tokens=300 rate=50` (tokens a second; 0 is as fast as it is read), and
optionally ` from=700` (the first token's number) and ` pad=1000` (bytes added to each token). Each token carries its
number and the moment when it was written (nanoseconds of the machine's steady clock), so that whoever gets it knows
whether it is the right one and how long it was on its way: `17:123456789;`.

`POST /chat` is for the load generator alone: the bare text without a relay between. `GET /stats` is what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import cast

import uvloop

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
)
EVENT = (
    b'data: {"id":"chatcmpl-0123456789abcdefghijklmnopqrs","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"bench-model","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,'
    b'"delta":%b,"logprobs":null,"finish_reason":%b}],"usage":%b}\n\n'
)
USAGE = b'{"prompt_tokens":100,"completion_tokens":%d,"total_tokens":%d}'
MODELS = b'{"object":"list","data":[{"id":"bench-model","object":"model"}]}'
WISH = re.compile(rb"tokens=(\d+) rate=(\d+)(?: from=(\d+))?(?: pad=(\d+))?")
BURST = 64 * 1024  # bytes in one write, where there is no rate


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(number: int, pad: bytes = b"") -> bytes:
    """One token, with the moment."""
    return EVENT % (b'{"content":"%d:%d%b;"}' % (number, time.monotonic_ns(), pad), b"null", b"null")


def bare(number: int, pad: bytes = b"") -> bytes:
    """One token without its event."""
    return b"%d:%d%b;" % (number, time.monotonic_ns(), pad)


def last(count: int) -> bytes:
    """The end of an answer."""
    end = EVENT % (b"{}", b'"stop"', b"null")
    usage = (EVENT % (b"{}", b"null", USAGE % (count, count + 100))).replace(
        b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]', b'"choices":[]'
    )
    return end + usage + b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be streamed."""

    tokens: int = 1
    rate: float = 0.0
    first: int = 0
    pad: bytes = b""
    bare: bool = False

    @classmethod
    def of(cls, request: bytes) -> Wish:
        """The last question of a request says it."""
        found = WISH.match(request, max(0, request.rfind(b"tokens=")))
        bare = request.startswith(b"POST /chat ")
        if not found:
            return cls(bare=bare)
        tokens, rate, first, pad = (int(number or 0) for number in found.groups())
        return cls(tokens, rate, first, b":" + b"x" * pad if pad else b"", bare)


class Stream:
    """One answer."""

    def __init__(self, protocol: Provider, wish: Wish) -> None:
        self.protocol = protocol
        self.wish = wish
        self.sent = 0
        self.step = 1 / wish.rate if wish.rate else 0.0
        self.due = time.monotonic()
        self.lost = False
        self._encode = bare if wish.bare else token

    def tick(self, now: float) -> bool:
        """Send what is due; False when all is sent."""
        if self.lost:
            return False
        while self.sent < self.wish.tokens and self.due <= now:
            self.protocol.transport.write(chunk(self._next()))
            self.due += self.step
        return self._more()

    def burst(self) -> bool:
        """Send as much as one write takes; False when all is sent."""
        events: list[bytes] = []
        size = 0
        while self.sent < self.wish.tokens and size < BURST:
            events.append(self._next())
            size += len(events[-1])
        if events:
            self.protocol.transport.write(chunk(b"".join(events)))
        return self._more()

    def _next(self) -> bytes:
        data = self._encode(self.wish.first + self.sent, self.wish.pad)
        self.sent += 1
        self.protocol.stats["bytes"] += len(data)
        return data

    def _more(self) -> bool:
        if self.sent < self.wish.tokens:
            return True
        self.protocol.transport.write((b"" if self.wish.bare else chunk(last(self.wish.tokens))) + b"0\r\n\r\n")
        self.protocol.stats["open"] -= 1
        return False


class Provider(asyncio.Protocol):
    """One connection of whoever asks."""

    due: list[tuple[float, int, Stream]] = []  # a heap of the streams with a rate; the number keeps them apart
    stats: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by birth
        self.data = b""
        self.stream: Stream | None = None
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream and self.stream.sent < self.stream.wish.tokens:
            self.stream.lost = True
            self.stats["open"] -= 1
            self.stats["broken"] += 1

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.stream and not self.stream.step:
            self.push(self.stream)

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.data[: end + 2])
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.data) < size:
                return
            request, self.data = self.data[:size], self.data[size:]
            self.answer(request)

    def answer(self, request: bytes) -> None:
        if request.startswith(b"GET"):
            body = json.dumps(self.stats).encode() if b"/stats" in request[:20] else MODELS
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)
            return
        self.stats.update({"requests": 1, "open": 1, "messages": request.count(b'"role"')})
        self.transport.write(HEAD)
        self.stream = Stream(self, Wish.of(request))
        if self.stream.step and self.stream.tick(time.monotonic()):
            heapq.heappush(self.due, (self.stream.due, self.stats["requests"], self.stream))
        elif not self.stream.step:
            self.push(self.stream)

    def push(self, stream: Stream) -> None:
        while not self.paused and self.stream is stream:
            if not stream.burst():
                self.stream = None


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    due = Provider.due
    while True:
        await asyncio.sleep(0.001)
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, number, stream = due[0]
            if stream.tick(now):
                heapq.heapreplace(due, (stream.due, number, stream))
            else:
                heapq.heappop(due)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    sys.exit(uvloop.run(main(parser.parse_args().port)))
