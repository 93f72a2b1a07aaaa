"""A fake OpenAI-compatible provider that costs little: one timer for all streams, one write a token.

What it streams is said by the question: `tokens=300 rate=50` (tokens a second; 0 is as fast as it is read). Each
token carries the moment when it was written (nanoseconds of the machine's steady clock), so that whoever gets it
knows how long it was on its way: `17:123456789;`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
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
BURST = 64 * 1024  # bytes in one write, where there is no rate


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(number: int) -> bytes:
    """One token, with the moment."""
    return EVENT % (b'{"content":"%d:%d;"}' % (number, time.monotonic_ns()), b"null", b"null")


def last(count: int) -> bytes:
    """The end of an answer."""
    end = EVENT % (b"{}", b'"stop"', b"null")
    usage = (EVENT % (b"{}", b"null", USAGE % (count, count + 100))).replace(
        b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]', b'"choices":[]'
    )
    return end + usage + b"data: [DONE]\n\n"


class Stream:
    """One answer."""

    def __init__(self, protocol: Provider, count: int, rate: float) -> None:
        self.protocol = protocol
        self.count = count
        self.sent = 0
        self.step = 1 / rate if rate else 0.0
        self.due = time.monotonic()

    def tick(self, now: float) -> bool:
        """Send what is due; False when all is sent."""
        while self.sent < self.count and self.due <= now:
            self.protocol.transport.write(chunk(token(self.sent)))
            self.sent += 1
            self.due += self.step
        return self._more()

    def burst(self) -> bool:
        """Send as much as one write takes; False when all is sent."""
        events: list[bytes] = []
        size = 0
        while self.sent < self.count and size < BURST:
            events.append(token(self.sent))
            size += len(events[-1])
            self.sent += 1
        if events:
            self.protocol.transport.write(chunk(b"".join(events)))
        return self._more()

    def _more(self) -> bool:
        if self.sent < self.count:
            return True
        self.protocol.transport.write(chunk(last(self.count)) + b"0\r\n\r\n")
        return False


class Provider(asyncio.Protocol):
    """One connection of whoever asks."""

    streams: set[Stream] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by birth
        self.data = b""
        self.stream: Stream | None = None
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream:
            self.streams.discard(self.stream)

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
            body = b'{"object":"list","data":[{"id":"bench-model","object":"model"}]}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)
            return
        found = re.findall(rb"tokens=(\d+) rate=(\d+)", request)
        count, rate = (int(found[-1][0]), int(found[-1][1])) if found else (1, 0)
        self.transport.write(HEAD)
        self.stream = Stream(self, count, rate)
        if rate:
            self.streams.add(self.stream)
        else:
            self.push(self.stream)

    def push(self, stream: Stream) -> None:
        while not self.paused and self.stream is stream:
            if not stream.burst():
                self.stream = None


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(0.001)
        now = time.monotonic()
        Provider.streams -= {stream for stream in Provider.streams if not stream.tick(now)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    sys.exit(uvloop.run(main(parser.parse_args().port)))
