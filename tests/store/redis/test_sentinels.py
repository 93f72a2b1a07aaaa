"""A primary and a replica that a Sentinel watches."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from askbot_ws.errors import ConfigError, StoreError
from askbot_ws.store.redis import pipeline_run
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.failures import NotReplicated
from askbot_ws.store.redis.pipeline_run import Outcome
from askbot_ws.store.redis.scripts import Script, ScriptCall
from tests.redis_groups import Sentinels, sentinels, until
from tests.redis_server import RedisServer

from .heard import Heard, opened
from .scripts import FAIL, add, channel_of, publish

FOUND_DONE = Script.of(
    "found_done",
    "redis.call('PEXPIRE', KEYS[1], 86400000) redis.call('PERSIST', KEYS[1]) "  # `touch` in session.lua
    "return tonumber(redis.call('GET', KEYS[1]))",
)


def _is_primary(server: RedisServer) -> bool:
    try:
        reply = server.command("INFO", "replication")
    except ConnectionError:  # a Sentinel closes all connections of a server to which it gives another role
        return False
    assert isinstance(reply, bytes)
    return b"role:master" in reply


@pytest.fixture(scope="module")
def group() -> Generator[Sentinels]:
    with sentinels() as group:
        yield group


async def test_a_group_needs_its_name_where_there_are_several(group: Sentinels) -> None:
    """The message names those that there are; of one, the name is not needed."""
    async with opened(group.url.partition("?")[0]):
        pass

    with pytest.raises(ConfigError, match=r"is a Sentinel that watches askbot; set \?service=NAME"):
        await RedisConnections.open(group.url.replace("=askbot", "=other"))


async def test_a_password_and_a_user_are_for_the_servers_where_sentinels_ask_for_none(group: Sentinels) -> None:
    """They refuse a user that they don't have."""
    for server in (group.primary, group.replica):
        server.command("ACL", "SETUSER", "askbot", "on", ">secret", "~askbot:*", "&askbot:*", "+@all")

    async with opened(group.url.replace("redis://", "redis://askbot:secret@")) as connections:
        assert await connections.run(add("login")) == 1
        assert await connections.client.get("askbot:{login}:n") == b"1"


async def test_a_call_waits_for_replicas(group: Sentinels, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that too few have confirmed is made again; another connection finds it done, and not confirmed."""
    found_done = ScriptCall(FOUND_DONE, add("wait").keys)
    async with opened(group.url) as connections, opened(group.url) as others:
        assert await connections.run(add("wait"), replicas=1) == 1

        monkeypatch.setattr(pipeline_run, "WAIT_MILLISECONDS", 50)
        group.replica.pause()
        outcome, failed = await connections.run_all(
            [add("wait"), ScriptCall(FAIL, add("wait").keys, ("x",))], replicas=1
        )
        (once_more,) = await others.run_all([found_done], replicas=1)
        group.replica.resume()
        monkeypatch.undo()

        assert isinstance(outcome, NotReplicated)
        assert isinstance(failed, StoreError)
        assert not isinstance(failed, NotReplicated)
        assert isinstance(once_more, NotReplicated)
        assert await others.run(found_done, replicas=1) == 2


async def test_the_replica_takes_over_once_the_primary_is_gone(group: Sentinels) -> None:
    """Calls, subscriptions and the client find it, though the old primary is back and does not know that it was one.

    It would take calls and subscriptions for seconds. Each channel has a gap.
    """
    heard = Heard()
    async with opened(group.url) as connections, heard.following(connections) as subscriptions:
        await subscriptions.subscribe(channel_of("a"))
        assert await connections.run(add("a")) == 1
        await asyncio.to_thread(until, lambda: group.replica.command("GET", "askbot:{a}:n") == b"1")

        group.primary.kill()
        async with asyncio.timeout(20):
            await asyncio.to_thread(until, lambda: _is_primary(group.replica))
            group.primary.start()
            outcome: Outcome = StoreError()
            while isinstance(outcome, StoreError):
                await asyncio.sleep(0.02)
                (outcome,) = await connections.run_all([add("a")])
            assert outcome == 2
            assert await heard.gaps.get() == channel_of("a")
            outcome = StoreError()
            while isinstance(outcome, StoreError):  # the old primary may be taken for the new one once more
                await asyncio.sleep(0.02)  # it may fail at once: what would mend it has to run too
                (outcome,) = await connections.run_all([publish("a", "x")])
            assert outcome == 1
            assert await heard.messages.get() == (channel_of("a"), b"x")
            assert await connections.client.get("askbot:{a}:n") == b"3"
