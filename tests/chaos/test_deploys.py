"""A rolling restart under load: the old server drains, the next one, on the same port and store, goes on."""

from __future__ import annotations

import asyncio
import random
import signal

from ..process import Told, eventually
from .checking_client import CheckingClient
from .environment import Environment, start_environment
from .final_checks import check_sessions
from .provider import ASKED, TAG, pieces, requests
from .results import PROMISES, Results

ANSWERS = 200
DRAIN_S = 4.0


def whole(turn: Told) -> str:
    """What the provider says to this question, if it is let."""
    asked, tag = ASKED.fullmatch(turn.text), TAG.match(turn.answer)
    return "".join(pieces(tag[1], int(asked[1]))) if asked and tag else ""


async def converse(client: CheckingClient, made: Environment, restarted: asyncio.Event) -> None:
    """One answer over the restart, short or long, and another one after it."""
    async with client.connected():
        tokens = 40 if client.number % 2 else 400
        await client.answer(tokens=tokens, rate=20)
        await restarted.wait()
        await client.answer(tokens=5, rate=0)


async def test_a_restart_under_load_costs_nobody_anything() -> None:
    """200 running answers and SIGTERM: short ones end whole, long ones are interrupted with the exact text.

    No client that follows `going_away` is told of an error, each goes on, and nothing is asked twice.
    """
    results, restarted = Results(0), asyncio.Event()
    async with start_environment(flags=("--drain", f"{DRAIN_S}s")) as made:
        clients = [CheckingClient(number, made.direct, random.Random(number), results) for number in range(ANSWERS)]
        talking = [asyncio.create_task(converse(client, made, restarted)) for client in clients]
        await eventually(lambda: all(client.hears for client in clients), 20)
        made.server.signal(signal.SIGTERM)
        assert await made.server.ended(DRAIN_S + 8) == 0
        await made.up()
        restarted.set()
        await asyncio.gather(*talking)
        await check_sessions(made.direct, clients, results)
        faults = made.faults_of_ours()
        told = [request.note for request in requests(made.record)]

    assert {promise: results.count(promise) for promise in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert not faults
    assert [error for client in clients for error in client.errors] == []
    for client in clients:
        first, second = client.story.turns.values()
        assert first.reason == ("stop" if client.number % 2 else "interrupted")
        assert (first.answer == whole(first)) is (first.reason == "stop")
        assert (second.reason, second.answer) == ("stop", whole(second))
    assert len(told) == len(set(told)) == 2 * ANSWERS
