"""RedisConnections: all connections of this process to Redis or Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from hiredis import ReplyError

from ...errors import ConfigError, StoreError
from .client import RareClient
from .failures import ServerRefusedError
from .pipeline_run import Outcome, PipelineRun
from .redis_url import RedisUrl, parse_redis_url
from .scripts import Script, ScriptCall
from .server_connection import RawReply, Reply
from .servers import Servers
from .startup import find_topology
from .topology import Topology

_CHECK = Script.of("check", "redis.call('DEL', KEYS[1]) redis.call('SPUBLISH', ARGV[1], '') return 1")


class RedisConnections:
    """All connections to a Redis or Valkey server, to a group that Sentinels watch, or to a Cluster.

    Scripts run on connections of their own, which cost a fifth of what the client's cost. Nothing waits for a server
    that has stopped: after `CONNECT_SECONDS` or `REPLY_SECONDS` without a byte of it, a call has failed.

    Attributes:
        url: Where the servers are.
        topology: Which server has a key.
        client: For everything that is rare. `failures.translated` turns what it raises into `StoreError`.
    """

    def __init__(self, url: RedisUrl, servers: Servers, topology: Topology) -> None:
        self.url = url
        self.topology = topology
        self._servers = servers
        servers.is_current = topology.is_current
        self._rare = RareClient(url, topology)
        self.client = self._rare.client

    @classmethod
    async def open(cls, url: str) -> RedisConnections:
        """Connect to the servers that a URL names, and check that they can be used.

        Raises:
            ConfigError: They can't be; the message lists all reasons, and never has the password.
        """
        parsed = parse_redis_url(url)
        servers = Servers(parsed)
        try:
            topology = await find_topology(parsed, servers)
        except BaseException:
            await servers.close()
            raise
        connections = cls(parsed, servers, topology)
        try:
            await connections.run(ScriptCall(_CHECK, ("askbot:{check}",), ("askbot:{check}",)))
        except StoreError as error:
            if isinstance(error.__cause__, ServerRefusedError) and error.__cause__.kind == "NOPERM":
                await connections.close()
                raise ConfigError(f"ASKBOT_STORE: {error.__cause__}.") from None
        return connections  # what else is wrong may pass, and is reported where somebody needs it

    async def run(self, call: ScriptCall, *, replicas: int = 0) -> Reply:
        """Run a script. As `run_all`, but what it would return as an error is raised."""
        (outcome,) = await self.run_all((call,), replicas=replicas)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def run_all(self, calls: Sequence[ScriptCall], *, replicas: int = 0) -> list[Outcome]:
        """Run scripts, in one pipeline for each server.

        What servers refuse for a while (a script that is not loaded, a slot on the move, a primary that changes) is
        sent again for up to `RETRY_SECONDS`.

        Args:
            calls: The calls, or none. Those for one server are run in this order, unless some of them are sent again.
            replicas: How many replicas have to confirm them (`WAIT`), for up to `WAIT_MILLISECONDS`.

        Returns:
            An outcome for each: the reply, or what prevented it. `OutcomeUnknown` where the connection was lost after
            sending, `NotReplicated` where too few replicas have confirmed: such a call is to be made again unchanged.
            Any other `StoreError`: nothing was done.
        """
        if not calls:
            return []
        sent = None if replicas else self.send_all(calls)
        if sent is not None:
            return await self.complete(calls, await sent)
        return await PipelineRun(calls, self._servers, self.topology, replicas=replicas).run()

    def send_all(self, calls: Sequence[ScriptCall]) -> asyncio.Future[list[RawReply]] | None:
        """Send scripts to the only server, in one pipeline.

        Returns:
            A future of its replies, which `complete` makes outcomes of; None where there are several servers, or there
            is no connection: nothing was sent.
        """
        address = self.topology.only_address
        connection = None if address is None else self._servers.get(address)
        if connection is None or connection.is_lost:
            return None
        return connection.send(b"".join([call.pack() for call in calls]), len(calls))

    async def complete(self, calls: Sequence[ScriptCall], replies: Sequence[RawReply]) -> list[Outcome]:
        """Return the outcomes of calls that `send_all` has sent, as `run_all`."""
        address = self.topology.only_address
        if len(replies) == len(calls) and ReplyError not in map(type, replies):
            return cast("list[Outcome]", replies)
        first = None if address is None else (address, replies)
        return await PipelineRun(calls, self._servers, self.topology, replicas=0).run(first)

    async def close(self) -> None:
        """Close all connections."""
        await self.topology.close()
        await self._servers.close()
        await self._rare.close()
