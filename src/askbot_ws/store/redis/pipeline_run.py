"""PipelineRun: calls of scripts, sent to their servers and sent again where a server refuses them for a while."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import hiredis

from ...errors import StoreError
from .failures import Remedy, ServerRefusedError, not_replicated, refused, unknown, unreachable
from .redis_url import Address, text_of
from .scripts import ScriptCall
from .server_connection import NotConnectedError, RawReply, Reply, pack_command
from .servers import Servers
from .topology import Topology

RETRY_SECONDS = 0.5  # for which calls are sent again that a server refuses for a while
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1  # seconds between two rounds
WAIT_MILLISECONDS = 1000  # for replicas to confirm

Outcome: TypeAlias = "Reply | StoreError"


class PipelineRun:
    """One `run_all`. In each round, a server gets one pipeline; what it refuses for a while is in the next round."""

    def __init__(self, calls: Sequence[ScriptCall], servers: Servers, topology: Topology, *, replicas: int) -> None:
        self._calls = calls
        self._servers = servers
        self._topology = topology
        self._replicas = replicas
        self._outcomes: dict[int, Outcome] = {}
        self._refusals: dict[int, ServerRefusedError] = {}

    async def run(self, first: tuple[Address, Sequence[RawReply]] | None = None) -> list[Outcome]:
        """Return the outcome of each call.

        Args:
            first: The replies to a first pipeline of all calls, and whose they are; None: nothing was sent yet.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RETRY_SECONDS
        pause = 0.0
        open_calls: Sequence[int] = range(len(self._calls))
        rounds = 0
        while open_calls:
            rounds += 1
            if first is None:
                await self._round(open_calls)
            else:
                address, replies = first
                self._receive(address, open_calls, replies)
                first = None
            open_calls = list(self._refusals)
            if (
                loop.time() >= deadline and rounds > 1
            ):  # waiting for replicas may have taken all of it: scripts are loaded
                break
            remedies = {refusal.remedy for refusal in self._refusals.values()}
            if Remedy.FIND in remedies:
                self._topology.refresh()
            if open_calls and (pause or remedies & {Remedy.WAIT, Remedy.FIND}):
                await asyncio.sleep(pause or FIRST_PAUSE)
            pause = min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        for index, refusal in self._refusals.items():
            self._outcomes[index] = refused(refusal)
        return [self._outcomes[index] for index in range(len(self._calls))]

    async def _round(self, indexes: Sequence[int]) -> None:
        pipelines = defaultdict[Address, list[int]](list)
        for index in indexes:
            pipelines[self._address_of(index)].append(index)
        if len(pipelines) == 1:
            await self._send(*pipelines.popitem())  # without a task, which would cost as much as the rest
        else:
            await asyncio.gather(*(self._send(address, calls) for address, calls in pipelines.items()))

    def _address_of(self, index: int) -> Address:
        refusal = self._refusals.get(index)
        if refusal is not None and refusal.target is not None:
            slot, address = refusal.target
            if refusal.remedy is Remedy.MOVE:
                self._topology.moved(slot, address)
            return address
        return self._topology.address_of(self._calls[index].place)

    async def _send(self, address: Address, indexes: Sequence[int]) -> None:
        commands, owners = self._pack(indexes)
        try:
            connection = self._servers.get(address) or await self._servers.connect(address)
            replies = await connection.send(b"".join(commands), len(commands))
        except NotConnectedError as error:
            for index in indexes:
                self._settle(index, unreachable(str(error)))
            self._topology.refresh()
            return
        self._receive(address, owners, replies)
        if self._replicas and len(replies) == len(commands):
            self._check_replicas(indexes, replies[-1])

    def _receive(self, address: Address, owners: Sequence[int | None], replies: Sequence[RawReply]) -> None:
        """Take the replies to a pipeline, of which the last ones are missing where the connection was lost."""
        for owner, reply in zip(owners, replies, strict=False):
            if owner is not None:
                self._take(owner, reply, address)
        if is_lost := len(replies) < len(owners):
            self._topology.refresh()
        for owner in owners[0 if self._replicas else len(replies) :] if is_lost else ():
            if owner is not None and not isinstance(self._outcomes.get(owner), StoreError):
                self._settle(owner, unknown(f"the connection to {text_of(address)} was lost"))

    def _pack(self, indexes: Sequence[int]) -> tuple[list[bytes], list[int | None]]:
        """The commands for some calls, and to which call the reply of each belongs."""
        commands: list[bytes] = []
        owners: list[int | None] = []
        loaded = set[bytes]()
        for index in indexes:
            call, refusal = self._calls[index], self._refusals.get(index)
            if refusal is not None and call.script.sha not in loaded:  # another server may not have it
                loaded.add(call.script.sha)
                commands.append(pack_command((b"SCRIPT", b"LOAD", call.script.source)))
                owners.append(None)
            if refusal is not None and refusal.remedy is Remedy.ASK:
                commands.append(pack_command((b"ASKING",)))
                owners.append(None)
            commands.append(call.pack())
            owners.append(index)
        if self._replicas:
            commands.append(pack_command((b"WAIT", self._replicas, WAIT_MILLISECONDS)))
            owners.append(None)
        return commands, owners

    def _take(self, index: int, reply: RawReply, address: Address) -> None:
        if not isinstance(reply, hiredis.ReplyError):
            self._settle(index, reply)
            return
        refusal = ServerRefusedError(reply, name=self._calls[index].script.name, said_by=address)
        if refusal.kind == "READONLY":
            self._servers.drop(address)  # behind its name may be another server by now
        if refusal.remedy is Remedy.GIVE_UP:
            self._settle(index, refused(refusal))
        else:
            self._refusals[index] = refusal

    def _settle(self, index: int, outcome: Outcome) -> None:
        self._refusals.pop(index, None)
        self._outcomes[index] = outcome

    def _check_replicas(self, indexes: Sequence[int], confirmed: RawReply) -> None:
        count = confirmed if isinstance(confirmed, int) else 0
        if count >= self._replicas:
            return
        for index in indexes:
            outcome = self._outcomes.get(index)
            if index in self._outcomes and not isinstance(outcome, StoreError):
                self._outcomes[index] = not_replicated(count, self._replicas)
