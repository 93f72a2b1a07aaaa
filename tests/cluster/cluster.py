"""Nodes with one Redis, behind nginx that has deploy/nginx-cluster.conf, as in docker-compose.yml."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from .. import programs
from .child import Child, ClusterError, say

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx-cluster.conf"
START_SECONDS = 20.0  # for Redis and nginx; a node may take its time
STOP_SECONDS = 60.0  # for answers to end (ASKBOT_DRAIN), and for connections to be closed
PLACE = {"ASKBOT_UNIX", "ASKBOT_CERTFILE", "ASKBOT_KEYFILE", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
"""Variables that say where a server listens, and how: nodes are reached through nginx."""


class Cluster:
    """Nodes, their store and their balancer.

    Attributes:
        port: Where the balancer listens, on 127.0.0.1.
        nodes: The nodes.
    """

    def __init__(self, folder: Path, *, port: int) -> None:
        self.port = port
        self.nodes: list[Child] = []
        self._folder = folder
        self._others: list[Child] = []  # Redis, then nginx

    @property
    def _redis_socket(self) -> Path:
        return self._folder / "redis.sock"

    async def start(self, nodes: int) -> None:
        """Start all, one after what it needs. Raises ClusterError."""
        check_port(self.port)
        await self._start_redis()
        for number in range(1, nodes + 1):
            await self._start_node(number)
        await self._start_balancer([port_of(await node.banner) for node in self.nodes])

    async def watch(self) -> None:
        """Wait until it can't serve any more: without a node, Redis or nginx. Raises ClusterError then."""
        left = [*self.nodes, *self._others]
        while any(node in left for node in self.nodes):
            await asyncio.wait([child.ended for child in left], return_when=asyncio.FIRST_COMPLETED)
            for child in [child for child in left if child.has_ended]:
                say(f"{child.name} has ended, with exit code {child.ended.result()}.")
                if child in self._others:
                    raise ClusterError(f"The cluster ends: it can't do without {child.name}.")
                left.remove(child)
        raise ClusterError("The cluster ends: no node is left.")

    async def stop(self) -> None:
        """End all: the nodes first, which drain while their clients and their store are still there."""
        for children in (self.nodes, self._others):
            running = [child for child in children if not child.has_ended]
            for child in running:
                child.signal(signal.SIGTERM)
            if running:
                _, late = await asyncio.wait([child.ended for child in running], timeout=STOP_SECONDS)
                if late:
                    self.kill()
                    await asyncio.wait(late)

    def kill(self) -> None:
        """Kill all that still run."""
        for child in (*self.nodes, *self._others):
            child.signal(signal.SIGKILL)

    def describe(self) -> str:
        """Addresses and processes, for who has started it."""
        banners = [(node, node.banner.result()) for node in self.nodes]
        return "\n".join(
            [
                f"askbot-ws: {len(self.nodes)} nodes",
                f"  page    http://127.0.0.1:{self.port}/  of any node, through nginx",
                f"  socket  ws://127.0.0.1:{self.port}/v1/chat",
                f"  model   {banners[0][1]['model']}",
                *(f"  {node.name}  {banner['page']}  process {node.pid}" for node, banner in banners),
                f"  redis   unix:{self._redis_socket}  process {self._others[0].pid}",
                "Conversations last as long as it runs. Ctrl-C ends it, after running answers; twice: at once.",
            ]
        )

    async def _start_redis(self) -> None:
        place = ("--port", "0", "--unixsocket", str(self._redis_socket), "--unixsocketperm", "700")
        kept = ("--dir", str(self._folder), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
        redis = await Child.start("redis", path_of(programs.REDIS), *place, *kept, "--loglevel", "warning")
        self._others.append(redis)
        await until(lambda: answers_ping(self._redis_socket), redis)

    async def _start_node(self, number: int) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in PLACE}
        if sys.stderr.isatty():
            environ.setdefault("ASKBOT_LOG_FORMAT", "console")
        place = ("--host", "127.0.0.1", "--port", "0", "--trusted-proxies", "127.0.0.1")
        serve = (sys.executable, "-m", "askbot_ws.cli", "serve", *place, "--store", f"unix://{self._redis_socket}")
        self.nodes.append(await Child.start(f"node {number}", *serve, environ=environ))

    async def _start_balancer(self, ports: Sequence[int]) -> None:
        configuration = self._folder / "nginx.conf"
        configuration.write_text(balancer_configuration(self._folder, port=self.port, nodes=ports))
        options = ("-p", str(self._folder), "-e", "stderr", "-c", str(configuration), "-g", "daemon off;")
        nginx = await Child.start("nginx", path_of(programs.NGINX), *options)
        self._others.append(nginx)
        await until(lambda: listens(self.port), nginx)


def check_port(port: int) -> None:
    """See that a port of this machine is free. Raises ClusterError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ClusterError(f"Port {port}: {error.strerror}. Choose another: make cluster PORT=…") from error


def port_of(banner: dict[str, str]) -> int:
    """Where a node listens. Raises ClusterError where that is not where it was told to."""
    found = re.match(r"ws://127\.0\.0\.1:(\d+)/", banner["socket"])
    if found is None:
        raise ClusterError(f"A node listens at {banner['socket']}. In .env, remove what says where: {sorted(PLACE)}.")
    return int(found[1])


def balancer_configuration(folder: Path, *, port: int, nodes: Iterable[int]) -> str:
    """Return deploy/nginx-cluster.conf with its files in a folder, for nodes at ports of this machine."""
    text = CONFIGURATION.read_text()
    servers = "\n        ".join(f"server 127.0.0.1:{node};" for node in nodes)
    text, resolvers = re.subn(r" *resolver .*\n", "", text)
    for old, new in (
        ("/tmp/", f"{folder}/"),
        ("worker_rlimit_nofile 65536;", f"worker_rlimit_nofile {file_limit(65_536)};"),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("server node:8765 resolve;", servers),
    ):
        if old not in text or resolvers != 1:
            raise ClusterError(f"{CONFIGURATION} has changed: there is no `{old}` in it, or not one resolver.")
        text = text.replace(old, new)
    if os.geteuid() == 0:  # nginx' processes would have another user, who can't see the folder
        text = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};\n{text}"
    return text


def file_limit(wanted: int) -> int:
    """Return how many files a process may open, as far as this user may say so; at most as many as wanted."""
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)


def path_of(program: programs.Program) -> str:
    """Where a program is. Raises ClusterError."""
    path = program.path()
    if path is None:
        raise ClusterError(program.how_to_get())
    return path


async def until(ready: Callable[[], Awaitable[bool]], child: Child) -> None:
    """Wait until a process does what it is for. Raises ClusterError where it ends, or takes `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while not await ready():
        if child.has_ended or time.monotonic() > deadline:
            raise ClusterError(f"{child.name} has not started.")
        await asyncio.sleep(0.02)


async def answers_ping(path: Path) -> bool:
    """Whether Redis answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"PING\r\n")
        answered = await reader.readline() == b"+PONG\r\n"
        writer.close()
    except OSError:
        return False
    return answered


async def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    except OSError:
        return False
    return True
