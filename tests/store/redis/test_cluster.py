"""A Cluster of six nodes, with slots on the move (docs/decisions/0013)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from itertools import islice

import pytest

from askbot_ws.errors import ConfigError, LogMoved, SessionNotFound, StoreError
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.keys import keys_of
from askbot_ws.store.redis.scripts import Script, ScriptCall, publication
from askbot_ws.store.redis.store import RedisStore
from tests.redis_groups import RedisCluster, redis_cluster, slot_of, until

from ..event_factory import EventFactory, append, flatten, read_merged, try_append
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

        flagged = Script.of("flagged", "#!lua\n" + PUBLISH.source.decode())
        assert await connections.run(ScriptCall(flagged, add("session-1").keys, (channel_of("session-1"), "x"))) == 1
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


async def test_a_key_that_never_existed_lets_a_call_wait_too(cluster: RedisCluster) -> None:
    """While the slot moves: so scripts declare keys that exist. One key alone is never waited for."""
    async with opened(cluster.url) as connections:
        assert await connections.run(add("d")) == 1
        source, target = cluster.begin_move(add("d").keys[0])

        optional = ScriptCall(PAIR, (*add("d").keys, "askbot:{d}:none"))
        with pytest.raises(StoreError) as refused:
            await connections.run(optional)
        assert "TRYAGAIN" in str(refused.value.__cause__)
        assert await connections.run(add("d")) == 2

        cluster.move_key(add("d").keys[0], source, target)
        cluster.end_move(add("d").keys[0], source, target)


async def test_a_slot_goes_to_and_fro_while_its_session_is_written(cluster: RedisCluster) -> None:
    """No call is done twice or lost, and who follows it has heard or been told of a gap each time."""
    heard = Heard()
    key = add("e").keys[0]
    stop = asyncio.Event()

    async def write() -> int:
        done = 0
        while not stop.is_set():
            await connections.run(publish("e", "x"))
            done += 1
        return done

    async with opened(cluster.url) as connections, heard.following(connections) as subscriptions:
        await subscriptions.subscribe(channel_of("e"))
        writing = asyncio.create_task(write())
        for _ in range(3):
            source, target = await asyncio.to_thread(cluster.begin_move, key)
            for step in (cluster.move_key, cluster.end_move):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(step, key, source, target)
            async with asyncio.timeout(5):
                assert await heard.gaps.get() == channel_of("e")
        stop.set()

        assert await connections.client.get(key) == b"%d" % await writing


async def test_sessions_of_a_slot_go_on_while_it_moves(cluster: RedisCluster) -> None:
    """Asked, answered, read, made and deleted, however long the move takes: where their keys are, or have gone."""
    first, *others = _names_of_one_slot(4)
    async with _store(cluster) as store:
        factories = {name: EventFactory(name) for name in (first, *others)}
        factory, key = factories[first], keys_of(first).meta
        for name in (first, *others[:2]):
            store.create(name)
            await append(store, factories[name].question("t1", id="a1"))
        source, target = await asyncio.to_thread(cluster.begin_move, key)
        for number, deleted in enumerate(others[:2], 2):
            await append(store, factory.token(f"t{number - 1}", "text"), factory.done(f"t{number - 1}"))
            await append(store, factory.question(f"t{number}", id=f"a{number}"))
            await append(store, factory.token(f"t{number}", "more"))
            assert await store.find_turn(first, f"a{number}") == f"t{number}"
            assert [turn.turn for turn in await store.turns(first, limit=1)] == [f"t{number}"]
            await store.forget(deleted)
            for moved in (first, *others[:2]):
                for each in keys_of(moved):
                    await asyncio.to_thread(cluster.move_key, each, source, target)
        store.create(others[2])
        await append(store, *factories[others[2]].turn("t1", "made meanwhile"))
        async with _store(cluster) as other:
            assert (await other.load(first)).head == factory.head
        await asyncio.to_thread(cluster.end_move, key, source, target)

        for name in (first, others[2]):
            assert flatten(await read_merged(store, name)) == flatten(factories[name].events)
        with pytest.raises(SessionNotFound):
            await store.find_turn(others[0], "a1")
        assert isinstance((await try_append(store, factories[others[0]].token("t1", "late")))[others[0]], LogMoved)


async def test_a_message_is_heard_while_the_slot_of_its_channel_moves(cluster: RedisCluster) -> None:
    """No key says where it goes: those who follow the channel are at the source until the move ends."""
    heard = Heard()
    async with opened(cluster.url) as connections, heard.following(connections) as subscriptions:
        await subscriptions.subscribe(channel_of("h"))
        source, target = await asyncio.to_thread(cluster.begin_move, add("h").keys[0])
        assert await connections.run(publication(channel_of("h"), b"moving")) == 1
        await asyncio.to_thread(cluster.end_move, add("h").keys[0], source, target)

        async with asyncio.timeout(5):
            assert await heard.gaps.get() == channel_of("h")
            assert await connections.run(publication(channel_of("h"), b"moved")) == 1
            assert [await heard.messages.get() for _ in range(2)] == [
                (channel_of("h"), b"moving"),
                (channel_of("h"), b"moved"),
            ]


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


def _names_of_one_slot(count: int) -> list[str]:
    """Names of sessions whose keys are in the same slot."""
    slot = slot_of(keys_of("f").meta)
    names = (f"f{number}" for number in itertools.count())
    return [*islice((name for name in names if slot_of(keys_of(name).meta) == slot), count)]


@asynccontextmanager
async def _store(cluster: RedisCluster) -> AsyncGenerator[RedisStore]:
    store = RedisStore(cluster.url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
