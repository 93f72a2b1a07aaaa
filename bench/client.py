"""The load generator's side of a connection: as little as can be, every token looked at.

Frames go out with a mask of zeros, which is a mask; what comes in is checked token by token: the number that this
answer must have next (see provider.py), so none is lost, none comes twice, none is another's.
"""

from __future__ import annotations

import asyncio
import socket
import time
from array import array
from typing import TypeAlias, cast

import orjson

TEXT = 0x81
ASK_HTTP = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Answer:
    """One answer as it arrives."""

    __slots__ = ("_rest", "done", "fault", "first", "from_", "latencies", "next", "question", "seq", "tokens")

    def __init__(self, *, tokens: int, rate: int, from_: int, pad: int = 0, resumes: int | None = None) -> None:
        """`resumes` is the number of the token that must come first where an answer is read from its middle."""
        self.question = f"tokens={tokens} rate={rate} from={from_}" + (f" pad={pad}" if pad else "")
        self.tokens = tokens
        self.from_ = from_
        self.next = from_ if resumes is None else resumes
        self.seq = 0
        self.first = 0  # when the first token came, in nanoseconds
        self.latencies: array[int] = array("q")  # nanoseconds
        self.fault = ""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = ""

    def take(self, text: str, now: int) -> None:
        """Text of the answer, cut anywhere."""
        if not self.first:
            self.first = now
        *tokens, self._rest = (self._rest + text).split(";")
        expected, add = self.next, self.latencies.append
        for token in tokens:
            number, _, rest = token.partition(":")
            if number != str(expected):
                self.fail(f"token {number} came for {expected}")
                return
            add(now - int(rest.partition(":")[0]))
            expected += 1
        self.next = expected

    def end(self, reason: str) -> None:
        """The answer is over."""
        if reason != "stop":
            self.fail(f"it ended with {reason}")
        elif self._rest or self.next != self.from_ + self.tokens:
            self.fail(f"it ended before token {self.next} of {self.from_ + self.tokens}")
        elif not self.done.done():
            self.done.set_result(None)

    def fail(self, fault: str) -> None:
        """It is not what was asked for."""
        self.fault = self.fault or f"{self.question}: {fault}"
        if not self.done.done():
            self.done.set_result(None)


class _Client(asyncio.Protocol):
    """What both dialects share."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answer: Answer | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by birth

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("refused"))
        if self.answer is not None:
            self.answer.fail(f"the connection was lost ({exc})")


class WebSocketClient(_Client):
    """ask, token, done."""

    session = ""
    seq = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.upgraded = False
        self.transport.write(
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % self.path.encode()
        )

    def ask(self, answer: Answer) -> None:
        self.answer = answer
        self.send({"type": "ask", "text": answer.question})

    def send(self, frame: dict[str, object]) -> None:
        """Any frame of a client."""
        data = orjson.dumps(frame)
        length = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self.transport.write(bytes((TEXT,)) + length + bytes(4) + data)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self.data + data if self.data else data
        place = 0 if self.upgraded else self._upgrade(data)
        while (size := len(data)) - place >= 2:
            length, begin = data[place + 1] & 0x7F, place + 2
            if length == 126:
                begin += 2
            elif length == 127:
                begin += 8
            if size < begin:
                break
            if length >= 126:
                length = int.from_bytes(data[place + 2 : begin], "big")
            if size < begin + length:
                break
            if data[place] == TEXT:
                self._frame(orjson.loads(data[begin : begin + length]), now)
            elif data[place] == 0x89:  # a ping
                self.transport.write(bytes((0x8A, 0x80 | length)) + bytes(4) + data[begin : begin + length])
            place = begin + length
        self.data = data[place:]

    def _upgrade(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return len(data) if len(data) > 65536 else 0
        self.upgraded = data.startswith(b"HTTP/1.1 101")
        if self.upgraded:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(ConnectionError(data[:200].decode(errors="replace")))
            self.transport.abort()
        return end + 4

    def _frame(self, frame: dict[str, str], now: int) -> None:
        kind = frame["type"]
        if kind == "ready":
            self.session = frame["session"]
        if "seq" in frame:
            self.seq = int(frame["seq"])
        if self.answer is None:
            return
        if kind == "token":
            self.answer.take(frame["text"], now)
        elif kind == "done":
            self.answer.end(frame["reason"])
        elif kind == "error":
            self.answer.fail(frame["message"])


class HttpClient(_Client):
    """A request a question, its answer as a chunked body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.headed = False
        self.ready.set_result(None)

    def ask(self, answer: Answer) -> None:
        self.answer = answer
        body = orjson.dumps({"text": answer.question})
        self.transport.write(ASK_HTTP % (self.path.encode(), len(body), body))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self.data + data if self.data else data
        place = 0 if self.headed else self._head(data)
        text: list[bytes] = []
        ended = False
        while self.headed and (line := data.find(b"\r\n", place)) >= 0:
            size = int(data[place:line], 16)
            end = line + 2 + size + 2
            if len(data) < end:
                break
            text.append(data[line + 2 : end - 2])
            place = end
            if not size:
                ended, self.headed = True, False
        self.data = data[place:]
        if self.answer is not None:
            if any(text):
                self.answer.take(b"".join(text).decode(), now)
            if ended:
                self.answer.end("stop")

    def _head(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        self.headed = data.startswith(b"HTTP/1.1 200")
        if not self.headed and self.answer is not None:
            self.answer.fail(data[:200].decode(errors="replace"))
        return end + 4


Client: TypeAlias = WebSocketClient | HttpClient


async def connect(url: str, *, receive_buffer: int = 0, answer: Answer | None = None) -> Client:
    """Connect to `ws://…` or `http://…`; `answer` takes what comes at once, where that is known."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    host, _, port = place.partition(":")
    kind = WebSocketClient if scheme == "ws" else HttpClient
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await loop.sock_connect(sock, (host, int(port)))
    _, client = await loop.create_connection(lambda: kind("/" + path), sock=sock)
    client.answer = answer
    await client.ready
    return client
