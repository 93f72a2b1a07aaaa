"""Socket: a WebSocket connection that is written to without waiting, and says when it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State


class Socket(ServerConnection):
    """`websockets`' own connection. Its transport's flow control decides who lags, nothing is queued for it."""

    on_writable: Callable[[], None] | None = None
    paused_at: float | None = None  # since when it takes nothing
    sent_at: float = 0.0  # when anything was last sent

    def pause_writing(self) -> None:
        """The transport's buffer is full (asyncio calls it)."""
        super().pause_writing()
        self.paused_at = self.loop.time()

    def resume_writing(self) -> None:
        """There is room again (asyncio calls it)."""
        super().resume_writing()
        self.paused_at = None
        if self.on_writable is not None:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone (asyncio calls it): nobody need wait for room any more."""
        super().connection_lost(exc)
        if self.on_writable is not None:
            self.on_writable()

    def write(self, frame: bytes) -> None:
        """Send a text frame at once: no task, no queue. Whoever writes much looks at `writable` in between."""
        self.sent_at = self.loop.time()
        if self.protocol.state is State.OPEN:  # as `websockets.broadcast` does it, for one connection
            self.protocol.send_text(frame)
            self.send_data()

    async def shut(self, code: int, reason: str = "", *, within: float) -> None:
        """Close it, and where the other side takes no part in that, be gone all the same."""
        try:
            async with asyncio.timeout(within):
                await self.close(code, reason)
        except TimeoutError:
            self.transport.abort()

    @property
    def writable(self) -> bool:
        """Whether the transport takes more."""
        return self.paused_at is None
