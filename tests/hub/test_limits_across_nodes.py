"""Two hubs whose clients' limits hold together: what waits, starts, is cancelled and is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from askbot_ws.core.allowance import Allowance, Allowances, Rates
from askbot_ws.core.commands import Ask, Cancel, Forget, Fork
from askbot_ws.core.principal import Principal
from askbot_ws.errors import Overloaded, QuotaExceeded, RateLimited, StoreError
from askbot_ws.events import Usage
from askbot_ws.hub import Hub, Policy
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.redis.client_limits import RedisLimits
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.limit_calls import keys_of
from askbot_ws.store.redis.pipeline_run import Outcome
from askbot_ws.store.redis.scripts import ScriptCall
from askbot_ws.testing import Step
from askbot_ws.upstream import Ending
from tests.redis_server import RedisServer

from .fakes import CheckedReader, hub_of, owner_of

ANN, BOB = Principal(user="ann"), Principal(user="bob")
USAGE = Ending("stop", usage=Usage(input_tokens=30, output_tokens=20))


class Nodes:
    """Two hubs, and the Redis of their limits. What the store has of users is one store's."""

    def __init__(self, stack: AsyncExitStack, connections: RedisConnections) -> None:
        self.connections = connections
        self._stack = stack
        self._accounts = MemoryStore()

    async def add(self, allowance: Allowance, *scripts: Sequence[Step]) -> Hub:
        """One more hub, whose model answers by these scripts."""
        limits = RedisLimits(self._accounts, lambda: self.connections, lease=1.0)
        made = hub_of(*scripts, allowances=Allowances(allowance), policy=Policy(max_tokens=100), limits=limits)
        return await self._stack.enter_async_context(made)

    async def running(self, count: int, user: str = "ann") -> None:
        """Wait until so many turns are counted as running."""
        await eventually_equal(lambda: self.connections.client.zcard(keys_of(user)[1]), count)


async def eventually_equal(read: Callable[[], Awaitable[object]], value: object) -> None:
    async with asyncio.timeout(5):
        while await read() != value:  # noqa: ASYNC110 - nothing tells us of it
            await asyncio.sleep(0.01)


@pytest.fixture
async def nodes(redis: RedisServer) -> AsyncGenerator[Nodes]:
    connections = await RedisConnections.open(redis.url)
    async with AsyncExitStack() as stack:
        yield Nodes(stack, connections)
    await connections.close()


def session_for(hub: Hub, principal: Principal = ANN) -> CheckedReader:
    reader = CheckedReader(hub.create(principal))
    hub.attach(reader.topic, reader)
    return reader


async def ask(hub: Hub, reader: CheckedReader, text: str = "why?", who: Principal = ANN, **more: str) -> None:
    await hub.command(who, reader.session, Ask(text, **more))  # type: ignore[arg-type]


async def test_a_turn_waits_until_its_user_has_fewer_on_other_nodes(nodes: Nodes) -> None:
    """It is acknowledged, and counts as waiting; others' turns start meanwhile."""
    held, allowance = asyncio.Event(), Allowance(turns=1)
    one, two = await nodes.add(allowance, ["so ", held]), await nodes.add(allowance, ["bob"], ["ann"])
    first, second, other = session_for(one), session_for(two), session_for(two, BOB)
    await ask(one, first)
    await first.heard("so ")
    await ask(two, second)
    await ask(two, other, who=BOB)
    await other.done()
    await asyncio.sleep(0.7)
    assert (two.turns_waiting, len(second.dones), len(second.questions)) == (1, 0, 1)
    held.set()
    done = await second.done()
    assert done.reason == "stop"
    await nodes.running(0)
    await nodes.running(0, "bob")


async def test_a_turn_that_waits_for_other_nodes_can_be_cancelled_replaced_and_forgotten(nodes: Nodes) -> None:
    """As any that waits; afterwards nothing of it counts."""
    held, allowance = asyncio.Event(), Allowance(turns=3)
    one = await nodes.add(allowance, ["so ", held], ["so ", held], ["so ", held])
    two = await nodes.add(allowance, ["instead"], ["last"])
    running = [session_for(one) for _ in range(3)]
    for reader in running:
        await ask(one, reader)
        await reader.heard("so ")
    cancelled, replaced, forgotten = (session_for(two) for _ in range(3))
    for reader in (cancelled, replaced, forgotten):
        await ask(two, reader)
    await asyncio.sleep(0.1)
    await two.command(ANN, cancelled.session, Cancel())
    await ask(two, replaced, "instead", when_busy="replace")
    await two.command(ANN, forgotten.session, Forget())
    assert [reader.dones[0].reason for reader in (cancelled, replaced)] == ["cancelled"] * 2
    assert two.turns_waiting == 1
    held.set()
    await replaced.done(2)
    await nodes.running(0)
    await ask(two, cancelled)
    await cancelled.done(2)
    await nodes.running(0)


async def test_a_node_that_drains_does_not_begin_what_waits_for_others(nodes: Nodes) -> None:
    """Nor waits for it."""
    held, allowance = asyncio.Event(), Allowance(turns=1)
    one, two = await nodes.add(allowance, ["so ", held]), await nodes.add(allowance, ["no"])
    first, second = session_for(one), session_for(two)
    await ask(one, first)
    await first.heard("so ")
    await ask(two, second)
    two.refuse_turns()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (two.turns_running, two.turns_waiting) == (0, 1)
    await two.drain(5)
    assert (await second.done()).reason == "interrupted"
    held.set()
    await first.done()
    await nodes.running(0)


async def test_what_is_refused_on_one_node_is_refused_on_the_other(nodes: Nodes) -> None:
    """Rates, sessions and the day; forks too. A question of the same id is not counted again."""
    allowance = Allowance(rates=Rates(questions=4), sessions=3, tokens_per_day=1000)
    one, two = await nodes.add(allowance, [USAGE], [USAGE]), await nodes.add(allowance, [USAGE], [USAGE])
    reader, other = session_for(one), session_for(two)
    await ask(one, reader, id="q")
    await reader.done()
    await ask(one, reader, id="q")
    await ask(two, other)
    await other.done()
    await one.fork(ANN, reader.session, Fork("t1", id="f"))
    await one.fork(ANN, reader.session, Fork("t1", id="f"))
    for hub, source in ((one, reader), (two, other)):
        with pytest.raises(QuotaExceeded):
            await ask(hub, session_for(hub))
        with pytest.raises(QuotaExceeded):
            await hub.fork(ANN, source.session, Fork("t1"))
    await ask(two, other)
    await other.done(2)
    for hub, source in ((one, reader), (two, other)):
        with pytest.raises(RateLimited) as refused:
            await ask(hub, source)
        assert refused.value.retry_after == pytest.approx(15.0, abs=2.0)
    assert sum((await two.admission.limits.usage("ann")).values()) == 150


async def test_the_day_is_one_on_all_nodes(nodes: Nodes) -> None:
    """What a running turn has reserved on one is not there on the other."""
    held, allowance = asyncio.Event(), Allowance(tokens_per_day=260)
    one, two = await nodes.add(allowance, ["so ", held, USAGE]), await nodes.add(allowance, [USAGE])
    first, second = session_for(one), session_for(two)
    await ask(one, first)
    await first.heard("so ")
    await ask(two, second)
    assert (await second.done()).reason == "stop"  # a hundred more fit, and its prompt
    with pytest.raises(QuotaExceeded):
        await ask(two, second)  # 50 were used since
    held.set()
    await first.done()
    await eventually_equal(lambda: nodes.connections.client.hget(keys_of("ann")[3], "total"), b"0")
    await ask(two, second)
    assert (await second.done(2)).reason == "stop"


async def test_without_redis_questions_are_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`overloaded`, to be asked again; nothing of them is in a log.

    What was admitted goes on, and one that waits for other nodes starts once Redis is back.
    """
    held, allowance = asyncio.Event(), Allowance(turns=2, rates=Rates(questions=9))
    hub = await nodes.add(allowance, ["so ", held], ["so ", held], ["yes"])
    readers = [session_for(hub) for _ in range(4)]
    for reader in readers[:2]:
        await ask(hub, reader)
        await reader.heard("so ")
    await ask(hub, readers[2])

    async def fail(calls: Sequence[object]) -> list[StoreError]:
        return [StoreError() for _ in calls]

    with monkeypatch.context() as broken:
        broken.setattr(nodes.connections, "run_all", fail)
        with pytest.raises(Overloaded) as refused:
            await ask(hub, readers[3])
        assert (refused.value.retry_after, refused.value.retryable, readers[3].questions) == (2.0, True, [])
        held.set()
        for reader in readers[:2]:
            assert (await reader.done()).reason == "stop"
    assert (await readers[2].done()).reason == "stop"


async def test_what_was_counted_for_a_session_that_changed_meanwhile_is_given_back(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is refused after it was counted, as its session is gone; the next one is taken."""
    hub = await nodes.add(Allowance(rates=Rates(questions=1, characters=5), sessions=1, turns=1), ["yes"])
    reader, run_all = session_for(hub), nodes.connections.run_all

    async def close_meanwhile(calls: Sequence[ScriptCall]) -> list[Outcome]:
        outcomes = await run_all(calls)
        owner_of(hub, reader).closed = Overloaded("elsewhere")
        return outcomes

    with monkeypatch.context() as changed:
        changed.setattr(nodes.connections, "run_all", close_meanwhile)
        with pytest.raises(Overloaded, match="elsewhere"):
            await ask(hub, reader)
    await nodes.running(0)
    again = session_for(hub)
    await ask(hub, again)
    await again.done()
