"""Reading: a connection's cursor over one session.

At the head, it passes on what was just committed. Behind it, it reads the log as fast as the socket takes it; what
it has not sent yet is a number, not a buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ..core.cursor import Cursor
from ..core.log import SLICE
from ..errors import AskbotError, StoreError
from ..events import Event
from ..hub import Hub, Live
from ..server.socket import Socket
from .askbot.frames import encode

log = structlog.get_logger(__name__)


class Reading:
    """One session as one connection sees it."""

    __slots__ = ("_catching_up", "_hub", "_on_closed", "_socket", "cursor", "live")

    def __init__(self, live: Live, socket: Socket, hub: Hub, on_closed: Callable[[Reading, AskbotError], None]) -> None:
        self.live = live
        self.cursor: Cursor | None = None  # None: it has not begun
        self._socket = socket
        self._hub = hub
        self._on_closed = on_closed
        self._catching_up: asyncio.Task[None] | None = None

    def begin(self, after: int) -> None:
        """Send everything after this place."""
        self.cursor = Cursor(after)
        self.pump()

    def wake(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        """The log has grown."""
        cursor, socket = self.cursor, self._socket
        if cursor is None or socket.paused_at is not None:
            return
        single = len(frames) == 1
        if (
            self._catching_up is not None
            or not (single or _light(frames))
            or not cursor.covers(events[0].start, events[-1].seq)
        ):
            self.pump()
        elif single:
            socket.write(frames[0])
        else:
            socket.write_all(frames)

    def closed(self, error: AskbotError) -> None:
        """There is no more to read."""
        self._on_closed(self, error)

    def pump(self) -> None:
        """Send what lies between the cursor and the head, as long as the socket takes it."""
        cursor, log = self.cursor, self.live.log
        if cursor is None or self._catching_up is not None:
            return
        while self._socket.writable and cursor.lag(log.head) > 0:
            if cursor.seq < log.start:
                self._catching_up = asyncio.create_task(self._catch_up(cursor))
                return
            self._send(cursor, log.read(after=cursor.seq))

    async def _catch_up(self, cursor: Cursor) -> None:
        """What the memory no longer has comes from the store."""
        try:
            while self._socket.writable and cursor.seq < self.live.log.start:
                self._send(cursor, await self._hub.store.read(self.live.id, after=cursor.seq, limit=SLICE))
        except StoreError:
            log.exception("read_failed", session=self.live.id)
            await self._socket.close(1013, "the log cannot be read; resume later")
        finally:
            self._catching_up = None
        self.pump()

    def _send(self, cursor: Cursor, events: Sequence[Event]) -> None:
        for event in events:
            cursor.seq = event.seq
            self._socket.write(encode(event))

    def end(self) -> None:
        """Read no more."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        self.cursor = None
        self._hub.detach(self.live, self)


def _light(frames: Sequence[bytes]) -> bool:
    """Whether it can all be sent without a look at the socket in between; else `pump` does it."""
    return sum(map(len, frames)) <= SLICE
