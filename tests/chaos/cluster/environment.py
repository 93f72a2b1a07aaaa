"""Environment: nodes as processes that are restarted, a balancer before them, Redis and a provider behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ...nodes.node import LEASE_SECONDS
from ...ports import free_port
from ...process import KEY, ROOT, environment
from ..environment import EXPECTED_ERRORS, SupervisedProcess, faults_in, listens, make_provider
from ..proxy import Kind, Proxy, listening, proxied
from .backends import Backend, lease, owner_of
from .links import Balancer, RedisLink

__all__ = ["LEASE_SECONDS", "ClusterEnvironment", "Node", "start_cluster"]

NODES = 3
STARTING = 30.0  # seconds that a node may take until it hears signals: it waits for Redis
FLAGS = (
    *("--drain", "3s", "--heartbeat", "1s", "--reader-timeout", "6s", "--memory", "100KiB", "--no-limits"),
    *("--model", "scripted-1", "--connect-timeout", "2s", "--stall-timeout", "3s", "--log-format", "json"),
)

Told = Callable[[str, Kind], None]
"""Called with where a fault of the network took effect, and its kind."""


@dataclass
class Node:
    """One node."""

    process: SupervisedProcess
    port: int
    link: RedisLink | None  # to Redis
    log: Path


@dataclass
class ClusterEnvironment:
    """Everything but the clients."""

    folder: Path
    backend: Backend
    nodes: Sequence[Node]
    provider: SupervisedProcess
    front: Balancer  # between clients and nodes
    quiet: Balancer  # the same, where nothing ever goes wrong
    back: Proxy  # between nodes and provider

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.front.port}/v1/chat"

    @property
    def direct(self) -> str:
        """Where one gets to a node that listens, and nothing is in between."""
        return f"ws://127.0.0.1:{self.quiet.port}/v1/chat"

    @property
    def record(self) -> Path:
        """What the provider was asked."""
        return self.folder / "record.jsonl"

    @property
    def proxies(self) -> Sequence[Proxy]:
        """All that can go wrong of the network."""
        return [self.front, self.back, *(node.link for node in self.nodes if node.link is not None)]

    async def up(self) -> None:
        """Wait until all nodes take connections."""
        for node in self.nodes:
            await listens(node.port)

    async def owner_of(self, session: str) -> Node | None:
        """The node that owns a session; None: nobody, or it is not to be found out."""
        return await asyncio.to_thread(self._owner_of, session)

    def _owner_of(self, session: str) -> Node | None:
        name = owner_of(self.backend, session)
        told = lease(self.backend, name) if name else None
        pid = json.loads(told)["pid"] if told else None
        return next((node for node in self.nodes if pid is not None and node.process.pid == pid), None)

    def faults_of_ours(self) -> list[str]:
        """What the nodes' logs must not have."""
        return [line for node in self.nodes for line in faults_in(node.log, EXPECTED_ERRORS)]


@asynccontextmanager
async def start_cluster(backend: Backend, *, on_fault: Told) -> AsyncGenerator[ClusterEnvironment]:
    """All of it, running; nothing is left of it afterwards but the backend."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="askbot-chaos-")))
        upstream, ports = free_port(), [free_port() for _ in range(NODES)]
        back = await stack.enter_async_context(proxied(upstream, on_fault=lambda kind: on_fault("provider", kind)))
        front, quiet = Balancer(ports, on_fault=lambda kind: on_fault("clients", kind)), Balancer(ports)
        await stack.enter_async_context(listening(front))
        await stack.enter_async_context(listening(quiet))
        nodes: list[Node] = []
        for number, port in enumerate(ports):
            link = None
            if backend.port is not None:
                link = RedisLink(backend.port, on_fault=lambda kind: on_fault("Redis", kind))
                await stack.enter_async_context(listening(link))
            log = folder / f"node-{number}.log"
            store = backend.url if link is None else f"redis://127.0.0.1:{link.port}"
            nodes.append(Node(_process(log, port, back, store, wait=backend.wait), port, link, log))
        provider = make_provider(folder, upstream)
        tasks = [asyncio.create_task(kept.keep()) for kept in (provider, *(node.process for node in nodes))]
        try:
            made = ClusterEnvironment(folder, backend, nodes, provider, front, quiet, back)
            await made.up()
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _process(log: Path, port: int, back: Proxy, store: str, *, wait: int) -> SupervisedProcess:
    command = [sys.executable, "-m", "tests.nodes.node", "serve", "--port", str(port), "--store", store, *FLAGS]
    environ = environment(
        OPENAI_API_KEY=KEY, OPENAI_BASE_URL=f"http://127.0.0.1:{back.port}/v1", ASKBOT_REDIS_WAIT=str(wait)
    )
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return SupervisedProcess(command, cwd=log.parent, environ=environ, log=log, starting=STARTING)
