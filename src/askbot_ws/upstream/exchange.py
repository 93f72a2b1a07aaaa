"""Connection: one socket to a provider. Exchange: one request and its response on it.

IDLE --exchange()--> BUSY --the sink has enough--> DRAINING --the body has ended--> IDLE
                     BUSY --the body has ended--> IDLE
any --closed, cancelled, time is up--> closed
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ..errors import UpstreamError, UpstreamStalled, UpstreamUnavailable
from .faults import ProviderError, broken

MAX_HEAD = 1 << 16  # bytes
MAX_FAULT = 1 << 16  # bytes of the body that comes with an error
FULL = 1 << 16  # bytes of a read that looks as if there were more
FASTEST = 8 * 2**20  # bytes a second: no model writes so much, and what does must leave time for the others
AT_ONCE = 1.0  # seconds: a close that crossed the request on its way arrives within a round trip, which is less
DRAIN = 2.0  # seconds for a body's end to arrive, after all that matters has

Place: TypeAlias = tuple[str, int, bool]  # host, port, TLS
Sink: TypeAlias = Callable[[bytes], float | None]
"""Takes a piece of the body. Returns None to have more, or for how many seconds more is still welcome; 0: no more."""


class StaleConnectionError(Exception):
    """A kept connection was closed within a second of the request and before a byte of a response came.

    Most likely the other side had closed it before the request arrived, as servers do with idle connections. That is
    not certain: whoever sends the request again may send it twice.
    """


def is_stale(error: UpstreamError) -> bool:
    """Whether the request may not have been read: its connection had been kept, and was closed at once."""
    return isinstance(error.__cause__, StaleConnectionError)


@dataclass(slots=True)
class Response:
    """What came back; the headers, with names in lower case, and the body are here where the status is not 200."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class Exchange:
    """One response being read: bytes in, pieces of the body out to the sink."""

    __slots__ = (
        "_framed",
        "_head",
        "_headed",
        "_parser",
        "_pieces",
        "_sink",
        "ended",
        "on_body",
        "response",
        "reusable",
        "started",
    )

    def __init__(self, sink: Sink) -> None:
        self.response = Response()
        self.started = False  # a byte came
        self.ended = False  # the body is complete
        self.reusable = False  # another request may follow on the same connection
        self._sink = sink
        self._headed = False
        self._framed = False  # it says itself where its body ends
        self._head = 0
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # one read may hold many chunks of the body
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> float | None:
        """Take what a read brought. Returns what the sink returned. Raises where it isn't HTTP, or the sink does."""
        self.started = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.reusable = False
            if not self.ended:
                raise UpstreamUnavailable from ProviderError(f"the answer is not HTTP/1.1: {error}")
        if not self._headed:
            self._head += len(data)
            if self._head > MAX_HEAD:
                raise UpstreamUnavailable from ProviderError("the response's headers do not end")
        pieces = self._pieces
        if not pieces:
            return None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return self._sink(body)

    def mute(self) -> None:
        """The sink has enough: the body may end, but not go on."""
        self._sink = _unwanted

    def at_eof(self) -> bool:
        """The other side has no more to say. Returns whether that is how this body ends."""
        return self._headed and not self._framed

    def _keep(self, body: bytes) -> float | None:
        self.response.body = (self.response.body + body)[:MAX_FAULT]
        return 0.0 if len(self.response.body) == MAX_FAULT else None

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        """A response begins; one is all that was asked for."""
        if self.ended:
            raise ValueError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self._headed:
            self.response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.response.status = self._parser.get_status_code()
        self._headed = self.response.status >= 200
        headers = self.response.headers
        self._framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
        if self.response.status == 200:
            headers.clear()  # kilobytes, for as long as the answer takes
        elif self._headed:
            self._sink = self._keep

    def on_message_complete(self) -> None:
        """The body is complete; that of a 1xx is only the beginning."""
        if self._headed:
            self.ended = True
            self.reusable = self._parser.should_keep_alive()
        else:
            self.response.headers.clear()


def _unwanted(body: bytes) -> None:
    raise broken(f"{len(body)} bytes after the end of the answer")


class Deadline:
    """A timer that is moved by an assignment: it looks at the new place when it arrives at the old one."""

    __slots__ = ("_loop", "_on_passed", "_timer", "at")

    def __init__(self, on_passed: Callable[[], None]) -> None:
        self.at = 0.0
        self._on_passed = on_passed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Move it anywhere. To move it further away, assigning to `at` is enough."""
        self.at = self._loop.time() + seconds
        if self._timer is None or self.at < self._timer.when():
            self.cancel()
            self._timer = self._loop.call_at(self.at, self._look)

    def cancel(self) -> None:
        """Forget it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() < self.at:
            self._timer = self._loop.call_at(self.at, self._look)
        else:
            self._on_passed()


class Keeper(Protocol):
    """Whoever keeps connections."""

    def idle(self, connection: Connection) -> None:
        """It may be used again."""

    def lost(self, connection: Connection) -> None:
        """It is closed."""


class Connection(asyncio.Protocol):
    """One socket, one exchange at a time."""

    __slots__ = (
        "_answer",
        "_deadline",
        "_exchange",
        "_grace",
        "_keeper",
        "_kept",
        "_loop",
        "_patience",
        "_sent",
        "_transport",
        "place",
    )

    def __init__(self, place: Place, keeper: Keeper) -> None:
        self.place = place
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._passed)
        self._exchange: Exchange | None = None
        self._answer: asyncio.Future[Response] = self._loop.create_future()
        self._patience = 0.0
        self._grace = False  # all that must come has come: time may run out
        self._kept = False  # it has carried an exchange before this one
        self._sent = 0.0  # when the request went out

    @property
    def usable(self) -> bool:
        """Whether a request can go out on it now."""
        return self._exchange is None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing has arrived that the loop has not read yet: on an idle connection that is its end."""
        return not _readable(self._transport.get_extra_info("socket").fileno())

    def exchange(self, request: bytes, sink: Sink, patience: float) -> asyncio.Future[Response]:
        """Send a request. Done when the sink has all it wants; to cancel it closes the connection at once.

        Raises `UpstreamUnavailable` where the connection is closed already. The future raises it where the connection
        is closed before the answer's end, because of a `StaleConnectionError` where that is what happened.
        """
        if not self.usable:
            raise UpstreamUnavailable from ProviderError("the connection was closed before the request")
        self._exchange = Exchange(sink)
        self._answer = self._loop.create_future()
        self._answer.add_done_callback(self._answered)
        self._patience, self._grace = patience, False
        self._deadline.set(patience)
        self._sent = self._loop.time()
        self._transport.write(request)
        return self._answer

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        if answer is self._answer and answer.cancelled():
            self.close()  # nothing is flushed, nothing more is read: the provider stops

    def keep(self, seconds: float) -> None:
        """Stay open for the next exchange, but not for ever."""
        self._kept = True
        self._deadline.set(seconds)

    def close(self) -> None:
        """Close it at once."""
        self._transport.abort()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take a read."""
        exchange = self._exchange
        if exchange is None or self._answer.cancelled() or self._transport.is_closing():
            self.close()  # nobody asked, or nobody wants to know any more
            return
        try:
            want = exchange.feed(data)
        except Exception as error:  # noqa: BLE001  the loop would only log it; it belongs to the task that waits
            self.fail(error)
            return
        if exchange.ended:
            self._release(exchange)
        elif want is not None:
            self._wind_down(exchange, want)
        elif not self._grace:
            self._deadline.at = self._loop.time() + self._patience
        if len(data) >= FULL:  # libuv would read on and on
            self._transport.pause_reading()
            self._loop.call_later(len(data) / FASTEST, self._read_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._deadline.cancel()
        self._keeper.lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None or self._answer.done():
            return
        if not exchange.started:
            self._answer.set_exception(self._unanswered(exc))
        elif exc is None and exchange.at_eof():
            self._answer.set_result(exchange.response)
        else:
            self._answer.set_exception(broken(f"the connection was closed in the middle of the answer ({exc})"))

    # --- what follows from it ---

    def _unanswered(self, exc: Exception | None) -> UpstreamUnavailable:
        text = f"the connection was closed before an answer ({exc})"
        at_once = self._kept and self._loop.time() - self._sent < AT_ONCE
        error = UpstreamUnavailable()
        error.__cause__ = StaleConnectionError(text) if at_once else ProviderError(text)
        return error

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _wind_down(self, exchange: Exchange, want: float) -> None:
        """Wait a little for what is still welcome, or, aside, for the body's end: then the connection lives on."""
        self._grace = True
        self._deadline.set(want or DRAIN)
        if not want:
            exchange.mute()
            self._answer.set_result(exchange.response)

    def _release(self, exchange: Exchange) -> None:
        self._exchange = None
        if not self._answer.done():
            self._answer.set_result(exchange.response)
        if exchange.reusable:
            self._keeper.idle(self)
        else:
            self.close()

    def fail(self, error: Exception) -> None:
        """Close it at once; whoever waits for an answer gets the error."""
        if self._exchange is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def _passed(self) -> None:
        exchange = self._exchange
        if exchange is None or self._answer.done():
            self.close()
        elif self._grace:
            self._answer.set_result(exchange.response)
            self.close()
        else:
            self.fail(UpstreamStalled())


def _readable(file: int) -> bool:
    if sys.platform == "win32":
        return bool(select.select([file], [], [], 0)[0])
    poll = select.poll()  # select() knows no file above 1,023
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))
