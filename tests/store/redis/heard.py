"""What subscriptions told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.subscriptions import Subscriptions


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[RedisConnections]:
    """Connections."""
    connections = await RedisConnections.open(url)
    try:
        yield connections
    finally:
        await connections.close()


class Heard:
    """The messages and the gaps, in order."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.gaps: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def following(self, connections: RedisConnections) -> AsyncGenerator[Subscriptions]:
        """Subscriptions that tell it."""
        subscriptions = Subscriptions(
            connections,
            on_message=lambda channel, message: self.messages.put_nowait((channel, message)),
            on_gap=self.gaps.put_nowait,
        )
        try:
            yield subscriptions
        finally:
            await subscriptions.close()
