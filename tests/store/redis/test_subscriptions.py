"""Sharded subscriptions, on one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.subscriptions import Subscriptions
from tests.redis_server import RedisServer

from .heard import Heard
from .scripts import channel_of, publish


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def subscriptions(connections: RedisConnections, heard: Heard) -> AsyncGenerator[Subscriptions, None]:
    async with heard.following(connections) as subscriptions:
        yield subscriptions


async def test_what_is_published_after_subscribing_is_heard(
    connections: RedisConnections, subscriptions: Subscriptions, heard: Heard
) -> None:
    """The first message too, and only those of the channels that are followed."""
    await subscriptions.subscribe(channel_of("a"))

    assert await connections.run_all([publish("a", "one"), publish("b", "two"), publish("a", "three")]) == [1, 0, 1]

    async with asyncio.timeout(5):
        assert [await heard.messages.get(), await heard.messages.get()] == [
            (channel_of("a"), b"one"),
            (channel_of("a"), b"three"),
        ]


async def test_a_channel_that_is_followed_no_more_is_not_heard(
    connections: RedisConnections, subscriptions: Subscriptions
) -> None:
    """The server has no subscriber of it then."""
    await subscriptions.subscribe(channel_of("a"))
    await subscriptions.subscribe(channel_of("b"))

    await subscriptions.unsubscribe(channel_of("a"))
    await subscriptions.subscribe(channel_of("c"))  # confirmed after the one before

    assert await connections.run_all([publish("a", "x"), publish("b", "y")]) == [0, 1]


async def test_a_connection_that_was_lost_is_a_gap_of_each_channel(
    connections: RedisConnections, subscriptions: Subscriptions, heard: Heard, redis: RedisServer
) -> None:
    """Each is subscribed again first: what comes after the gap is heard."""
    channels = [channel_of(name) for name in "abc"]
    await asyncio.gather(*map(subscriptions.subscribe, channels))

    redis.command("CLIENT", "KILL", "TYPE", "pubsub")

    async with asyncio.timeout(5):
        assert sorted([await heard.gaps.get() for _ in channels]) == channels
        assert await connections.run(publish("b", "again")) == 1
        assert await heard.messages.get() == (channel_of("b"), b"again")
