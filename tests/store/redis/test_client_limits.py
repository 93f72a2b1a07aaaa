"""Limits of clients that hold on all nodes together: two of them, on one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import pytest

from askbot_ws.core.allowance import Allowance, Client, Rates
from askbot_ws.core.rate_limiter import Amounts, Demand
from askbot_ws.core.token_budget import day_of
from askbot_ws.core.turn import Charge
from askbot_ws.errors import Overloaded, QuotaExceeded, RateLimited, StoreError
from askbot_ws.events import Question
from askbot_ws.hub.client_limits import ClientLimits
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.redis.client_limits import RedisLimits
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.limit_calls import keys_of
from askbot_ws.store.redis.pipeline_run import Outcome
from askbot_ws.store.redis.scripts import ScriptCall
from tests.redis_server import RedisServer

LEASE = 0.6
ONE = Demand(Amounts(questions=1, characters=10, tokens=100), starts=True)


@dataclass(slots=True)
class Nodes:
    """Two nodes with one store."""

    store: MemoryStore
    one: RedisLimits
    two: RedisLimits
    connections: RedisConnections

    def make(self) -> RedisLimits:
        return RedisLimits(self.store, lambda: self.connections, lease=LEASE)


@pytest.fixture
async def nodes(connections: RedisConnections) -> AsyncGenerator[Nodes]:
    store = MemoryStore()
    await store.open()
    one, two = (RedisLimits(store, lambda: connections, lease=LEASE) for _ in range(2))
    await one.open()
    await two.open()
    yield Nodes(store, one, two, connections)
    await one.close()
    await two.close()
    await store.close()


def client(user: str = "ann", **allowance: object) -> Client:
    return Client(user, user, None, Allowance(**allowance))  # type: ignore[arg-type]


async def acquire(limits: ClientLimits, who: Client, demand: Demand = ONE) -> Charge:
    charge = Charge(who, rate_tokens=demand.amounts.tokens)
    pending = limits.acquire(charge, demand)
    if pending is not None:
        await pending
    return charge


async def settled() -> None:
    """Wait until what nobody waits for has been done."""
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("rates", "demand", "wait"),
    [
        (Rates(questions=4), Demand(Amounts(questions=1)), 15.0),
        (Rates(characters=40), Demand(Amounts(questions=1, characters=10)), 15.0),
        (Rates(tokens=400), Demand(Amounts(questions=1, tokens=100)), 15.0),
    ],
)
async def test_what_one_node_took_the_other_has_not(nodes: Nodes, rates: Rates, demand: Demand, wait: float) -> None:
    """Of each rate; the refusal says when the next is taken, and costs nothing. Another user has its own."""
    who = client(rates=rates)
    for limits in (nodes.one, nodes.two, nodes.one, nodes.two):
        await acquire(limits, who, demand)
    for limits in (nodes.one, nodes.two) * 3:
        with pytest.raises(RateLimited) as refused:
            await acquire(limits, who, demand)
        assert refused.value.retry_after == pytest.approx(wait, abs=1.0)
    await acquire(nodes.one, client("bob", rates=rates), demand)


async def test_of_questions_at_the_same_time_so_many_are_taken(nodes: Nodes) -> None:
    """Whichever node they come to."""
    who = client(rates=Rates(questions=7))
    asked = [acquire(limits, who) for limits in (nodes.one, nodes.two) * 10]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(outcome, Charge) for outcome in outcomes].count(True) == 7


async def test_a_refusal_by_one_limit_takes_nothing_of_the_others(nodes: Nodes) -> None:
    """And what is given back can be taken again, on the other node."""
    who = client(rates=Rates(questions=2, characters=15))
    first = await acquire(nodes.one, who)
    with pytest.raises(RateLimited):
        await acquire(nodes.two, who)
    await acquire(nodes.two, who, Demand(Amounts(questions=1)))
    nodes.one.refund(first, ONE)
    await settled()
    await acquire(nodes.two, who)


async def test_tokens_are_corrected_by_what_was_used(nodes: Nodes) -> None:
    """On the other node too."""
    who = client(rates=Rates(tokens=1000))
    demand = Demand(Amounts(questions=1, tokens=900))
    charge = await acquire(nodes.one, who, demand)
    with pytest.raises(RateLimited):
        await acquire(nodes.two, who, demand)
    nodes.one.settle(charge, used=50, started=True)
    await settled()
    await acquire(nodes.two, who, demand)


async def test_running_turns_are_counted_together_and_end_with_their_node(nodes: Nodes) -> None:
    """One that waits starts once another ends, or once the node that ran it does not renew it any more."""
    who = client(turns=2)
    dead = nodes.make()  # it renews nothing
    first, second, third = [await acquire(limits, who) for limits in (nodes.one, dead, nodes.two)]
    assert (nodes.one.may_start(first), dead.may_start(second), nodes.two.may_start(third)) == (True, True, False)
    began = time.monotonic()
    await asyncio.wait_for(nodes.two.wait_to_start(third), 5)
    assert time.monotonic() - began > LEASE / 2
    assert nodes.two.may_start(third)

    fourth = Charge(who)
    waiting = asyncio.create_task(nodes.one.wait_to_start(fourth))
    await asyncio.sleep(2 * LEASE)
    assert not waiting.done()  # both are renewed
    nodes.one.settle(first, used=0, started=True)
    await asyncio.wait_for(waiting, 5)
    assert await nodes.connections.client.zcard(keys_of("ann")[1]) == 2


async def test_a_turn_that_is_cancelled_while_it_waits_takes_no_place(nodes: Nodes) -> None:
    """Also where it had just got one."""
    who = client(turns=1)
    first = await acquire(nodes.one, who)
    waiting = [asyncio.create_task(nodes.two.wait_to_start(Charge(who))) for _ in range(3)]
    await asyncio.sleep(0.05)
    nodes.one.settle(first, used=0, started=False)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await settled()
    assert nodes.one.may_start(await acquire(nodes.one, who))


async def test_a_turn_that_was_counted_as_it_was_cancelled_takes_no_place(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as it waits for others nor as its question is counted."""
    counted, run_all = asyncio.Event(), nodes.connections.run_all

    async def lose_the_reply(calls: Sequence[ScriptCall]) -> list[Outcome]:
        await run_all(calls)
        counted.set()
        return await asyncio.Future()

    who = client(turns=5)
    for work in (nodes.one.wait_to_start(Charge(who)), acquire(nodes.one, who)):
        with monkeypatch.context() as lost:
            lost.setattr(nodes.connections, "run_all", lose_the_reply)
            task = asyncio.create_task(work)
            await counted.wait()
        assert await nodes.connections.client.zcard(keys_of("ann")[1]) == 1
        task.cancel()
        await asyncio.wait([task])
        await settled()
        assert await nodes.connections.client.zcard(keys_of("ann")[1]) == 0
        counted.clear()


async def test_tokens_that_are_not_stored_yet_count(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least for their own node, when the day is read from the store."""
    who, add_usage = client(tokens_per_day=1000), nodes.store.add_usage

    async def fail(user: str, day: str, tokens: int) -> int:
        if tokens:
            raise StoreError
        return await add_usage(user, day, 0)

    monkeypatch.setattr(nodes.store, "add_usage", fail)
    nodes.one.count_tokens("ann", 950)
    await settled()
    with pytest.raises(QuotaExceeded):
        await acquire(nodes.one, who)
    monkeypatch.undo()


async def test_a_day_is_reserved_and_used_together(nodes: Nodes) -> None:
    """Read from the store once; what a turn has reserved counts until its use is stored, and ends with its node."""
    day = day_of(time.time())
    await nodes.store.add_usage("ann", day, 400)
    who = client(tokens_per_day=1000)
    charge = await acquire(nodes.one, who)
    await nodes.one.reserve(charge, 500)
    with pytest.raises(QuotaExceeded) as refused:
        await acquire(nodes.two, who, Demand(Amounts(questions=1, tokens=101)))
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 86_400
    other = await acquire(nodes.two, who)
    with pytest.raises(QuotaExceeded):
        await nodes.two.reserve(other, 101)
    nodes.one.settle(charge, used=50, started=True)
    await settled()
    assert await nodes.store.add_usage("ann", day, 0) == 450

    await nodes.two.reserve(other, 540)
    kept = await acquire(nodes.one, who, Demand(Amounts(questions=1, tokens=10)))
    await nodes.one.reserve(kept, 10)
    with pytest.raises(QuotaExceeded):
        await acquire(nodes.one, who)
    await asyncio.sleep(1.5 * LEASE)
    with pytest.raises(QuotaExceeded):
        await acquire(nodes.one, who)  # it is renewed
    nodes.two._held.clear()  # pyright: ignore[reportPrivateUsage] - as if its node had died
    await asyncio.sleep(1.5 * LEASE)
    await acquire(nodes.one, who, Demand(Amounts(questions=1, tokens=540)))

    nodes.one.count_tokens("ann", 500)
    await settled()
    with pytest.raises(QuotaExceeded):
        await acquire(nodes.two, who)
    assert await nodes.two.usage("ann") == {day: 950}
    await nodes.two.forget_usage("ann")
    await acquire(nodes.one, who)


async def test_sessions_are_counted_together(nodes: Nodes) -> None:
    """By what the store has at first; deleting one makes room on each node. Nobody's are not counted."""
    for number in range(2):
        log = nodes.store.create(f"s{number}", user="ann")
        event = Question(session=log.session, seq=1, turn="t1", id=None, text="?", created=1.0)
        assert nodes.store.append({log.session: ((event,), (b"{}",))}) == {}
    who, new = client(sessions=4), Demand(Amounts(questions=1), new_session=True)
    outcomes = await asyncio.gather(
        *[acquire(limits, who, new) for limits in (nodes.one, nodes.two) * 3], return_exceptions=True
    )
    assert [isinstance(outcome, Charge) for outcome in outcomes].count(True) == 2
    assert {type(outcome) for outcome in outcomes} == {Charge, QuotaExceeded}
    nobody = Client(" 192.0.2.1", None, None, who.allowance)
    await acquire(nodes.one, nobody, new)
    nodes.two.session_deleted("ann")
    nodes.two.session_deleted(None)
    await settled()
    asked = [acquire(limits, who, new) for limits in (nodes.one, nodes.two) * 3]  # the store has two, and is asked
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(outcome, Charge) for outcome in outcomes].count(True) == 2


async def test_without_the_server_no_question_is_taken(redis_alone: RedisServer) -> None:
    """`overloaded`, with when to come again; what runs is renewed once the server is back, though it forgot all."""
    connections = await RedisConnections.open(redis_alone.url)
    store = MemoryStore()
    await store.open()
    limits, who = RedisLimits(store, lambda: connections, lease=LEASE), client(turns=1, rates=Rates(questions=60))
    await limits.open()
    charge = await acquire(limits, who)
    redis_alone.kill()
    with pytest.raises(Overloaded) as refused:
        await acquire(limits, who)
    assert refused.value.retry_after
    with pytest.raises(StoreError):
        await limits.reserve(Charge(client(tokens_per_day=5)), 1)
    redis_alone.start()
    for _ in range(200):
        await asyncio.sleep(0.05)
        if await connections.client.zcard(keys_of("ann")[1]):
            break
    assert not limits.may_start(await acquire(limits, who))
    limits.settle(charge, used=0, started=True)
    await limits.close()
    await connections.close()


async def test_a_question_costs_one_round_trip(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all limits of the defaults: rates, sessions and running turns; its end one for which nobody waits."""
    calls: list[int] = []
    run_all = nodes.connections.run_all

    async def counted(batch: object) -> object:
        calls.append(len(batch))  # type: ignore[arg-type]
        return await run_all(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(nodes.connections, "run_all", counted)
    who = client(rates=Rates(5, 5, 5000, 5000), turns=5)
    charge = await acquire(nodes.one, who)
    assert (calls, nodes.one.may_start(charge)) == ([1], True)
    await nodes.one.reserve(charge, 100)
    assert calls == [1]
    nodes.one.settle(charge, used=100, started=True)
    await settled()
    assert calls == [1, 1]
    assert nodes.one.acquire(Charge(client()), ONE) is None  # nothing of this one is limited
    assert calls == [1, 1]


def test_the_keys_of_any_client_are_in_one_slot() -> None:
    """Whatever braces its name has."""
    for name in ("ann", "}", "{}", "a}b", " 192.0.2.1", "ä{"):
        tags = {key[key.index("{") + 1 : key.index("}")] for key in keys_of(name)}
        assert len(tags) == 1
        assert "" not in tags
