"""Keys: the names of what nodes keep in Redis, and commands on them."""

from __future__ import annotations

from typing import Final

from ..store.redis.connections import RedisConnections
from ..store.redis.scripts import ScriptCall, load_script
from ..store.redis.server_connection import Argument, Reply

NODES: Final = "askbot:nodes"  # a set: the ids of all nodes that may own sessions
HANDOVERS: Final = "askbot:todo"  # a list: sessions with waiting turns that a node has handed over


def channel_of(node: str) -> str:
    """Return the channel on which a node hears from others."""
    return f"askbot:node:{{{node}}}"


def lease_of(node: str) -> str:
    """Return the key that is there while a node lives, with what others may know of it."""
    return f"askbot:node:{{{node}}}:lease"


def sessions_of(node: str) -> str:
    """Return the key of the set of all sessions that a node may own."""
    return f"askbot:node:{{{node}}}:sessions"


def reaper_of(node: str) -> str:
    """Return the key that names the node which takes over from this one."""
    return f"askbot:node:{{{node}}}:reaper"


async def run_command(connections: RedisConnections, key: str, name: str, *args: Argument, replicas: int = 0) -> Reply:
    """Run a command on one key, in the pipeline of the store's own; so many `replicas` must have it then.

    Raises `StoreError`.
    """
    return await connections.run(ScriptCall(load_script("command"), (key,), (name, *args)), replicas=replicas)


async def members(connections: RedisConnections, key: str) -> set[str]:
    """Return what is in a set. Raises `StoreError`."""
    found = await run_command(connections, key, "SMEMBERS")
    return texts(found)


def texts(reply: Reply) -> set[str]:
    """Return the texts of a reply that is a list."""
    return {each.decode() for each in reply if isinstance(each, bytes)} if isinstance(reply, list) else set()
