"""SQLiteStore: what is forgotten is gone, from every file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from askbot_ws.errors import SessionNotFound, StoreError
from askbot_ws.events import Event
from askbot_ws.store.sqlite import flush as settling
from askbot_ws.store.sqlite.store import SQLiteStore

from .files import SECRET, on_disk
from .story import Story, add, eventually, flat, read_all, settle


async def test_what_is_forgotten_is_on_no_disk(store: SQLiteStore, path: Path) -> None:
    """Settled and unsettled, tables, write-ahead log and journal: no file has the bytes; others lose nothing."""
    secret, other = Story("secret"), Story("other")
    for story in (secret, other):
        store.create(story.session)
    await add(store, *secret.turn("t1", SECRET, "x" * 10_000, SECRET), other.question("t"), other.token("t", "text"))
    await settle(store)
    await add(store, secret.question("t2", SECRET), secret.token("t2", SECRET))
    assert on_disk(path, SECRET.encode())

    await store.forget("secret")

    assert on_disk(path, SECRET.encode()) == []
    await add(store, other.token("t", " and more"))
    assert flat(await read_all(store, "other")) == flat(other.events)
    await store.abandon()
    again = SQLiteStore(path)
    assert await again.open() == ["other"]
    assert flat(await read_all(again, "other")) == flat(other.events)
    with pytest.raises(SessionNotFound):
        await again.load("secret")
    await again.close()


async def test_to_forget_survives_a_crash_in_the_middle(store: SQLiteStore, path: Path) -> None:
    """Once the record is in the journal, the next start finishes it, and keeps what began again under the name."""
    store.create("s")
    await add(store, *Story().turn("t", SECRET))
    await settle(store)
    await add(store, Story(head=28).question("t2", SECRET))
    store.journal.forget(["s"])
    store.settler.doom(["s"])
    store.create("s")
    story = Story()
    await add(store, *story.turn("t", "again"))
    await store.abandon()

    again = SQLiteStore(path)
    assert await again.open() == []
    assert flat(await read_all(again)) == flat(story.events)
    await again.close()
    assert on_disk(path, SECRET.encode()) == []


async def test_what_could_not_be_forgotten_is_said_and_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is locked: an error now, gone for all readers at once, and from the disk as soon as that can be."""
    monkeypatch.setattr(settling, "RETRY_S", 0.05)
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    store.create("s")
    await add(store, *Story().turn("t", SECRET))
    await settle(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            await store.forget("s")
        with pytest.raises(SessionNotFound):
            await store.turns("s", limit=1)
        with pytest.raises(SessionNotFound):
            await store.load("s")

    await eventually(lambda: not on_disk(path, SECRET.encode()))
    await store.close()


async def test_a_load_that_meets_a_forget_does_not_bring_it_back(store: SQLiteStore) -> None:
    """Whoever asked first: a log of a session that is gone would be written to."""
    store.create("s")
    await add(store, *Story().turn("t", "text"))
    store.release("s")
    await settle(store)

    loading = asyncio.create_task(store.load("s"))
    await asyncio.sleep(0)
    await store.forget("s")

    with pytest.raises(SessionNotFound):
        await loading


async def test_a_forget_that_meets_a_settling_wins(store: SQLiteStore, path: Path) -> None:
    """What is on its way into the tables is deleted from there; what begins again under the name stays."""
    store.create("s")
    await add(store, *Story().turn("t", SECRET))
    moving = asyncio.create_task(store.settler.now())
    await asyncio.sleep(0)
    forgetting = asyncio.create_task(store.forget("s"))
    await asyncio.sleep(0)
    store.create("s")
    story = Story()
    await add(store, *story.turn("t", "again"))

    await moving
    await forgetting

    assert on_disk(path, SECRET.encode()) == []
    await settle(store)
    assert flat(await read_all(store)) == flat(story.events)


async def test_a_sweep_of_many_is_not_one_long_lock(store: SQLiteStore) -> None:
    """More than one chunk, all of them."""
    for number in range(250):
        store.create(f"s{number}")
        events: list[Event] = Story(f"s{number}").turn("t", "text")
        await add(store, *events)
        store.release(f"s{number}")
    await settle(store)

    assert await store.sweep(idle=-1) == 250
    assert await store.sweep(idle=-1) == 0
