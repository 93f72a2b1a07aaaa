"""ProviderConnection: one socket to a provider, with one HTTP exchange at a time.

IDLE --send()--> BUSY --the sink has enough--> DRAINING --the body has ended--> IDLE
                 BUSY --the body has ended--> IDLE
any --closed, cancelled, timed out--> closed
"""

from __future__ import annotations

import asyncio
import select
import sys
from typing import Protocol, TypeAlias, cast

from ..errors import UpstreamError, UpstreamStalled, UpstreamUnavailable
from .deadline import Deadline
from .http_exchange import NO_PROGRESS, HttpExchange, Response, Sink
from .provider_errors import ProviderError, broken_answer

LARGE_READ_BYTES = 1 << 16  # after a read of this size there are probably more bytes to read
MAX_BYTES_PER_SECOND = 8 * 2**20  # no model writes so much; reading pauses, so that other connections are read too
STALE_CLOSE_WINDOW_SECONDS = 1.0  # after the request: a close that crossed it arrives within a round trip
DRAIN_TIMEOUT_SECONDS = 2.0  # for a body's end to arrive, after the sink has all that it wants

Origin: TypeAlias = tuple[str, int, bool]  # host, port, TLS


class StaleConnectionError(Exception):
    """A reused connection was closed within a second of the request and before a byte of a response came.

    Most likely the other side had closed it before the request arrived, as servers do with idle connections. That is
    not certain: whoever sends the request again may send it twice.
    """


def is_stale_connection(error: UpstreamError) -> bool:
    """Whether the request may not have been read: its connection was reused, and was closed at once."""
    return isinstance(error.__cause__, StaleConnectionError)


class ConnectionPool(Protocol):
    """What a connection notifies when its state changes."""

    def on_idle(self, connection: ProviderConnection) -> None:
        """Called when an exchange has ended and another may follow on the connection."""

    def on_closed(self, connection: ProviderConnection) -> None:
        """Called when the connection is closed."""


class ProviderConnection(asyncio.Protocol):
    """One socket to an origin, with one exchange at a time."""

    __slots__ = (
        "_deadline",
        "_exchange",
        "_in_grace_period",
        "_loop",
        "_pool",
        "_response",
        "_reused",
        "_sent_at",
        "_stall_timeout",
        "_transport",
        "origin",
    )

    def __init__(self, origin: Origin, pool: ConnectionPool) -> None:
        self.origin = origin
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._on_deadline)
        self._exchange: HttpExchange | None = None
        self._response: asyncio.Future[Response] = self._loop.create_future()
        self._stall_timeout = 0.0
        self._in_grace_period = False  # the response has all that is required: the deadline may pass without an error
        self._reused = False  # an exchange ended on it before this one
        self._sent_at = 0.0  # when the request went out, by the loop's clock

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on it now."""
        return self._exchange is None and not self._transport.is_closing()

    @property
    def has_unread_data(self) -> bool:
        """Whether something has arrived that the loop has not read yet: on an idle connection, that it was closed."""
        return _is_readable(self._transport.get_extra_info("socket").fileno())

    def send(self, request: bytes, sink: Sink, stall_timeout: float) -> asyncio.Future[Response]:
        """Send a request and pass the body of a 200 to `sink`.

        Args:
            request: The bytes of the whole request.
            sink: Receives the body as it arrives.
            stall_timeout: How many seconds may pass without a byte that counts as progress.

        Returns:
            A future of the response, done once the sink has all it wants. Cancelling it closes the connection at once.
            It raises `UpstreamStalled` after `stall_timeout`, and `UpstreamUnavailable` where the connection is closed
            before the answer's end, with a `StaleConnectionError` as its cause where that is what happened.

        Raises:
            UpstreamUnavailable: The connection is closed already.
        """
        if not self.usable:
            raise UpstreamUnavailable from ProviderError("the connection was closed before the request")
        self._exchange = HttpExchange(sink)
        self._response = self._loop.create_future()
        self._response.add_done_callback(self._on_response_done)
        self._stall_timeout, self._in_grace_period = stall_timeout, False
        self._deadline.set(stall_timeout)
        self._sent_at = self._loop.time()
        self._transport.write(request)
        return self._response

    def _on_response_done(self, response: asyncio.Future[Response]) -> None:
        if response is self._response and response.cancelled():
            self.close()  # nothing is flushed, nothing more is read: the provider stops

    def keep_idle(self, max_idle: float) -> None:
        """Stay open for the next exchange, for at most `max_idle` seconds."""
        self._reused = True
        self._deadline.set(max_idle)

    def close(self) -> None:
        """Close the socket at once."""
        self._transport.abort()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse what was read from the socket, and pass the body on."""
        exchange = self._exchange
        if exchange is None or self._response.cancelled() or self._transport.is_closing():
            self.close()  # data without a request, or nobody waits for the response any more
            return
        try:
            grace = exchange.feed(data)
        except Exception as error:  # noqa: BLE001  the loop would only log it; it belongs to the task that waits
            self.fail(error)
            return
        if exchange.ended:
            self._finish(exchange)
        elif grace is not None:
            if grace != NO_PROGRESS:
                self._begin_grace_period(exchange, grace)
        elif not self._in_grace_period:
            self._deadline.at = self._loop.time() + self._stall_timeout
        if len(data) >= LARGE_READ_BYTES:  # libuv would read without end
            self._transport.pause_reading()
            self._loop.call_later(len(data) / MAX_BYTES_PER_SECOND, self._resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Resolve the response, with an error where it is not complete."""
        self._deadline.cancel()
        self._pool.on_closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.close()
        if self._response.done():
            return
        if not exchange.started:
            self._response.set_exception(self._closed_before_response(exc))
        elif exc is None and exchange.ends_at_eof():
            self._response.set_result(exchange.response)
        else:
            error = broken_answer(f"the connection was closed in the middle of the answer ({exc})")
            self._response.set_exception(error)

    # --- what follows from it ---

    def _closed_before_response(self, exc: Exception | None) -> UpstreamUnavailable:
        text = f"the connection was closed before an answer ({exc})"
        is_stale = self._reused and self._loop.time() - self._sent_at < STALE_CLOSE_WINDOW_SECONDS
        error = UpstreamUnavailable()
        error.__cause__ = StaleConnectionError(text) if is_stale else ProviderError(text)
        return error

    def _resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _begin_grace_period(self, exchange: HttpExchange, grace: float) -> None:
        """Wait `grace` seconds for more of the body; with 0, end the response and wait for the body's end only.

        The connection can be used again once the body has ended.
        """
        self._in_grace_period = True
        self._deadline.set(grace or DRAIN_TIMEOUT_SECONDS)
        if not grace:
            exchange.refuse_more_body()
            self._response.set_result(exchange.response)

    def _finish(self, exchange: HttpExchange) -> None:
        self._exchange = None
        exchange.close()
        if not self._response.done():
            self._response.set_result(exchange.response)
        if exchange.reusable:
            self._pool.on_idle(self)
        else:
            self.close()

    def fail(self, error: Exception) -> None:
        """Close the socket at once, and raise the error where the response is awaited."""
        if self._exchange is not None and not self._response.done():
            self._response.set_exception(error)
        self.close()

    def _on_deadline(self) -> None:
        exchange = self._exchange
        if exchange is None or self._response.done():
            self.close()
        elif self._in_grace_period:
            self._response.set_result(exchange.response)
            self.close()
        else:
            self.fail(UpstreamStalled())


def _is_readable(fd: int) -> bool:
    if sys.platform == "win32":
        return bool(select.select([fd], [], [], 0)[0])
    poll = select.poll()  # select() knows no file above 1,023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
