"""Calls of scripts, on one server."""

from __future__ import annotations

from askbot_ws.errors import StoreError
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.failures import OutcomeUnknown
from askbot_ws.store.redis.scripts import ScriptCall
from tests.redis_server import RedisServer

from .scripts import FAIL, add


async def test_each_call_has_its_own_outcome(connections: RedisConnections) -> None:
    """One that fails costs the others nothing."""
    await connections.client.set("askbot:{b}:n", "text")

    one, two, three = await connections.run_all([add("a"), add("b"), add("c", 5)])

    assert (one, three) == (1, 5)
    assert isinstance(two, StoreError)
    assert not isinstance(two, OutcomeUnknown)


async def test_an_error_has_nothing_of_what_was_sent(connections: RedisConnections) -> None:
    """Neither keys nor arguments, nor what the server says: the script's line is enough."""
    await connections.client.set("askbot:{secret-session}:n", "secret-text")

    (error,) = await connections.run_all([ScriptCall(FAIL, ("askbot:{secret-session}:n",), ("secret-argument",))])

    assert isinstance(error, StoreError)
    assert str(error.__cause__) == "Redis: WRONGTYPE (script fail, line 2): it refuses the command"
    assert error.__cause__ is not None
    assert error.__cause__.__context__ is None


async def test_a_script_that_the_server_has_forgotten_is_loaded(
    connections: RedisConnections, redis: RedisServer
) -> None:
    """Servers forget scripts when they start again."""
    await connections.run(add("a"))
    redis.command("SCRIPT", "FLUSH")

    assert await connections.run_all([add("a"), add("b")]) == [2, 1]
