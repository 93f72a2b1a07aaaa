"""A Cluster of six nodes, with slots on the move (docs/decisions/0013)."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from askbot_ws.errors import ConfigError, StoreError
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.scripts import Script, ScriptCall
from tests.redis_groups import RedisCluster, redis_cluster, until

from .heard import Heard, opened
from .scripts import PUBLISH, add, channel_of, publish

SESSIONS = [f"session-{number}" for number in range(30)]  # on all three primaries
PAIR = Script.of("pair", "return redis.call('INCR', KEYS[1]) + redis.call('INCR', KEYS[2])")


@pytest.fixture(scope="module")
def cluster() -> Generator[RedisCluster]:
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def empty(cluster: RedisCluster) -> None:
    cluster.flush()


async def test_calls_go_to_the_node_that_has_their_slot(cluster: RedisCluster) -> None:
    """One `run_all` is for any of them, and the client finds its way too."""
    async with opened(cluster.url) as connections:
        assert await connections.run_all([add(session) for session in SESSIONS]) == [1] * len(SESSIONS)
        assert await connections.run_all([add(session) for session in SESSIONS]) == [2] * len(SESSIONS)
        assert await connections.client.get("askbot:{session-1}:n") == b"2"


async def test_a_script_publishes_in_the_channel_of_its_keys_tag(cluster: RedisCluster) -> None:
    """What decision 0013 rests on: a channel has a slot as a key has, and one tag makes it the same."""
    heard = Heard()
    async with opened(cluster.url) as connections, heard.following(connections) as subscriptions:
        await asyncio.gather(*(subscriptions.subscribe(channel_of(session)) for session in SESSIONS))

        assert await connections.run_all([publish(session, session) for session in SESSIONS]) == [1] * len(SESSIONS)
        async with asyncio.timeout(5):
            messages = [await heard.messages.get() for _ in SESSIONS]
        assert sorted(messages) == sorted((channel_of(session), session.encode()) for session in SESSIONS)

        with pytest.raises(StoreError):
            await connections.run(ScriptCall(PUBLISH, add("session-1").keys, (channel_of("session-2"), "x")))


async def test_a_slot_moves_while_a_session_is_written_and_followed(cluster: RedisCluster) -> None:
    """Each call is done once. What is published between the key's and the slot's move is a gap, not lost for good."""
    heard = Heard()
    key = add("a").keys[0]
    async with opened(cluster.url) as connections, heard.following(connections) as subscriptions:
        await subscriptions.subscribe(channel_of("a"))
        source, target = cluster.begin_move(key)
        assert await connections.run(add("a")) == 1, "the key is made where the slot is going"
        assert await connections.run(publish("a", "unheard")) == 0
        assert heard.gaps.empty()

        cluster.end_move(key, source, target)

        async with asyncio.timeout(5):
            assert await heard.gaps.get() == channel_of("a")
            assert await connections.run(publish("a", "heard")) == 1
            assert await heard.messages.get() == (channel_of("a"), b"heard")
    assert target.command("GET", key) == b"3"


async def test_keys_that_are_on_two_nodes_are_waited_for(cluster: RedisCluster) -> None:
    """Neither node runs a script with both (TRYAGAIN), until the second key has followed the first."""
    call = ScriptCall(PAIR, ("askbot:{b}:one", "askbot:{b}:two"))
    async with opened(cluster.url) as connections:
        assert await connections.run(call) == 2
        source, target = cluster.begin_move(call.keys[0])
        cluster.move_key(call.keys[0], source, target)

        with pytest.raises(StoreError) as refused:
            await connections.run(call)
        assert "TRYAGAIN (script pair)" in str(refused.value.__cause__)
        running = asyncio.create_task(connections.run(call))
        await asyncio.sleep(0.05)
        cluster.move_key(call.keys[1], source, target)

        assert await running == 4
        cluster.end_move(call.keys[0], source, target)
        assert await connections.run(call) == 6


async def test_a_replica_takes_over_a_dead_primary(cluster: RedisCluster) -> None:
    """Sessions of other nodes go on meanwhile; followers have a gap."""
    heard = Heard()
    async with opened(cluster.url) as connections, heard.following(connections) as subscriptions:
        dead = cluster.primary_of(add("c").keys[0])
        elsewhere = next(name for name in SESSIONS if cluster.primary_of(channel_of(name)) is not dead)
        await subscriptions.subscribe(channel_of("c"))
        assert await connections.run(add("c"), replicas=1) == 1

        dead.kill()
        tries = 0
        async with asyncio.timeout(20):
            outcome = None
            while outcome != 2:
                tries += 1
                await asyncio.sleep(0.02)
                outcome, other = await connections.run_all([add("c"), add(elsewhere)])
                assert other == tries
            assert await heard.gaps.get() == channel_of("c")
            assert await connections.run(publish("c", "x")) == 1
            assert await connections.client.get("askbot:{c}:n") == b"3"
    dead.start()
    until(lambda: b"role:slave" in bytes(str(dead.command("INFO", "replication")), "ascii"))


async def test_a_cluster_is_checked_as_a_whole(cluster: RedisCluster) -> None:
    """All faults of all nodes are in one message; a replica's too, which is a primary after the next failover."""
    for node in cluster.nodes[4:]:
        node.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    with pytest.raises(ConfigError) as refused:
        await RedisConnections.open(cluster.url.replace(",127", ",nowhere.invalid:1,127") + "/3")

    message = str(refused.value)
    assert message.count("(maxmemory-policy allkeys-lru); set its maxmemory-policy to noeviction.") == 2
    assert "A Cluster has no database but 0" in message
