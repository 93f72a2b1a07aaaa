"""What the connections of every protocol share: a cursor for each session, back-pressure, limits, identity, the drain.

At the head, a reader passes on what was just committed. Behind it, it reads the log as fast as the socket takes it;
what it has not sent yet is a number, not a buffer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from websockets.exceptions import ConnectionClosed

from ..core.cursor import Cursor
from ..core.limits import TokenBucket
from ..core.log_tail import SLICE_BYTES
from ..core.principal import Principal
from ..errors import AskbotError, SessionNotFound, StoreError
from ..events import Event, encode_event
from ..hub import Hub, Topic

MAX_RESUMES_PER_MINUTE = (
    10  # from one place of one session by one client, a minute: a client that gets no further is told to stop
)
MAX_TRACKED_RESUMES = 10_000  # such places

log = structlog.get_logger(__name__)


class MessageSocket(Protocol):
    """A connection that is written to without waiting."""

    on_writable: Callable[[], None] | None  # called when it takes more again, and when it is gone
    paused_at: float | None  # since when it takes nothing; seconds of the loop's clock
    sent_at: float  # when anything was last sent; 0: nothing was

    @property
    def writable(self) -> bool:
        """Whether it takes more."""
        ...

    @property
    def close_code(self) -> int | None:
        """With which code it was closed."""
        ...

    @property
    def query(self) -> str:
        """What stands behind the question mark of its address; once."""
        ...

    @property
    def client(self) -> str:
        """The address of the other side."""
        ...

    def write(self, frame: bytes) -> None:
        """Send a text frame at once."""

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Send frames in one write."""

    async def recv(self) -> str | bytes:
        """The next message. Raises `ConnectionClosed`."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it, and wait for the other side's close."""


class SessionReader:
    """One session as one connection sees it. The log's own bytes are its frames: askbot.v1 says events as they are."""

    __slots__ = ("_hub", "_on_closed", "_socket", "_store_read", "cursor", "muted", "topic")

    def __init__(
        self, topic: Topic, socket: MessageSocket, hub: Hub, on_closed: Callable[[SessionReader, AskbotError], None]
    ) -> None:
        self.topic = topic
        self.cursor: Cursor | None = None  # None: it has not begun, or has ended
        self.muted = False  # the client itself is ending the session, and gets that answer only
        self._socket = socket
        self._hub = hub
        self._on_closed = on_closed
        self._store_read: asyncio.Task[None] | None = None

    def start(self, after: int) -> None:
        """Send everything after this place."""
        self.cursor = Cursor(after)
        self.send_pending()

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The log has grown."""
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

    def closed(self, error: AskbotError) -> None:
        """There is no more to read."""
        self._on_closed(self, error)

    def send_pending(self) -> None:
        """Send what lies between the cursor and the head, as long as the socket takes it."""
        cursor, log = self.cursor, self.topic.log
        if cursor is None or self._store_read is not None:
            return
        while self._socket.writable and cursor.lag(log.head) > 0:
            if cursor.seq < log.start:
                self._store_read = asyncio.create_task(self._read_from_store(cursor))
                return
            self._send(cursor, log.read(after=cursor.seq))

    async def _read_from_store(self, cursor: Cursor) -> None:
        """What the memory no longer has comes from the store."""
        try:
            while self._socket.writable and cursor.seq < self.topic.log.start:
                self._send(cursor, await self._hub.store.read(self.topic.session, after=cursor.seq, limit=SLICE_BYTES))
        except SessionNotFound:
            return  # it is being forgotten: whoever does that closes us
        except StoreError:
            log.exception("read_failed", session=self.topic.session)
            self.cursor = None  # or each event would have us try again while it closes
            await self._socket.close(1013, "the log cannot be read; resume later")
        finally:
            self._store_read = None
        self.send_pending()

    def _send(self, cursor: Cursor, events: Sequence[Event]) -> None:
        for event in events:
            cursor.seq = event.seq
            self._socket.write(encode_event(event))

    def close(self) -> None:
        """Read no more."""
        if self._store_read is not None:
            self._store_read.cancel()
        self.cursor = None
        self._hub.detach(self.topic, self)


def _fit_one_slice(frames: Sequence[bytes]) -> bool:
    """Whether it can all be sent without a look at the socket in between; else `pump` does it."""
    return sum(map(len, frames)) <= SLICE_BYTES


class ResumeLimit:
    """How often clients come back to a place and get no further (docs/protocol.md)."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, int], TokenBucket] = {}  # client, session, place; the oldest first

    def allow(self, client: str, session: str, after: int, *, now: float) -> bool:
        """A client resumes a session after a place; False where it did so too often."""
        place = (client, session, after)
        bucket = self._buckets.pop(place, None) or TokenBucket(
            rate=MAX_RESUMES_PER_MINUTE / 60, burst=MAX_RESUMES_PER_MINUTE
        )
        self._buckets[place] = bucket
        if len(self._buckets) > MAX_TRACKED_RESUMES:
            del self._buckets[next(iter(self._buckets))]
        return not bucket.acquire(now=now)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a connection may do, of whatever protocol; None: no limit."""

    frames_per_minute: int | None = None
    resume_limit: ResumeLimit | None = None


class Connection(ABC):
    """One client, from its handshake to its close. It reads frames, and has a reader for each session."""

    def __init__(self, socket: MessageSocket, hub: Hub, principal: Principal, limits: RateLimits) -> None:
        self.socket = socket
        self.principal = principal
        self.hub = hub
        self.readers: dict[str, SessionReader] = {}
        self._bad_frame_bucket = TokenBucket(rate=1.0, burst=200)
        self._frame_bucket: TokenBucket | None = None
        if limits.frames_per_minute is not None:
            self._frame_bucket = TokenBucket(rate=limits.frames_per_minute / 60, burst=limits.frames_per_minute)
        self._resume_limit = limits.resume_limit
        self._writable_event: asyncio.Event | None = None  # what a client that takes no answers has to wait for
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        socket.on_writable = self._on_writable

    @abstractmethod
    async def attach_first(self, query: str) -> None:
        """Begin to read what the address names."""

    @abstractmethod
    async def handle_frame(self, text: str) -> bool:
        """Follow one frame; False where it can't be understood."""

    @abstractmethod
    def announce_drain(self, *, drain_seconds: float) -> None:
        """Tell the client that the server drains: running answers have `limit` seconds."""

    @abstractmethod
    async def wait_commands(self) -> None:
        """The client is gone: let what it has begun come to an end."""

    async def run(self) -> None:
        """Serve it until it closes."""
        begun = self._now()
        frames = 0
        try:
            await self.attach_first(self.socket.query)
            going = True
            while going:  # `async for` would be one more generator in memory, and to go through
                data = await self.socket.recv()
                frames += 1
                going = await self._handle_message(data)
        except ConnectionClosed:
            pass
        except Exception:  # one of the two edges: a fault in one connection is that connection's
            log.exception("connection_failed")
            await self.socket.close(1011)
        finally:
            await self.wait_commands()
            for reader in tuple(self.readers.values()):
                self.detach(reader)
            log.info(
                "connection_closed", code=self.socket.close_code, frames=frames, total_s=round(self._now() - begun, 3)
            )

    async def _handle_message(self, data: str | bytes) -> bool:
        """Take a message; False where the connection is to end."""
        if not isinstance(data, str):
            await self._close(1003, "text frames only")
            return False
        if self._frame_bucket is not None and self._frame_bucket.acquire(now=self._now()):
            await self._close(4429, "too many frames")
            return False
        if not await self.handle_frame(data) and self._bad_frame_bucket.acquire(now=self._now()):
            await self._close(1008, "too many bad frames")
            return False
        if not self.socket.writable:  # a client that takes no answers gets to send no questions
            await self.wait_writable()
        return True

    async def wait_writable(self) -> None:
        """Wait until the socket, which takes nothing now, takes more, or is gone."""
        if self.socket.close_code is None:  # else it is gone already, and nobody will tell us
            self._writable_event = self._writable_event or asyncio.Event()
            await self._writable_event.wait()

    async def _close(self, code: int, reason: str) -> None:
        """Close it, and read what still arrives: behind all of that is the client's own close."""
        closing = asyncio.create_task(self.socket.close(code, reason))
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed:
            pass
        finally:
            await closing

    def may_resume(self, session: str, after: int) -> bool:
        """Whether this client may resume here: one that comes back to a place again and again gets no further."""
        return self._resume_limit is None or self._resume_limit.allow(
            self.socket.client, session, after, now=self._now()
        )

    def detach(self, reader: SessionReader) -> None:
        """Stop reading a session."""
        reader.close()
        if self.readers.get(reader.topic.session) is reader:
            del self.readers[reader.topic.session]

    def _on_writable(self) -> None:
        if self._writable_event is not None:
            self._writable_event.set()
            self._writable_event = None
        for reader in tuple(self.readers.values()):
            reader.send_pending()
