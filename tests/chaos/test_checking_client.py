"""The checking client itself, against a server that plays frames."""

from __future__ import annotations

import asyncio
import random

from askbot_ws.testing import Cut, ScriptedLog, ScriptedServer

from ..process import Json, eventually
from .checking_client import CheckingClient
from .results import Results


def turn(log: ScriptedLog, id: str) -> list[Json]:
    """A turn with an answer of one character."""
    return [log.question("Why?", id=id), log.token("a"), log.done()]


async def test_a_reader_of_another_history_is_not_done_before_all_of_it_is_read() -> None:
    """Between two of its turns, nothing is unanswered and all turns have ended; half of the session would seem lost."""
    before, after = ScriptedLog(log="before"), ScriptedLog(log="after")
    seen = [*turn(before, "q1"), *turn(before, "q2")]
    first, second = turn(after, "q1"), turn(after, "q2")
    rest = asyncio.Event()
    server = ScriptedServer(
        [before.ready(from_=0, seq=before.head + 1), *seen, Cut()],
        [after.ready()],
        [after.ready(from_=0), *first, rest, *second],
    )
    async with server, asyncio.timeout(20):
        results = Results(seed=0)
        client = CheckingClient(0, server.url, random.Random(0), results, finish=True)
        running = asyncio.create_task(client.run(readers=1))
        await server.connected(3)
        await eventually(lambda: client.story.head == first[-1]["seq"])
        await asyncio.sleep(0.1)
        assert not running.done()
        rest.set()
        await running

    assert not results.broken
    assert [*client.story.turns] == ["t1", "t2"]
    assert [*client.lines[0].replaced[0].turns] == ["t1", "t2"]
