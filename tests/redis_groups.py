"""Groups of real servers of Redis: a Cluster of six, and a primary with replicas that Sentinels watch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from redis.crc import key_slot

from .ports import free_port
from .redis_server import RedisServer

NODE_TIMEOUT = 1000  # milliseconds, after which a node of a Cluster counts as dead
SENTINEL_TIMEOUT = 2000  # the same for a Sentinel, which asks once a second: with as much, it gives living ones up too
SLOTS = 16_384


def slot_of(key: str) -> int:
    """The slot of a key or a channel."""
    return key_slot(key.encode())


class RedisCluster:
    """Three primaries, each with a replica; `nodes[i + 3]` is that of `nodes[i]`."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [_node(folder / str(number)) for number in range(6)]
        self.ids: list[str] = []

    @property
    def url(self) -> str:
        """For ASKBOT_STORE: two of the nodes."""
        return f"redis://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def start(self) -> None:
        """Start the nodes and join them."""
        for node in self.nodes:
            node.start()
        self.ids = [text(node.command("CLUSTER", "MYID")) for node in self.nodes]
        for number, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].arguments[-1])
        for number in range(3):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            self.nodes[number].command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for number in range(3):
            self._replicate(self.nodes[number + 3], self.ids[number])
        until(lambda: all(self._is_complete(node) for node in self.nodes))

    def flush(self) -> None:
        """Delete all data."""
        for node in self.nodes:
            node.command("FLUSHALL")

    def primary_of(self, key: str) -> RedisServer:
        """The primary that has a key's slot, as `nodes[0]` knows it."""
        lines = text(self.nodes[0].command("CLUSTER", "NODES")).splitlines()
        for words in map(str.split, lines):
            for place in words[8:] if "master" in words[2] and "fail" not in words[2] else ():
                first, _, last = place.partition("-")
                if first.isdigit() and int(first) <= slot_of(key) <= int(last or first):
                    return self.nodes[self.ids.index(words[0])]
        raise AssertionError("no primary has the slot")

    def begin_move(self, key: str) -> tuple[RedisServer, RedisServer]:
        """Begin to move a key's slot to another primary; returns from where to where."""
        source = self.primary_of(key)
        target = next(self.primary_of(text) for text in "abcdefgh" if self.primary_of(text) is not source)
        target.command("CLUSTER", "SETSLOT", slot_of(key), "IMPORTING", self._id(source))
        source.command("CLUSTER", "SETSLOT", slot_of(key), "MIGRATING", self._id(target))
        return source, target

    def move_key(self, key: str, source: RedisServer, target: RedisServer) -> None:
        """Move one key."""
        source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def end_move(self, key: str, source: RedisServer, target: RedisServer) -> None:
        """Give the slot to its new primary."""
        for node in (target, source):
            assert node.command("CLUSTER", "SETSLOT", slot_of(key), "NODE", self._id(target)) == b"OK"

    def _replicate(self, replica: RedisServer, primary: str) -> None:
        until(lambda: replica.command("CLUSTER", "REPLICATE", primary) == b"OK")  # it may not know that node yet

    def _id(self, node: RedisServer) -> str:
        return self.ids[self.nodes.index(node)]

    def _is_complete(self, node: RedisServer) -> bool:
        nodes = text(node.command("CLUSTER", "NODES"))
        info = text(node.command("CLUSTER", "INFO"))
        return (
            "cluster_state:ok" in info
            and f"cluster_slots_ok:{SLOTS}" in info
            and nodes.count(" slave ") + nodes.count(",slave ") == 3
        )


def _node(folder: Path) -> RedisServer:
    folder.mkdir()
    cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        str(NODE_TIMEOUT),
        "--cluster-require-full-coverage",
        "no",
    ]
    replicas = ["--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"]
    return RedisServer(folder, *cluster, *replicas, "--cluster-port", str(free_port()), port=free_port())


FAST = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def _replica_of(primary: RedisServer) -> tuple[str, str]:
    return ("--replicaof", f"127.0.0.1 {primary.port}")


class SentinelServer(RedisServer):
    """A Sentinel, which watches a primary as `askbot`."""

    def __init__(self, folder: Path, primary: RedisServer) -> None:
        super().__init__(folder, port=free_port())
        lines = (
            f"sentinel monitor askbot 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds askbot {SENTINEL_TIMEOUT}",
            "sentinel failover-timeout askbot 5000",
        )
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def flags(self) -> list[str]:
        """It keeps what it knows in its configuration."""
        return ["sentinel.conf", "--sentinel", "--port", str(self.port), "--logfile", "redis.log"]


class Sentinels:
    """A primary and a replica, which one Sentinel watches."""

    def __init__(self, folder: Path) -> None:
        for name in ("one", "two", "sentinel"):
            (folder / name).mkdir()
        self.primary = RedisServer(folder / "one", *FAST, port=free_port())
        self.replica = RedisServer(folder / "two", *FAST, *_replica_of(self.primary), port=free_port())
        self.sentinel = SentinelServer(folder / "sentinel", self.primary)

    @property
    def url(self) -> str:
        """For ASKBOT_STORE."""
        return f"redis://127.0.0.1:{self.sentinel.port}?service=askbot"

    def named_port(self) -> int:
        """The port of the primary, as the Sentinel says; 0 while it is not sure."""
        words = [*map(text, cast("list[bytes]", self.sentinel.command("SENTINEL", "MASTER", "askbot")))]
        entry = dict(zip(words[::2], words[1::2], strict=True))
        return int(entry["port"]) if entry["flags"] == "master" else 0

    def start_as_replica(self, server: RedisServer, primary: RedisServer) -> None:
        """Start the primary that was: with what its Sentinel would have written into its configuration.

        As a primary, without its data, it would be one more for ten seconds, to which the Sentinel may fail over.
        """
        server.arguments = (*FAST, *_replica_of(primary))
        server.start()

    def start(self) -> None:
        """Start them, and wait until the Sentinel knows the replica."""
        for server in (self.primary, self.replica, self.sentinel):
            server.start()
        until(lambda: bool(self.sentinel.command("SENTINEL", "REPLICAS", "askbot")))
        until(lambda: "state=online" in text(self.primary.command("INFO", "replication")))

    def kill(self) -> None:
        """Kill all of them."""
        for server in (self.sentinel, self.primary, self.replica):
            server.kill()


@contextmanager
def sentinels() -> Generator[Sentinels]:
    """A group."""
    with tempfile.TemporaryDirectory(prefix="askbot-redis-") as name:
        folder = Path(name)
        group = Sentinels(folder)
        try:
            group.start()
            yield group
        finally:
            group.kill()


@contextmanager
def redis_cluster() -> Generator[RedisCluster]:
    """A Cluster."""
    with tempfile.TemporaryDirectory(prefix="askbot-redis-") as name:
        folder = Path(name)
        cluster = RedisCluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            for node in cluster.nodes:
                node.kill()


def until(true: Callable[[], bool], limit: float = 20) -> None:
    """Wait for what nothing tells us of."""
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def text(reply: object) -> str:
    """A reply as text."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)
