"""SQLiteStore: what is forgotten is gone, from every file."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.log_tail import utf8_size
from askbot_ws.errors import SessionNotFound, StoreError
from askbot_ws.events import Event, Token
from askbot_ws.store.sqlite import flusher, tables
from askbot_ws.store.sqlite.journal import Journal
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import (
    Clock,
    EventFactory,
    append,
    flatten,
    flush,
    limited_file_size,
    read_merged,
    try_append,
    wait_until,
)
from .files import SECRET, files_containing, head_in_tables, segments


async def test_what_is_forgotten_is_on_no_disk(store: SQLiteStore, path: Path) -> None:
    """Flushed and not flushed, tables, write-ahead log and journal: no file has the bytes; others lose nothing."""
    secret, other = EventFactory("secret"), EventFactory("other")
    for factory in (secret, other):
        store.create(factory.session)
    await append(store, *secret.turn("t1", SECRET, "x" * 10_000, SECRET), other.question("t"), other.token("t", "text"))
    await append(store, secret.question("t0"), secret.thinking("t0", f"{SECRET} {SECRET}"), secret.done("t0"))
    await flush(store)
    await append(store, secret.question("t2", SECRET), secret.token("t2", SECRET), secret.thinking("t2", SECRET))
    assert files_containing(path, SECRET.encode())

    await store.forget("secret")

    assert files_containing(path, SECRET.encode()) == []
    await append(store, other.token("t", " and more"))
    assert flatten(await read_merged(store, "other")) == flatten(other.events)
    await store.close_without_flush()
    again = SQLiteStore(path)
    assert await again.open() == ["other"]
    assert flatten(await read_merged(again, "other")) == flatten(other.events)
    with pytest.raises(SessionNotFound):
        await again.load("secret")
    await again.close()


async def test_to_forget_survives_a_crash_in_the_middle(store: SQLiteStore, path: Path) -> None:
    """Once the record is in the journal, the next start finishes it, and keeps what began again under the name."""
    store.create("s")
    await append(store, *EventFactory().turn("t", SECRET))
    await flush(store)
    await append(store, EventFactory(head=28).question("t2", SECRET))
    store.journal.append_deletions(["s"])
    store.flusher.mark_deleted(["s"])
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "again"))
    await store.close_without_flush()

    again = SQLiteStore(path)
    assert await again.open() == []
    assert flatten(await read_merged(again)) == flatten(factory.events)
    await again.close()
    assert files_containing(path, SECRET.encode()) == []


async def test_to_forget_survives_a_crash_before_the_journal_is_trimmed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has the end of a log of which the tables have nothing more: no damage, and no file that keeps it."""
    store = SQLiteStore(path)
    await store.open()
    factories = [EventFactory("s"), EventFactory("other")]
    for factory in factories:
        store.create(factory.session)
    for _ in range(2):
        await append(store, *(event for factory in factories for event in factory.turn(f"t{factory.head + 1}", SECRET)))
        await flush(store)
        monkeypatch.setattr(Journal, "trim", fails)  # as where we die just before it
    history = (await store.load("other")).history
    await store.forget("s")
    await store.close_without_flush()
    monkeypatch.undo()

    again = SQLiteStore(path)
    with capture_logs() as logs:
        await again.open()
    assert [line for line in logs if line["log_level"] == "error"] == []
    log = await again.load("other")
    assert (log.head, log.history) == (factories[1].head, history)
    await again.forget("other")
    await again.close()
    assert files_containing(path, SECRET.encode()) == []


def fails(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


async def test_what_is_forgotten_while_the_file_is_locked_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all readers at once, and from the disk as soon as that can be. Others go on."""
    monkeypatch.setattr(flusher, "MAX_RETRY_SECONDS", 0.05)
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    store.create("s")
    await append(store, *EventFactory().turn("t", SECRET))
    await flush(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.forget("s")
        with pytest.raises(SessionNotFound):
            await store.turns("s", limit=1)
        with pytest.raises(SessionNotFound):
            await store.load("s")

    await wait_until(lambda: not files_containing(path, SECRET.encode()))
    await store.close()


async def test_what_is_forgotten_while_the_file_is_locked_is_gone_for_the_next_process_too(path: Path) -> None:
    """Also where the journal is empty: all of the session is in the tables, and nobody could delete it from there."""
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    for name in ("s", "other"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", SECRET if name == "s" else "text"))
    await flush(store)
    assert not segments(path)[0].stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.forget("s")
        await store.close_without_flush()

    again = SQLiteStore(path)
    await again.open()
    with pytest.raises(SessionNotFound):
        await again.load("s")
    assert (await again.turns("other", limit=1))[0].answer == "text"
    await wait_until(lambda: not files_containing(path, SECRET.encode()))
    await again.close()


async def test_what_was_forgotten_while_the_file_was_locked_costs_nobody_else_anything(path: Path) -> None:
    """Late events of that session fail by themselves, for ever; all others are stored."""
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    gone, other = EventFactory("gone"), EventFactory("other")
    for factory in (gone, other):
        store.create(factory.session)
    await append(store, gone.question("t"), other.question("t"))
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        await store.forget("gone")
        for _ in range(3):
            failures = await try_append(store, gone.token("t", "late"), other.token("t", "text"))
            assert failures.keys() == {"gone"}
    await append(store, other.done("t"))
    assert flatten(await read_merged(store, "other")) == flatten(other.events)
    await store.close()


async def test_what_cannot_be_written_as_forgotten_is_as_it_was(store: SQLiteStore, path: Path) -> None:
    """A full disk: an error, and everything is there, in memory, in the tables and after a restart."""
    factory = EventFactory()
    store.create("s")
    await append(store, *factory.turn("t", "text"))
    await flush(store)
    await append(store, factory.question("t2"))

    with limited_file_size(segments(path)[0].stat().st_size), pytest.raises(StoreError):
        await store.forget("s")

    await append(store, factory.token("t2", "more"))
    assert flatten(await read_merged(store)) == flatten(factory.events)
    await store.close_without_flush()
    again = SQLiteStore(path)
    assert await again.open() == ["s"]
    assert flatten(await read_merged(again)) == flatten(factory.events)
    await again.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_session_that_is_forgotten_twice_at_once_is_gone(path: Path, *, fsync: bool) -> None:
    """The second life of its name, too, whenever each of them moves into the tables."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    for ticks in range(12):
        store.create("s")
        await append(store, *EventFactory().turn("t", SECRET))
        first = asyncio.create_task(store.forget("s"))
        while not store.flusher.pending_deletions:  # noqa: ASYNC110  it is so for a moment only
            await asyncio.sleep(0)
        store.create("s")
        await append(store, *EventFactory().turn("t", SECRET))
        moving = asyncio.create_task(store.flusher.flush())
        for _ in range(ticks):
            await asyncio.sleep(0)
        await store.forget("s")
        await asyncio.gather(first, moving)
        with pytest.raises(SessionNotFound):
            await store.load("s")
        assert files_containing(path, SECRET.encode()) == []
    await store.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_sweep_leaves_what_is_being_loaded(path: Path, *, fsync: bool) -> None:
    """However the two meet: what is handed out can be written to, or was not handed out."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    for ticks in range(30):
        store.create("s")
        await append(store, *EventFactory().turn("t", "text"))
        store.release("s")
        await flush(store)

        sweeping = asyncio.create_task(store.sweep(idle=-1))
        for _ in range(ticks):
            await asyncio.sleep(0)
        if ticks % 3 == 0:
            await asyncio.sleep(0.001 * (ticks % 7))
        try:
            log = await store.load("s")
        except SessionNotFound:
            assert await sweeping == 1
            continue
        await append(store, *EventFactory(head=log.head).turn("t2", "more"))
        assert await sweeping == 0
        assert len(await store.turns("s", limit=9)) == 2
        await store.forget("s")
    await store.close()


async def test_a_sweep_leaves_what_was_used_since_it_looked(path: Path) -> None:
    """Loaded, added to, released and flushed, all while the sweep's question was on its way."""
    clock = Clock()
    store = SQLiteStore(path, clock=clock)
    await store.open()
    store.create("s")
    await append(store, *EventFactory().turn("t", "text"))
    store.release("s")
    await flush(store)
    asked, go = asyncio.Event(), asyncio.Event()
    run = store.reader.run

    async def slow(job: Any) -> Any:
        answer = await run(job)
        if getattr(job, "func", None) is tables.idle_sessions and answer:
            asked.set()
            await go.wait()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.reader, "run", slow)
        clock.now += 100
        sweeping = asyncio.create_task(store.sweep(idle=50))
        await asked.wait()
        log = await store.load("s")
        await append(store, *EventFactory(head=log.head).turn("t2", "more"))
        store.release("s")
        await flush(store)
        go.set()

        assert await sweeping == 0
    assert len(await store.turns("s", limit=9)) == 2
    await store.close()


async def test_a_sweep_that_meets_a_locked_file_comes_to_an_end(path: Path) -> None:
    """And what it had begun to delete is gone all the same."""
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    for number in range(250):
        store.create(f"s{number}")
        await append(store, *EventFactory(f"s{number}").turn("t", "text"))
        store.release(f"s{number}")
    await flush(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            async with asyncio.timeout(5):
                await store.sweep(idle=-1)
    assert await store.sweep(idle=-1) == 250
    await store.close()


# --- while somebody reads the file -----------------------------------------------------------------------------------


@contextmanager
def long_read(path: Path) -> Generator[sqlite3.Connection]:
    """A backup, or an analyst's transaction: SQLite can't empty its write-ahead log meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        yield reader
        reader.execute("ROLLBACK")


@pytest.mark.parametrize("by", ["forget", "sweep"])
async def test_a_long_read_and_a_deletion_stop_nobodys_flushing(path: Path, by: str) -> None:
    """Journal and memory stay as small as they are without; only the scrubbing waits, until the reader has gone."""
    store = SQLiteStore(path, segment_bytes=50_000, busy_timeout=0.5)
    await store.open()
    for name in ("secret", "other"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", SECRET if name == "secret" else "text"))
    store.release("secret")
    await flush(store)
    log = await store.load("other")
    with long_read(path):
        async with asyncio.timeout(5):
            await (store.forget("secret") if by == "forget" else store.sweep(idle=-1))
        with pytest.raises(SessionNotFound):
            await store.load("secret")
        factory = EventFactory("other", head=log.head)
        for number in range(300):
            await append(store, *factory.turn(f"x{number}", "x" * 1_000))
            if number % 20 == 0:
                await flush(store)
        await flush(store)

        assert head_in_tables(path, "other") == factory.head
        assert sum(segment.stat().st_size for segment in segments(path)) == 0
        assert (
            sum(utf8_size(event.text) for event in log.events if isinstance(event, Token)) <= flusher.FLUSHED_TAIL_BYTES
        )
        assert files_containing(path, SECRET.encode())  # the reader may still read it

    await wait_until(lambda: not files_containing(path, SECRET.encode()))
    await store.close()


async def test_what_is_to_be_scrubbed_is_remembered_by_the_next_process(path: Path) -> None:
    """Killed in the middle of a forget, while somebody read: the text goes once that can be."""
    store = SQLiteStore(path, busy_timeout=0.1)
    await store.open()
    store.create("secret")
    await append(store, *EventFactory("secret").turn("t", SECRET))
    await flush(store)
    with long_read(path):
        await store.forget("secret")
        await store.close_without_flush()
        again = SQLiteStore(path, busy_timeout=0.1)
        await again.open()
        assert files_containing(path, SECRET.encode())

    await wait_until(lambda: not files_containing(path, SECRET.encode()))
    await again.close()


async def test_a_load_that_meets_a_forget_does_not_bring_it_back(store: SQLiteStore) -> None:
    """Whoever asked first: a log of a session that is gone would be written to."""
    store.create("s")
    await append(store, *EventFactory().turn("t", "text"))
    store.release("s")
    await flush(store)

    loading = asyncio.create_task(store.load("s"))
    await asyncio.sleep(0)
    await store.forget("s")

    with pytest.raises(SessionNotFound):
        await loading


async def test_a_forget_that_meets_a_flush_wins(store: SQLiteStore, path: Path) -> None:
    """What is on its way into the tables is deleted from there; what begins again under the name stays."""
    store.create("s")
    await append(store, *EventFactory().turn("t", SECRET))
    moving = asyncio.create_task(store.flusher.flush())
    await asyncio.sleep(0)
    forgetting = asyncio.create_task(store.forget("s"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it is a task of its own, so that nobody's leaving stops it
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "again"))

    await moving
    await forgetting

    assert files_containing(path, SECRET.encode()) == []
    await flush(store)
    assert flatten(await read_merged(store)) == flatten(factory.events)


async def test_a_sweep_of_many_is_not_one_long_lock(store: SQLiteStore) -> None:
    """More than one chunk, all of them."""
    for number in range(250):
        store.create(f"s{number}")
        events: list[Event] = EventFactory(f"s{number}").turn("t", "text")
        await append(store, *events)
        store.release(f"s{number}")
    await flush(store)

    assert await store.sweep(idle=-1) == 250
    assert await store.sweep(idle=-1) == 0
