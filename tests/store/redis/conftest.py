from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from askbot_ws.store.redis.connections import RedisConnections
from tests.redis_server import RedisServer, redis_server


@pytest.fixture
async def connections(redis: RedisServer) -> AsyncGenerator[RedisConnections, None]:
    connections = await RedisConnections.open(redis.url)
    yield connections
    await connections.close()


@pytest.fixture
def redis_alone() -> Generator[RedisServer]:
    """A server of one test, which may kill it."""
    with redis_server() as server:
        yield server
