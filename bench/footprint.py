"""What is there anyway: connections that only listen, at a node; sessions and turns that have ended, in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import machine
from .client import Client, WebSocketClient
from .load import Load
from .redis_process import RedisProcess

IDLE_CONNECTIONS = 2000
IDLE_SECONDS = 24.0  # in which each connection gets its sign of life about once: the setting `heartbeat` is 20 s
ALONE_SECONDS = 4.0  # in which it is measured what is spent without them
SESSIONS = 200
TURNS = 10  # more, of each session
TOKENS = 50  # an answer, which is as much text as 300 tokens of a model
INDEXES = ("askbot:{sessions}:updated", "askbot:{sessions}:used", "askbot:{sessions}:anonymous")
FRAMES = 200  # of an answer whose bytes are counted


@dataclass(frozen=True, slots=True)
class Connections:
    """Of one node, and one connection."""

    handshake_us: float  # CPU of a connection until it has had `ready`
    idle_us: float  # CPU of a connection in each second
    frame_bytes: float  # of a frame with one token: the frame's own, without text


@dataclass(frozen=True, slots=True)
class Redis:
    """Bytes of its memory."""

    session: float
    turn: float
    answer: float  # of text, in each turn
    index: float  # of a session's entries in the indexes of all sessions


class Counting(WebSocketClient):
    """Counts what comes."""

    received = 0
    text = 0
    frames = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)

    def _frame(self, frame: dict[str, str], now: int) -> None:
        super()._frame(frame, now)
        if frame["type"] == "token":
            self.text += len(frame["text"].encode())
            self.frames += 1


async def of_connections(url: str, pid: int) -> Connections:
    """Open connections, let them listen, and count what it takes; then an answer's bytes."""
    load = Load(url=url, pid=pid)
    await asyncio.sleep(1.0)
    alone = await _share(pid, ALONE_SECONDS)
    before = machine.used(pid)
    clients = await load.clients(IDLE_CONNECTIONS)
    handshakes = machine.used(pid).since(before)
    beside = await _share(pid, IDLE_SECONDS)
    lost = sum(client.transport.is_closing() for client in clients)
    if lost:
        raise RuntimeError(f"{lost} of {IDLE_CONNECTIONS} idle connections were lost")
    frame_bytes = await _frame_bytes(url, load)
    for client in clients:
        client.transport.abort()
    each = 1e6 / IDLE_CONNECTIONS
    return Connections(handshakes * each, max(0.0, beside - alone) * each, frame_bytes)


async def _share(pid: int, seconds: float) -> float:
    """The share of a core that is used."""
    before = machine.used(pid)
    await asyncio.sleep(seconds)
    return machine.used(pid).share(before)


async def _frame_bytes(url: str, load: Load) -> float:
    host, _, rest = url.removeprefix("ws://").partition(":")
    port, _, path = rest.partition("/")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Counting(f"/{path}"), host, int(port))
    await client.ready
    told = await load.asked([client], tokens=FRAMES, rate=50)
    client.transport.abort()
    if faults := told.figures()["faults"]:
        raise RuntimeError(str(faults))
    return (client.received - client.text) / client.frames


async def of_redis(url: str, pid: int, redis: RedisProcess) -> Redis:
    """Hold conversations: of one turn, then of more, and see what each adds."""
    load = Load(url=url, pid=pid)
    clients = await load.clients(SESSIONS)
    empty = await _settled(redis)
    await _turn(load, clients)
    first = await _settled(redis)
    for _ in range(TURNS):
        await _turn(load, clients)
    turn = (await _settled(redis) - first) / SESSIONS / TURNS
    answer = TOKENS * len(f"{SESSIONS * 10**7}:{time.monotonic_ns()};")
    index = sum(map(redis.key_memory, INDEXES)) / SESSIONS
    return Redis(session=(first - empty) / SESSIONS - turn, turn=turn, answer=answer, index=index)


async def redis_turn(url: str, pid: int, redis: RedisProcess) -> float:
    """Return Redis' CPU of a turn with a one-token answer, in microseconds."""
    load = Load(url=url, pid=pid)
    clients = await load.clients(20)
    await load.asked(clients, tokens=1, rate=0)
    before = machine.used(redis.pid)
    for _ in range(TURNS):
        await load.asked(clients, tokens=1, rate=0)
    return 1e6 * machine.used(redis.pid).since(before) / TURNS / len(clients)


async def _turn(load: Load, clients: Sequence[Client]) -> None:
    for start in range(0, len(clients), 20):
        told = await load.asked(clients[start : start + 20], tokens=TOKENS, rate=0)
        if faults := told.figures()["faults"]:
            raise RuntimeError(str(faults))


async def _settled(redis: RedisProcess) -> int:
    await asyncio.sleep(1.0)
    return redis.memory()
