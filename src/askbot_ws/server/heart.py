"""Heart: tells everybody who listens that the server is well, and closes whoever takes nothing."""

from __future__ import annotations

import asyncio

from ..dialects.askbot.frames import Alive, encode
from .socket import Socket
from .wheel import Wheel

CLOSING_SLOWLY = 10.0  # seconds that a slow reader has to take its close frame
STEP = 0.1  # seconds: what is due together is sent together

ALIVE = encode(Alive())


class Heart:
    """One timer for all sockets, and no look at who was just seen."""

    def __init__(self, *, heartbeat: float, reader_timeout: float) -> None:
        """Seconds of silence before a sign of life, and that a reader may take nothing."""
        self._heartbeat = heartbeat
        self._reader_timeout = reader_timeout
        self._calm = min(heartbeat, reader_timeout)  # seconds in which a socket needs no look
        self._loop = asyncio.get_running_loop()
        self._wheel = Wheel[Socket](min(STEP, self._calm / 4), now=self._loop.time())
        self._closing: set[asyncio.Task[None]] = set()

    def watch(self, socket: Socket) -> None:
        """From now on, until it closes."""
        self._wheel.put(socket, self._loop.time() + self._calm)

    async def beat(self) -> None:
        """Look at each socket when it may be time."""
        while True:
            await asyncio.sleep(self._wheel.wait(self._loop.time(), most=self._calm))
            self._look(self._loop.time())

    def _look(self, now: float) -> None:
        heartbeat, next_look = self._heartbeat, now + self._calm
        for socket in self._wheel.due(now):
            if not socket.open:
                continue
            at = next_look
            if socket.paused_at is not None:
                at = socket.paused_at + self._reader_timeout
                if at <= now:
                    self._close_later(socket)
                    continue
            elif socket.sent_at:  # not before `ready`, which is the first frame however long the store takes for it
                if now - socket.sent_at >= heartbeat:
                    socket.write(ALIVE)
                else:
                    at = min(at, socket.sent_at + heartbeat)
            self._wheel.put(socket, at)

    def _close_later(self, socket: Socket) -> None:
        reason = "the reader was too slow for too long"
        task = asyncio.create_task(socket.shut(4408, reason, within=min(CLOSING_SLOWLY, self._reader_timeout)))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
