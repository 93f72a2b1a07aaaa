"""SQLiteStore: a vacuum takes as long as it takes, and stops nothing but what writes tables."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from askbot_ws.errors import StoreError
from askbot_ws.store.sqlite import store as store_module
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flush, read_merged, wait_until
from .files import head_in_tables


class LongVacuum:
    """Takes the place of the vacuum; it runs until it is broken off, or `end` is set."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.begun.set()
        connection.set_progress_handler(self.end.is_set, 1000)
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


@pytest.fixture
def vacuum(monkeypatch: pytest.MonkeyPatch) -> Iterator[LongVacuum]:
    long = LongVacuum()
    monkeypatch.setattr(store_module, "vacuum", long)
    yield long
    long.end.set()


async def test_events_are_stored_and_the_store_is_well_meanwhile(store: SQLiteStore, vacuum: LongVacuum) -> None:
    """Answers go on, and `/readyz` is green; a deletion waits for the tables, and counts at once."""
    for name in ("s", "gone"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", "text"))
    await flush(store)
    vacuuming = asyncio.create_task(store.vacuum())
    await wait_until(vacuum.begun.is_set)

    factory = EventFactory("s", head=6)
    async with asyncio.timeout(2):
        await append(store, *factory.turn("t2", "more text"))
        await store.ping()
        assert len(await store.turns("s", limit=9)) == 2
    forgetting = asyncio.create_task(store.forget("gone"))
    await asyncio.sleep(0.05)
    assert not forgetting.done()
    assert await read_merged(store, "s", after=6)
    vacuum.end.set()
    with pytest.raises(StoreError):  # this one was broken off by its handler
        await vacuuming
    await forgetting


async def test_a_store_that_is_closed_breaks_it_off(path: Path, vacuum: LongVacuum) -> None:
    """A server that stops doesn't wait for it, and what was stored is there."""
    store = SQLiteStore(path)
    await store.open()
    store.create("s")
    await append(store, *EventFactory().turn("t", "text"))
    vacuuming = asyncio.create_task(store.vacuum())
    await wait_until(vacuum.begun.is_set)

    async with asyncio.timeout(5):
        await store.close()

    with pytest.raises(StoreError):
        await vacuuming
    assert head_in_tables(path) == 6
