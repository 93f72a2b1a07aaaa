"""A rolling restart under load: the old server drains, the next one, on the same port and store, goes on."""

from __future__ import annotations

import asyncio
import random
import signal

from ..process import Told, eventually
from .judge import reread
from .ledger import PROMISES, Ledger
from .provider import ASKED, TAG, pieces, requests
from .talker import Talker
from .world import World, world

ANSWERS = 200
DRAIN_S = 4.0


def whole(turn: Told) -> str:
    """What the provider says to this question, if it is let."""
    asked, tag = ASKED.fullmatch(turn.text), TAG.match(turn.answer)
    return "".join(pieces(tag[1], int(asked[1]))) if asked and tag else ""


async def converse(talker: Talker, made: World, restarted: asyncio.Event) -> None:
    """One answer over the restart, short or long, and another one after it."""
    async with talker.connected():
        tokens = 40 if talker.number % 2 else 400
        await talker.answer(tokens=tokens, rate=20)
        await restarted.wait()
        await talker.answer(tokens=5, rate=0)


async def test_a_restart_under_load_costs_nobody_anything() -> None:
    """200 running answers and SIGTERM: short ones end whole, long ones are interrupted with the exact text.

    No client that follows `going_away` is told of an error, each goes on, and nothing is asked twice.
    """
    ledger, restarted = Ledger(0), asyncio.Event()
    async with world(flags=("--drain", f"{DRAIN_S}s")) as made:
        talkers = [Talker(number, made.direct, random.Random(number), ledger) for number in range(ANSWERS)]
        talking = [asyncio.create_task(converse(talker, made, restarted)) for talker in talkers]
        await eventually(lambda: all(talker.hears for talker in talkers), 20)
        made.server.signal(signal.SIGTERM)
        assert await made.server.ended(DRAIN_S + 8) == 0
        await made.up()
        restarted.set()
        await asyncio.gather(*talking)
        await reread(made, talkers, ledger)
        faults = made.faults_of_ours()
        told = [request.note for request in requests(made.record)]

    assert {promise: ledger.count(promise) for promise in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert not faults
    assert [error for talker in talkers for error in talker.errors] == []
    for talker in talkers:
        first, second = talker.story.turns.values()
        assert first.reason == ("stop" if talker.number % 2 else "interrupted")
        assert (first.answer == whole(first)) is (first.reason == "stop")
        assert (second.reason, second.answer) == ("stop", whole(second))
    assert len(told) == len(set(told)) == 2 * ANSWERS
