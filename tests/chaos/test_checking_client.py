"""The checking client itself, against a server that plays frames."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve

from ..process import Json, eventually
from .checking_client import CheckingClient
from .results import Results


def turn(at: int) -> list[Json]:
    """A turn that begins at this position, with one character for an answer: three of the log."""
    common = {"session": "s", "turn": f"t{at}"}
    proof = {"chars": 1, "sha256": hashlib.sha256(b"a").hexdigest()}
    return [
        common | {"type": "question", "seq": at + 1, "id": f"i{at}", "text": "Why?"},
        common | {"type": "token", "seq": at + 2, "text": "a"},
        common | {"type": "done", "seq": at + 3, "reason": "stop", "check": proof},
    ]


def ready(log: str, *, start: int, end: int) -> Json:
    """The first frame of a connection."""
    return {"type": "ready", "session": "s", "log": log, "from": start, "seq": end}


async def test_a_reader_of_another_history_is_not_done_before_all_of_it_is_read() -> None:
    """Between two of its turns, nothing is unanswered and all turns have ended; half of the session would seem lost."""
    rest = asyncio.Event()
    is_read = asyncio.Event()
    connections: list[Sequence[Json]] = [
        [ready("one", start=0, end=7), *turn(0), *turn(3)],  # cut before its last character
        [ready("two", start=6, end=6)],
        [ready("two", start=0, end=6), *turn(0)],
    ]

    async def play(connection: ServerConnection) -> None:
        for frame in connections.pop(0):
            await connection.send(json.dumps(frame))
        if not connections:
            is_read.set()
            await rest.wait()
            for frame in turn(3):
                await connection.send(json.dumps(frame))
            await connection.wait_closed()

    async with serve(play, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        results = Results(seed=0)
        client = CheckingClient(0, f"ws://127.0.0.1:{port}", random.Random(0), results, finish=True)
        running = asyncio.create_task(client.run(readers=1))
        async with asyncio.timeout(20):
            await is_read.wait()
            await eventually(lambda: client.story.head == 3)
            await asyncio.sleep(0.1)
            assert not running.done()
            rest.set()
            await running

    assert not results.broken
    assert [*client.story.turns] == ["t0", "t3"]
    assert [*client.lines[0].replaced[0].turns] == ["t0", "t3"]
