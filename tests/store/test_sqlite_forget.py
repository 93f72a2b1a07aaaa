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

from .files import SECRET, head_in_tables, on_disk, segments
from .story import Clock, Story, add, eventually, file_limit, flat, flush, read_all, try_add


async def test_what_is_forgotten_is_on_no_disk(store: SQLiteStore, path: Path) -> None:
    """Flushed and not flushed, tables, write-ahead log and journal: no file has the bytes; others lose nothing."""
    secret, other = Story("secret"), Story("other")
    for story in (secret, other):
        store.create(story.session)
    await add(store, *secret.turn("t1", SECRET, "x" * 10_000, SECRET), other.question("t"), other.token("t", "text"))
    await flush(store)
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
    await flush(store)
    await add(store, Story(head=28).question("t2", SECRET))
    store.journal.delete(["s"])
    store.flusher.mark_deleted(["s"])
    store.create("s")
    story = Story()
    await add(store, *story.turn("t", "again"))
    await store.abandon()

    again = SQLiteStore(path)
    assert await again.open() == []
    assert flat(await read_all(again)) == flat(story.events)
    await again.close()
    assert on_disk(path, SECRET.encode()) == []


async def test_to_forget_survives_a_crash_before_the_journal_is_trimmed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has the end of a log of which the tables have nothing more: no damage, and no file that keeps it."""
    store = SQLiteStore(path)
    await store.open()
    stories = [Story("s"), Story("other")]
    for story in stories:
        store.create(story.session)
    for _ in range(2):
        await add(store, *(event for story in stories for event in story.turn(f"t{story.head + 1}", SECRET)))
        await flush(store)
        monkeypatch.setattr(Journal, "trim", fails)  # as where we die just before it
    history = (await store.load("other")).history
    await store.forget("s")
    await store.abandon()
    monkeypatch.undo()

    again = SQLiteStore(path)
    with capture_logs() as logs:
        await again.open()
    assert [line for line in logs if line["log_level"] == "error"] == []
    log = await again.load("other")
    assert (log.head, log.history) == (stories[1].head, history)
    await again.forget("other")
    await again.close()
    assert on_disk(path, SECRET.encode()) == []


def fails(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


async def test_what_is_forgotten_while_the_file_is_locked_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all readers at once, and from the disk as soon as that can be. Others go on."""
    monkeypatch.setattr(flusher, "RETRY_S", 0.05)
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    store.create("s")
    await add(store, *Story().turn("t", SECRET))
    await flush(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.forget("s")
        with pytest.raises(SessionNotFound):
            await store.turns("s", limit=1)
        with pytest.raises(SessionNotFound):
            await store.load("s")

    await eventually(lambda: not on_disk(path, SECRET.encode()))
    await store.close()


async def test_what_is_forgotten_while_the_file_is_locked_is_gone_for_the_next_process_too(path: Path) -> None:
    """Also where the journal is empty: all of the session is in the tables, and nobody could delete it from there."""
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    for name in ("s", "other"):
        store.create(name)
        await add(store, *Story(name).turn("t", SECRET if name == "s" else "text"))
    await flush(store)
    assert not segments(path)[0].stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.forget("s")
        await store.abandon()

    again = SQLiteStore(path)
    await again.open()
    with pytest.raises(SessionNotFound):
        await again.load("s")
    assert (await again.turns("other", limit=1))[0].answer == "text"
    await eventually(lambda: not on_disk(path, SECRET.encode()))
    await again.close()


async def test_what_was_forgotten_while_the_file_was_locked_costs_nobody_else_anything(path: Path) -> None:
    """Late events of that session fail by themselves, for ever; all others are stored."""
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    gone, other = Story("gone"), Story("other")
    for story in (gone, other):
        store.create(story.session)
    await add(store, gone.question("t"), other.question("t"))
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        await store.forget("gone")
        for _ in range(3):
            failures = await try_add(store, gone.token("t", "late"), other.token("t", "text"))
            assert failures.keys() == {"gone"}
    await add(store, other.done("t"))
    assert flat(await read_all(store, "other")) == flat(other.events)
    await store.close()


async def test_what_cannot_be_written_as_forgotten_is_as_it_was(store: SQLiteStore, path: Path) -> None:
    """A full disk: an error, and everything is there, in memory, in the tables and after a restart."""
    story = Story()
    store.create("s")
    await add(store, *story.turn("t", "text"))
    await flush(store)
    await add(store, story.question("t2"))

    with file_limit(segments(path)[0].stat().st_size), pytest.raises(StoreError):
        await store.forget("s")

    await add(store, story.token("t2", "more"))
    assert flat(await read_all(store)) == flat(story.events)
    await store.abandon()
    again = SQLiteStore(path)
    assert await again.open() == ["s"]
    assert flat(await read_all(again)) == flat(story.events)
    await again.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_session_that_is_forgotten_twice_at_once_is_gone(path: Path, *, fsync: bool) -> None:
    """The second life of its name, too, whenever each of them moves into the tables."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    for ticks in range(12):
        store.create("s")
        await add(store, *Story().turn("t", SECRET))
        first = asyncio.create_task(store.forget("s"))
        while not store.flusher.deleted:  # noqa: ASYNC110  it is so for a moment only
            await asyncio.sleep(0)
        store.create("s")
        await add(store, *Story().turn("t", SECRET))
        moving = asyncio.create_task(store.flusher.now())
        for _ in range(ticks):
            await asyncio.sleep(0)
        await store.forget("s")
        await asyncio.gather(first, moving)
        with pytest.raises(SessionNotFound):
            await store.load("s")
        assert on_disk(path, SECRET.encode()) == []
    await store.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_sweep_leaves_what_is_being_loaded(path: Path, *, fsync: bool) -> None:
    """However the two meet: what is handed out can be written to, or was not handed out."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    for ticks in range(30):
        store.create("s")
        await add(store, *Story().turn("t", "text"))
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
        await add(store, *Story(head=log.head).turn("t2", "more"))
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
    await add(store, *Story().turn("t", "text"))
    store.release("s")
    await flush(store)
    asked, go = asyncio.Event(), asyncio.Event()
    run = store.reader.run

    async def slow(job: Any) -> Any:
        answer = await run(job)
        if getattr(job, "func", None) is tables.idle and answer:
            asked.set()
            await go.wait()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.reader, "run", slow)
        clock.now += 100
        sweeping = asyncio.create_task(store.sweep(idle=50))
        await asked.wait()
        log = await store.load("s")
        await add(store, *Story(head=log.head).turn("t2", "more"))
        store.release("s")
        await flush(store)
        go.set()

        assert await sweeping == 0
    assert len(await store.turns("s", limit=9)) == 2
    await store.close()


async def test_a_sweep_that_meets_a_locked_file_comes_to_an_end(path: Path) -> None:
    """And what it had begun to delete is gone all the same."""
    store = SQLiteStore(path, busy_s=0.01)
    await store.open()
    for number in range(250):
        store.create(f"s{number}")
        await add(store, *Story(f"s{number}").turn("t", "text"))
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
    store = SQLiteStore(path, segment_bytes=50_000, busy_s=0.5)
    await store.open()
    for name in ("secret", "other"):
        store.create(name)
        await add(store, *Story(name).turn("t", SECRET if name == "secret" else "text"))
    store.release("secret")
    await flush(store)
    log = await store.load("other")
    with long_read(path):
        async with asyncio.timeout(5):
            await (store.forget("secret") if by == "forget" else store.sweep(idle=-1))
        with pytest.raises(SessionNotFound):
            await store.load("secret")
        story = Story("other", head=log.head)
        for number in range(300):
            await add(store, *story.turn(f"x{number}", "x" * 1_000))
            if number % 20 == 0:
                await flush(store)
        await flush(store)

        assert head_in_tables(path, "other") == story.head
        assert sum(segment.stat().st_size for segment in segments(path)) == 0
        assert sum(utf8_size(event.text) for event in log.events if isinstance(event, Token)) <= flusher.KEEP
        assert on_disk(path, SECRET.encode())  # the reader may still read it

    await eventually(lambda: not on_disk(path, SECRET.encode()))
    await store.close()


async def test_what_is_to_be_scrubbed_is_remembered_by_the_next_process(path: Path) -> None:
    """Killed in the middle of a forget, while somebody read: the text goes once that can be."""
    store = SQLiteStore(path, busy_s=0.1)
    await store.open()
    store.create("secret")
    await add(store, *Story("secret").turn("t", SECRET))
    await flush(store)
    with long_read(path):
        await store.forget("secret")
        await store.abandon()
        again = SQLiteStore(path, busy_s=0.1)
        await again.open()
        assert on_disk(path, SECRET.encode())

    await eventually(lambda: not on_disk(path, SECRET.encode()))
    await again.close()


async def test_a_load_that_meets_a_forget_does_not_bring_it_back(store: SQLiteStore) -> None:
    """Whoever asked first: a log of a session that is gone would be written to."""
    store.create("s")
    await add(store, *Story().turn("t", "text"))
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
    await add(store, *Story().turn("t", SECRET))
    moving = asyncio.create_task(store.flusher.now())
    await asyncio.sleep(0)
    forgetting = asyncio.create_task(store.forget("s"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it is a task of its own, so that nobody's leaving stops it
    store.create("s")
    story = Story()
    await add(store, *story.turn("t", "again"))

    await moving
    await forgetting

    assert on_disk(path, SECRET.encode()) == []
    await flush(store)
    assert flat(await read_all(store)) == flat(story.events)


async def test_a_sweep_of_many_is_not_one_long_lock(store: SQLiteStore) -> None:
    """More than one chunk, all of them."""
    for number in range(250):
        store.create(f"s{number}")
        events: list[Event] = Story(f"s{number}").turn("t", "text")
        await add(store, *events)
        store.release(f"s{number}")
    await flush(store)

    assert await store.sweep(idle=-1) == 250
    assert await store.sweep(idle=-1) == 0
