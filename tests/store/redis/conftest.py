from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from askbot_ws.store.redis.connections import RedisConnections
from tests.redis_server import RedisServer


@pytest.fixture
async def connections(redis: RedisServer) -> AsyncGenerator[RedisConnections, None]:
    connections = await RedisConnections.open(redis.url)
    yield connections
    await connections.close()
