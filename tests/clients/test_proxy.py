"""Each client behind a network that cuts, resets, stalls, trickles, splits and loses, in every place."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

import pytest

from askbot_ws.testing import Receive, ScriptedConnection, ScriptedLog, ScriptedServer, ScriptedUpstream, serving

from ..chaos.proxy import Kind, Order, proxied
from ..seeds import seed
from .case import answered
from .drivers import AsyncDriver, ClientDriver, JSDriver, NodeProcess, SyncDriver

HANDSHAKE_AND_ANSWER_BYTES = 2000  # of a conversation as here, both directions together, at least
SECONDS = 0.05  # that a stall takes, and the like
AT_ONCE = 12  # conversations
LIMIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess()
    yield process
    process.close()


def maker(client: str, node: NodeProcess) -> Callable[[], ClientDriver]:
    makers: dict[str, Callable[[], ClientDriver]] = {
        "async": AsyncDriver,
        "sync": SyncDriver,
        "js": lambda: JSDriver(node),
    }
    return makers[client]


async def converse(
    port: int, order: Order, make: Callable[[], ClientDriver], question: str, faults: Counter[Kind]
) -> Mapping[str, Any]:
    """Ask one question through a proxy whose first link goes wrong; returns what came of it."""
    async with proxied(port, on_fault=lambda kind: faults.update([kind])) as proxy:
        proxy.hurt_next(order)
        url = f"ws://127.0.0.1:{proxy.port}/v1/chat"
        client = make()
        while (await client.open(url, {}))["code"] is not None:
            client = make()  # Python raises that the first connection has failed
        outcome = await client.call("ask", "ask", question)
        assert await client.end() == [outcome["text"]]
        return outcome


async def at_once(conversations: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Hold them all, some at the same time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def hold(conversation: Coroutine[Any, Any, None]) -> None:
        async with free:
            await conversation

    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        for conversation in conversations:
            group.create_task(hold(conversation))


def orders(step: int) -> list[Order]:
    """Cuts at every place, as far apart as `step`, and each other fault at some places."""
    chance = random.Random(seed(7))
    begin = chance.randrange(1, step + 1)
    cuts = [Order(Kind.CUT, place) for place in range(begin, HANDSHAKE_AND_ANSWER_BYTES, step)]
    others = [kind for kind in Kind if kind is not Kind.CUT]
    places = [chance.randrange(HANDSHAKE_AND_ANSWER_BYTES - 400) for _ in others * 3]
    return cuts + [Order(kind, place, SECONDS) for kind, place in zip(others * 3, places, strict=True)]


@pytest.mark.parametrize(("client", "step"), [("async", 37), ("sync", 101), ("js", 37)])
async def test_an_answer_is_whole_and_asked_once_wherever_the_line_breaks(
    client: str, step: int, node: NodeProcess
) -> None:
    """With the real server: in the handshakes, in a frame's head, inside a character."""
    upstream, faults = ScriptedUpstream(), Counter[Kind]()
    async with serving(upstream) as server:

        async def converse_with(order: Order, question: str) -> None:
            outcome = await converse(server.port, order, maker(client, node), question, faults)
            assert {name: outcome[name] for name in answered("")} == answered(f"You asked: {question}")

        questions = {f"Why {number}, 🙂?": order for number, order in enumerate(orders(step))}
        await at_once(converse_with(order, question) for question, order in questions.items())

    asked = Counter(prompt.messages[-1].text for prompt in upstream.prompts)
    assert asked == dict.fromkeys(questions, 1)
    assert set(faults) == {*Kind}


@pytest.mark.parametrize(("client", "step"), [("async", 71), ("sync", 211), ("js", 71)])
async def test_an_unknown_event_and_an_unknown_reason_are_read_wherever_the_line_breaks(
    client: str, step: int, node: NodeProcess
) -> None:
    """With a server that is newer than the client."""
    faults = Counter[Kind]()

    async def converse_with(order: Order) -> None:
        log = ScriptedLog()
        first = log.ready()
        events = [
            log.question(), log.event("weather", wind="🙂"), log.token("Be"), log.event("song"),
            log.token("cause 🙂."), log.done("moved_on"),
        ]  # fmt: skip
        resume = log.resume()

        def begin(connection: ScriptedConnection) -> list[dict[str, Any]]:
            return resume(connection) if server.frames("ask") else [first]

        async with ScriptedServer([begin, Receive("ask"), *events]) as server:
            outcome = await converse(server.port, order, maker(client, node), "Why?", faults)
            assert {name: outcome[name] for name in answered("")} == answered("Because 🙂.", "moved_on")
            assert len({frame["id"] for frame in server.frames("ask")}) == 1

    await at_once(converse_with(order) for order in orders(step))

    assert faults.total() > len(orders(step)) / 2
