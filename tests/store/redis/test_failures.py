"""The table of kinds of errors: what is sent again, and what is reported at once. And servers that are not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from askbot_ws.errors import StoreError
from askbot_ws.store.redis import pipeline_run, server_connection, subscription_connection
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.failures import EXPLANATIONS, REMEDIES, OutcomeUnknown, Remedy, translated
from askbot_ws.store.redis.scripts import Script, ScriptCall
from tests.redis_server import RedisServer, redis_server

from .heard import Heard, opened
from .refusing_server import refusing_server
from .scripts import add, channel_of

REFUSALS = {
    "NOSCRIPT": "-NOSCRIPT No matching script. Please use EVAL.",
    "MOVED": "-MOVED 3 :{port}",
    "ASK": "-ASK 3 127.0.0.1:{port}",
    "TRYAGAIN": "-TRYAGAIN Multiple keys request during rehashing of slot",
    "LOADING": "-LOADING Redis is loading the dataset in memory",
    "BUSY": "-BUSY Redis is busy running a script.",
    "CLUSTERDOWN": "-CLUSTERDOWN Hash slot not served",
    "READONLY": "-READONLY You can't write against a read only replica. script: 1, on @user_script:2.",
    "MASTERDOWN": "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NONLOCAL": "-ERR Script attempted to access a non local key in a cluster node script: 1, on @user_script:2.",
    "OOM": "-OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:2.",
    "MISCONF": "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOREPLICAS": "-NOREPLICAS Not enough good replicas to write.",
    "NOAUTH": "-NOAUTH Authentication required.",
    "WRONGPASS": "-WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM": "-NOPERM this user has no permissions to access one of the keys used as arguments",
    "CROSSSLOT": "-CROSSSLOT Keys in request don't hash to the same slot",
    "DENIED": "-DENIED Redis is running in protected mode because protected mode is enabled",
    "UNKNOWN": "-ERR unknown command 'HELLO', with args beginning with: '2'",
    "MAXCLIENTS": "-ERR max number of clients reached",
    "ERR": "-ERR secret text, which nobody may see",
}


def test_every_kind_is_in_the_table() -> None:
    """With a remedy, or an explanation for the operator; and most with both."""
    assert set(REFUSALS) == set(REMEDIES) | set(EXPLANATIONS) | {"ERR"}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_what_is_refused_for_a_while_is_sent_again(kind: str) -> None:
    """Twice here, beside a call that was done; what is refused for good is sent once, and reported."""
    remedy = REMEDIES.get(kind, Remedy.GIVE_UP)
    async with refusing_server() as server, opened(server.url) as connections:
        refusal = REFUSALS[kind].format(port=server.port)
        server.commands.clear()
        server.answers = [refusal, ":1", refusal]

        one, two = await connections.run_all([add("a"), add("b")])

    assert two == 1
    sent = server.commands.count("EVALSHA")
    if remedy is Remedy.GIVE_UP:
        assert sent == 2
        assert isinstance(one, StoreError)
        assert not isinstance(one, OutcomeUnknown)
        assert str(one.__cause__).startswith(f"Redis: {kind} (script add")
        assert "secret" not in f"{one!r}{one.__cause__!r}"
    else:
        assert (one, sent) == (1, 4)
        assert server.commands.count("ASKING") == (2 if remedy is Remedy.ASK else 0)
        assert server.commands.count("SCRIPT") == 2, "another server may not have it"
        assert ("HELLO" in server.commands) is (kind == "READONLY"), "behind the name may be another server by now"


@pytest.mark.parametrize("kind", [kind for kind, remedy in REMEDIES.items() if remedy is not Remedy.GIVE_UP])
async def test_what_stays_refused_is_reported_after_a_while(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `RETRY_SECONDS`, whatever it is; with pauses, so that nobody is flooded."""
    monkeypatch.setattr(pipeline_run, "RETRY_SECONDS", 0.1)
    async with refusing_server() as server, opened(server.url) as connections:
        server.commands.clear()
        server.answers = [REFUSALS[kind].format(port=server.port)] * 1000
        started = time.monotonic()

        with pytest.raises(StoreError) as refused:
            await connections.run(add("a"))

    assert str(refused.value.__cause__).startswith(f"Redis: {kind} (script add")
    assert 0.1 <= time.monotonic() - started < 2
    assert server.commands.count("EVALSHA") < 12


# --- real servers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Generator[RedisServer]:
    with redis_server() as server:
        yield server


async def back(connections: RedisConnections) -> None:
    """Call until it works."""
    while True:
        try:
            await connections.run(add("back"))
        except StoreError:
            await asyncio.sleep(0.02)
        else:
            return


SLOW = Script.of(
    "slow",
    "for _ = 1, 3e7 do end return redis.call('INCR', KEYS[1])",  # the time stands still in a script of Valkey
)


async def test_a_connection_that_is_lost_after_sending_leaves_the_outcome_unknown(server: RedisServer) -> None:
    """Replies that came before count. The next call is for a new connection."""
    async with opened(server.url) as connections:
        assert await connections.run(ScriptCall(SLOW, add("c").keys)) == 1  # it is loaded
        calls = [add("a"), ScriptCall(SLOW, add("c").keys), add("b")]
        running = asyncio.create_task(connections.run_all(calls))
        await asyncio.sleep(0.03)
        server.kill()
        outcomes = await running
        unreachable = (await connections.run_all([add("a")]))[0]
        server.start()

        assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes[1:])
        assert isinstance(unreachable, StoreError)
        assert not isinstance(unreachable, OutcomeUnknown)
        async with asyncio.timeout(5):
            await back(connections)


def test_a_connection_that_is_closed_before_it_is_written_to_is_a_failure_of_the_store(redis: RedisServer) -> None:
    """With uvloop that is a RuntimeError, which redis-py passes on."""

    async def write_to_a_closed_one() -> None:
        async with opened(redis.url) as connections:
            assert isinstance(connections.client, Redis)
            pool: Any = connections.client.connection_pool
            connection = await pool.get_connection()
            connection._writer.transport.abort()
            with pytest.raises(StoreError), translated():
                await connection.send_command("PING")

    uvloop.run(write_to_a_closed_one())


async def test_a_server_that_has_stopped_hangs_nobody(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls, subscriptions and the client fail within `REPLY_SECONDS`; the next call at once, until it is back."""
    monkeypatch.setattr(server_connection, "REPLY_SECONDS", 0.6)
    heard = Heard()
    async with opened(server.url) as connections, heard.following(connections) as subscriptions:
        assert isinstance(connections.client, Redis)
        connections.client.connection_pool.connection_kwargs["socket_timeout"] = 0.6
        await subscriptions.subscribe(channel_of("a"))
        server.pause()
        started = time.monotonic()

        (unknown,) = await connections.run_all([add("a")])
        with pytest.raises(StoreError):
            await subscriptions.subscribe(channel_of("b"))
        with pytest.raises(StoreError), translated():
            await connections.client.get("x")
        assert isinstance(unknown, OutcomeUnknown)
        assert time.monotonic() - started < 3
        with pytest.raises(StoreError):
            await connections.run(add("a"))  # it has tried to connect
        started = time.monotonic()
        with pytest.raises(StoreError, match="cannot be stored"):
            await connections.run(add("a"))
        assert time.monotonic() - started < 0.5

        server.resume()
        async with asyncio.timeout(10):
            assert await heard.gaps.get() == channel_of("a")
            await back(connections)


async def test_a_silent_server_is_asked_whether_it_is_there(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a subscription whose connection is dead would be followed for ever."""
    monkeypatch.setattr(server_connection, "REPLY_SECONDS", 0.2)
    monkeypatch.setattr(subscription_connection, "PING_SECONDS", 0.1)
    heard = Heard()
    async with opened(server.url) as connections, heard.following(connections) as subscriptions:
        await subscriptions.subscribe(channel_of("a"))
        server.pause()
        await asyncio.sleep(0.6)
        server.resume()

        async with asyncio.timeout(10):
            assert await heard.gaps.get() == channel_of("a")
