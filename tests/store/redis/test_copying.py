"""Copies from one kind of store to another, and what Redis keeps for how many bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.events import Check, Done, Event
from askbot_ws.store import ANY_USER, SessionQuery
from askbot_ws.store.copying import SettableClock, check_sessions, copy_sessions
from askbot_ws.store.redis.keys import keys_of
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.store.sqlite.store import SQLiteStore
from tests.redis_server import RedisServer

from ..event_factory import EventFactory, append, flatten, read_merged


def proved_turn(factory: EventFactory, turn: str, *texts: str) -> list[Event]:
    """A turn whose `done` has the proof of its text."""
    *events, done = factory.turn(turn, *texts, id=f"a{turn}")
    assert isinstance(done, Done)
    text = "".join(texts)
    proof = Check(chars=len(text), sha256=hashlib.sha256(text.encode()).hexdigest())
    proved = factory.events[-1] = replace(done, check=proof)
    return [*events, proved]


async def test_a_store_is_copied_to_redis_and_back(redis: RedisServer, tmp_path: Path) -> None:
    """Every event, with its user, its time and the tokens used; a check says the same of all three."""
    clock = SettableClock()
    first, second = SQLiteStore(tmp_path / "a.db", wall_clock=clock), SQLiteStore(tmp_path / "b.db", wall_clock=clock)
    between = RedisStore(redis.url, wall_clock=clock)
    stores = (first, between, second)
    for store in stores:
        await store.open()
    factories = [EventFactory(name) for name in ("s1", "s2", "s3")]
    for number, factory in enumerate(factories):
        clock.now = 1_700_000_000.0 + number
        first.create(factory.session, user="ann" if number else None)
        await append(first, *proved_turn(factory, "t1", "x" * 200_000, "é🙂\n"), factory.title("title"))
        await append(first, factory.question("t2"), factory.thinking("t2", "hm"), factory.token("t2", "half"))
    await first.add_usage("ann", "2100-01-01", 7)

    assert await copy_sessions(first, between, clock) == 3
    assert await copy_sessions(between, second, clock) == 3

    reports = [await check_sessions(store) for store in stores]
    assert [report.faults for report in reports] == [[], [], []]
    assert reports[0].facts == reports[1].facts == reports[2].facts
    assert (await second.usage("ann")) == {"2100-01-01": 7}
    pages = [await store.list_sessions(SessionQuery(ANY_USER), limit=9) for store in stores]
    assert pages[0] == pages[1] == pages[2]
    for factory in factories:
        assert flatten(await read_merged(second, factory.session)) == flatten(factory.events)
    with pytest.raises(ConfigError, match="has sessions"):
        await copy_sessions(first, between, clock)
    for store in stores:
        await store.close()


async def test_a_check_finds_what_is_missing(redis: RedisServer) -> None:
    """Text that is not what its proof says, and a log that is shorter than its head."""
    store = RedisStore(redis.url)
    await store.open()
    for name in ("whole", "short", "wrong"):
        store.create(name)
        factory = EventFactory(name)
        turn = factory.turn("t1", "text") if name == "wrong" else proved_turn(factory, "t1", "text")
        await append(store, *turn)
        store.release(name)
    await store.tasks.wait_all()
    await store.connections.client.delete(keys_of("short").parts)

    assert sorted((await check_sessions(store)).faults) == [
        "session short: its head is said to be at 6, and its events end at 0",
        "session wrong: the text of turn t1 is not what its proof says",
    ]
    await store.close()


async def test_a_session_takes_as_much_memory_as_the_docs_say(redis: RedisServer) -> None:
    """docs/redis.md: 4 KB for a session, and 1.2 KB for each turn beside its text. An idle one has nothing else."""
    store = RedisStore(redis.url)
    await store.open()
    text = "The sky is blue. " * 40

    def used() -> int:
        found = redis.command("INFO", "memory")
        assert isinstance(found, bytes)
        return int(found.split(b"used_memory:")[1].split()[0])

    costs: list[float] = []
    for turns, count in ((0, 1), (1, 200), (11, 200)):
        before = used()
        for number in range(count):
            factory = EventFactory(f"{turns}-{number}-0123456789abcdef")
            store.create(factory.session, user=f"user{number}")
            for _ in range(max(turns, 1)):
                question, *answer = factory.turn(f"t{factory.head + 1}", text, id=f"{factory.head:022d}")
                await append(store, question)
                await append(store, *answer)
            store.release(factory.session)
        await store.tasks.wait_all()
        costs.append((used() - before) / count)
    per_turn = (costs[2] - costs[1]) / 10 - len(text)
    assert 500 < per_turn < 1_250
    assert costs[1] - len(text) - per_turn < 4_300
    await store.close()
