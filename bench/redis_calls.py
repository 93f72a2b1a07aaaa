"""What a call of a script costs: `python -m bench.redis_calls`, with a redis-server of its own, about 20 s.

Prints microseconds of CPU for each call, of this process and of redis-server, and the round trip, for several calls in
one `run_all`; beside it the same with nothing but hiredis' codec on a protocol, and with redis-py's pipeline.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hiredis
import psutil
import uvloop
from redis.asyncio import Redis
from tests.redis_server import RedisServer, redis_server

from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.scripts import Script, ScriptCall

APPEND = Script.of(
    "append",
    """
local at = redis.call('HMGET', KEYS[1], 'fence', 'head')
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] then return {0, at[2]} end
redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'e', ARGV[4])
redis.call('HSET', KEYS[1], 'head', ARGV[3])
redis.call('SPUBLISH', ARGV[5], ARGV[4])
return {1, ARGV[3]}
""",
)
EVENT = b'{"type":"token","session":"zlbHr6IxHB7Dpt9HbOMl3g","turn":"t-8c1f","seq":123456,"text":" of"}'
SIZES, SECONDS = (1, 5, 20, 100), 1.5

Run = Callable[[Sequence[ScriptCall]], Awaitable[object]]


class BareProtocol(asyncio.Protocol):
    """Counts replies."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.waiting = deque[list[Any]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def run(self, calls: Sequence[ScriptCall]) -> Awaitable[object]:
        done = asyncio.get_running_loop().create_future()
        self.waiting.append([len(calls), done])
        self.transport.write(b"".join([call.pack() for call in calls]))
        return done

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while self.reader.gets() is not False:
            first = self.waiting[0]
            first[0] -= 1
            if not first[0]:
                self.waiting.popleft()[1].set_result(None)


def pipelined(client: Redis) -> Run:
    """With redis-py."""

    async def run(calls: Sequence[ScriptCall]) -> object:
        pipeline = client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha.decode(), len(call.keys), *call.keys, *call.args)
        return await pipeline.execute()

    return run


async def measure(name: str, run: Run, server: RedisServer, size: int) -> None:
    """Append one event to each of `size` sessions, again and again."""
    assert server.process is not None
    server.flush()
    process = psutil.Process(server.process.pid)
    sessions = [f"askbot:{{{number:022}}}" for number in range(size)]
    for session in sessions:
        server.command("HSET", f"{session}:meta", "fence", "1:abc", "head", 0)
    server.command("SCRIPT", "LOAD", APPEND.source)
    head = rounds = 0
    started, cpu, theirs = time.perf_counter(), time.process_time(), sum(process.cpu_times()[:2])
    while time.perf_counter() - started < SECONDS:
        calls = [
            ScriptCall(APPEND, (f"{session}:meta", f"{session}:log"), ("1:abc", head, head + 1, EVENT, session))
            for session in sessions
        ]
        await run(calls)
        head += 1
        rounds += 1
    total = time.perf_counter() - started
    each = 1e6 / rounds / size
    ours, theirs = time.process_time() - cpu, sum(process.cpu_times()[:2]) - theirs
    print(f"{name:22} {size:4} {ours * each:7.1f} {theirs * each:7.1f} {total * 1e6 / rounds:8.0f}", flush=True)


async def main() -> None:
    """Measure all."""
    with redis_server("--appendonly", "yes", "--appendfsync", "everysec") as server:
        connections = await RedisConnections.open(server.url)
        _, bare = await asyncio.get_running_loop().create_unix_connection(BareProtocol, server.path)
        client = Redis(unix_socket_path=server.path)
        print(f"{'':22} {'size':>4} {'CPU':>7} {'Redis':>7} {'µs':>8}")
        for size in SIZES:
            await measure("run_all", connections.run_all, server, size)
            await measure("hiredis on a protocol", bare.run, server, size)
            await measure("redis-py's pipeline", pipelined(client), server, size)
        await connections.close()
        await client.aclose()


if __name__ == "__main__":
    uvloop.run(main())
