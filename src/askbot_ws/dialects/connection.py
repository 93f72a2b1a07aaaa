"""Connection: the part that all protocols share: cursors, back-pressure, rate limits and the drain.

A reader at the head of a log sends what was just committed. One that is behind reads the log as fast as its socket
accepts data; what is still to be sent is a position in the log, not a buffer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Protocol

import structlog
from websockets.exceptions import ConnectionClosed

from ..core.allowance import address_key
from ..core.cursor import Cursor
from ..core.limits import TokenBucket
from ..core.log_tail import SLICE_BYTES
from ..core.principal import Principal
from ..errors import AskbotError, Forbidden, SessionNotFound, StoreError
from ..events import Event, encode_event
from ..hub import Hub, Topic

MAX_RESUMES_PER_MINUTE = 10  # of one session after one `seq` by one client address: it makes no progress
MAX_TRACKED_RESUMES = 10_000  # triples of address, session and `seq` in memory
DROPPED_AT_ONCE = 2  # of them, where one comes: they become fewer

log = structlog.get_logger(__name__)


class MessageSocket(Protocol):
    """A socket that sends and receives messages; sending does not wait."""

    on_writable: Callable[[], None] | None  # called when it becomes writable, and when it is lost
    paused_at: float | None  # since when it is not writable, in seconds of the loop's clock; None: it is
    sent_at: float  # when anything was last sent, in seconds of the loop's clock; 0: nothing was

    @property
    def writable(self) -> bool:
        """Whether its send buffer has room."""
        ...

    @property
    def close_code(self) -> int | None:
        """The code with which it was closed; None: it is open."""
        ...

    @property
    def client_address(self) -> str:
        """The IP address of the other side; empty where there is none."""
        ...

    def pop_query(self) -> str:
        """Return the query string of the handshake, and free the memory of its headers: a second call returns ''."""
        ...

    def write(self, frame: bytes) -> None:
        """Send a text frame at once."""

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Send text frames in one write."""

    async def recv(self) -> str | bytes:
        """Receive the next message. Raises `ConnectionClosed`."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it, and wait for the other side's close frame."""


class SessionReader:
    """Sends the log of one session to one connection. The encoded events are the frames of askbot.v1, unchanged."""

    __slots__ = ("_hub", "_report_closed", "_socket", "_store_read", "cursor", "muted", "topic")

    def __init__(
        self, topic: Topic, socket: MessageSocket, hub: Hub, report_closed: Callable[[SessionReader, AskbotError], None]
    ) -> None:
        self.topic = topic
        self.cursor: Cursor | None = None  # None: not started, or closed
        self.muted = False  # this connection is deleting the session: it gets the answer to its frame only
        self._socket = socket
        self._hub = hub
        self._report_closed = report_closed
        self._store_read: asyncio.Task[None] | None = None

    def start(self, after: int) -> None:
        """Send all events after this `seq`, then new ones."""
        self.cursor = Cursor(after)
        self.send_pending()

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """Send new events (`Reader.notify`): at once from the head, else through `send_pending`."""
        cursor, socket = self.cursor, self._socket
        if cursor is None or socket.paused_at is not None:
            return
        single = len(frames) == 1
        if (
            self._store_read is not None
            or not (single or _fit_one_slice(frames))
            or not cursor.advance(events[0].start, events[-1].seq)
        ):
            self.send_pending()
        elif single:
            socket.write(frames[0])
        else:
            socket.write_all(frames)

    def on_closed(self, error: AskbotError) -> None:
        """Report that the session can't be read any more (`Reader.on_closed`)."""
        self._report_closed(self, error)

    def send_pending(self) -> None:
        """Send the events between the cursor and the head while the socket is writable."""
        cursor, tail = self.cursor, self.topic.log
        if cursor is None or self._store_read is not None:
            return
        while self._socket.writable and cursor.lag(tail.head) > 0:
            if cursor.seq < tail.start:
                self._store_read = asyncio.create_task(self._read_from_store(cursor))
                return
            self._send(cursor, tail.read(after=cursor.seq))

    async def _read_from_store(self, cursor: Cursor) -> None:
        """Send the events that are no longer in memory, from the store."""
        try:
            while self._socket.writable and cursor.seq < self.topic.log.start:
                self._send(cursor, await self._hub.store.read(self.topic.session, after=cursor.seq, limit=SLICE_BYTES))
        except SessionNotFound:
            return  # it is being deleted, and `on_closed` will be called
        except StoreError:
            log.exception("store_read_failed", session=self.topic.session)
            self.cursor = None  # or each event would start another attempt while it closes
            await self._socket.close(1013, "the log cannot be read; resume later")
        finally:
            self._store_read = None
        self.send_pending()

    def _send(self, cursor: Cursor, events: Sequence[Event]) -> None:
        for event in events:
            cursor.seq = event.seq
            self._socket.write(encode_event(event))

    def close(self) -> None:
        """Stop reading and sending."""
        if self._store_read is not None:
            self._store_read.cancel()
        self.cursor = None
        self._hub.detach(self.topic, self)


def _fit_one_slice(frames: Sequence[bytes]) -> bool:
    """Return whether frames can be sent in one write: above that, `send_pending` checks the socket in between."""
    return sum(map(len, frames)) <= SLICE_BYTES


class ResumeLimit:
    """Limits how often a client may resume a session after the same `seq` (docs/protocol.md, close code 4429)."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, int], TokenBucket] = {}  # by client, session, `seq`; least recent first

    def allow(self, client: str, session: str, after: int, *, now: float) -> bool:
        """Count a resume; returns False where there were too many."""
        key = (client, session, after)
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            self._drop_unused(now)
            bucket = TokenBucket(rate=MAX_RESUMES_PER_MINUTE / 60, burst=MAX_RESUMES_PER_MINUTE)
        self._buckets[key] = bucket
        return not bucket.acquire(now=now)

    def _drop_unused(self, now: float) -> None:
        """Drop the least recent buckets that count nothing any more, and one more where there are too many."""
        for key in [*islice(self._buckets, DROPPED_AT_ONCE)]:
            if len(self._buckets) < MAX_TRACKED_RESUMES and not self._buckets[key].is_unused(now=now):
                return
            del self._buckets[key]


@dataclass(frozen=True, slots=True)
class ConnectionRates:
    """How often a connection may send frames and resume; None: as often as it likes."""

    frames_per_minute: int | None = None
    resume_limit: ResumeLimit | None = None


class Renewer(Protocol):
    """What gives connections a new principal."""

    async def renew(self, connection: Connection, token: str) -> Principal:
        """Give a connection the principal of a fresh token of the same user, and return it.

        Raises `Unauthorized`, `Forbidden` where it is another user's or the connection is anonymous, and `Overloaded`
        where it can't be checked now; then nothing has changed.
        """
        ...


class Connection(ABC):
    """One client's connection, from its handshake to its close, with a reader for each attached session.

    `protocol` is its protocol's name, as in the handshake.
    """

    protocol: ClassVar[str]

    def __init__(self, socket: MessageSocket, hub: Hub, principal: Principal, limits: ConnectionRates) -> None:
        self.socket = socket
        self.principal = principal
        self.hub = hub
        self.readers: dict[str, SessionReader] = {}
        self.renewer: Renewer | None = None  # None: the connection can't have another credential
        self._bad_frame_bucket = TokenBucket(rate=1.0, burst=200)
        self._frame_bucket: TokenBucket | None = None
        self.set_rates(limits)
        self.address = socket.client_address
        self._writable_event: asyncio.Event | None = None  # None: nobody waits for it
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        socket.on_writable = self._on_writable

    def set_rates(self, limits: ConnectionRates) -> None:
        """Limit the rates of frames and resumes by these from now on."""
        self._frame_bucket = None
        if limits.frames_per_minute is not None:
            self._frame_bucket = TokenBucket(rate=limits.frames_per_minute / 60, burst=limits.frames_per_minute)
        self._resume_limit = limits.resume_limit

    async def renew(self, token: str) -> Principal:
        """Replace the principal by that of a fresh credential, and return it; raises like `Renewer.renew`."""
        if self.renewer is None:
            raise Forbidden("Credentials are not used here.")
        return await self.renewer.renew(self, token)

    @abstractmethod
    async def attach_first(self, query: str) -> None:
        """Attach the session that the handshake's query names."""

    @abstractmethod
    async def handle_frame(self, text: str) -> bool:
        """Handle one text frame; returns False where it is invalid."""

    @abstractmethod
    def announce_drain(self, *, drain_seconds: float) -> None:
        """Notify the client that the server drains, in which running answers have `drain_seconds`."""

    @abstractmethod
    async def wait_commands(self) -> None:
        """Wait for the commands that are being executed, after the client has left."""

    async def run(self) -> None:
        """Handle messages until the connection closes."""
        started = self._now()
        frames = 0
        try:
            await self.attach_first(self.socket.pop_query())
            going = True
            while going:  # not `async for`, which keeps a generator for each connection
                data = await self.socket.recv()
                frames += 1
                going = await self._handle_message(data)
        except ConnectionClosed:
            pass
        except Exception:  # a fault in one connection must not end another
            log.exception("connection_failed")
            await self.socket.close(1011)
        finally:
            await self.wait_commands()
            sessions = [*self.readers]
            for reader in tuple(self.readers.values()):
                self.detach(reader)
            log.info(
                "connection_closed",
                code=self.socket.close_code,
                address=self.socket.client_address,
                session=sessions[0] if sessions else None,
                sessions=len(sessions),
                frames=frames,
                total_s=round(self._now() - started, 3),
            )

    async def _handle_message(self, data: str | bytes) -> bool:
        """Handle a message; returns False once the connection was closed for it."""
        if not isinstance(data, str):
            await self._close(1003, "text frames only")
            return False
        if self._frame_bucket is not None and self._frame_bucket.acquire(now=self._now()):
            await self._close(4429, "too many frames")
            return False
        if not await self.handle_frame(data) and self._bad_frame_bucket.acquire(now=self._now()):
            await self._close(1008, "too many bad frames")
            return False
        if not self.socket.writable:  # back-pressure: frames of a client that does not read are not read either
            await self.wait_writable()
        return True

    async def wait_writable(self) -> None:
        """Wait until the socket, which is not writable, becomes so or is lost."""
        if self.socket.close_code is None:  # else it is lost already, and no call will come
            self._writable_event = self._writable_event or asyncio.Event()
            await self._writable_event.wait()

    async def _close(self, code: int, reason: str) -> None:
        """Close the socket, and discard what still arrives before the client's close frame."""
        closing = asyncio.create_task(self.socket.close(code, reason))
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed:
            pass
        finally:
            await closing

    def may_resume(self, session: str, after: int) -> bool:
        """Return whether this client may resume a session after this `seq`; see `ResumeLimit`."""
        limit = self._resume_limit
        return limit is None or limit.allow(address_key(self.address), session, after, now=self._now())

    def lags(self) -> list[int]:
        """Return by how many positions each of its cursors is behind the head of its log."""
        return [
            reader.cursor.lag(reader.topic.log.head) for reader in self.readers.values() if reader.cursor is not None
        ]

    def detach(self, reader: SessionReader) -> None:
        """Stop sending a session."""
        reader.close()
        if self.readers.get(reader.topic.session) is reader:
            del self.readers[reader.topic.session]

    def _on_writable(self) -> None:
        if self._writable_event is not None:
            self._writable_event.set()
            self._writable_event = None
        for reader in tuple(self.readers.values()):
            reader.send_pending()
