"""SQLiteStore on disks that are full, read-only, locked or failing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from askbot_ws.core.log_tail import LogTail
from askbot_ws.errors import ConfigError, SessionNotFound, StoreError
from askbot_ws.events import Token
from askbot_ws.store.sqlite import flusher
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, limited_file_size, make_batch, read_merged, wait_until
from .files import SECRET, files_containing, fill_disk, head_in_tables, mount, segments


async def test_what_does_not_fit_is_refused_and_what_fits_later_is_taken(store: SQLiteStore, path: Path) -> None:
    """A real error of the kernel: nothing is added, nothing of it is in the file, and the next one works."""
    log, factory = store.create("s"), EventFactory()
    await append(store, factory.question("t"))
    size = segments(path)[0].stat().st_size
    too_much = Token(session="s", seq=factory.head + 9, turn="t", text="forgotten")

    with limited_file_size(size + 20), pytest.raises(StoreError) as caught:
        await append(store, too_much)

    assert isinstance(caught.value.__cause__, OSError)
    assert log.head == factory.head
    assert files_containing(path, b"forgotten") == []
    await append(store, factory.token("t", "kept"), factory.done("t"))
    assert flatten(log.read_merged(after=0)) == flatten(factory.events)


async def test_turns_that_cannot_be_flushed_wait_in_the_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program holds the file: readers notice nothing, and it is tried again."""
    monkeypatch.setattr(flusher, "MAX_RETRY_SECONDS", 0.05)
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    store.create("s")
    factory = EventFactory()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await append(store, *factory.turn("t", "text", id="a"))
        with pytest.raises(StoreError):
            await flush(store)

        assert flatten(await read_merged(store)) == flatten(factory.events)
        assert (await store.turns("s", limit=1))[0].answer == "text"
        assert await store.find_turn("s", "a") == "t"
        with pytest.raises(StoreError):
            await store.ping()
        assert segments(path)[0].stat().st_size > 0

    await wait_until(lambda: head_in_tables(path) == factory.head)
    await store.ping()
    await store.close()


async def _ask_until_refused(store: SQLiteStore, log: LogTail) -> int:
    """How many turns fitted."""
    for number in range(2_000):
        head = log.head
        try:
            await append(store, *EventFactory(head=head).turn(f"t{number + 1}", "x" * 500))
        except StoreError:
            assert log.head == head
            return number
    raise AssertionError("the disk is endless")


async def test_what_cannot_be_flushed_at_the_end_is_there_at_the_next_start(path: Path) -> None:
    """Another program holds the file while we stop: we stop, and lose nothing."""
    store = SQLiteStore(path, busy_timeout=0.01)
    await store.open()
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "text"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.close()

    again = SQLiteStore(path)
    await again.open()
    assert flatten(await read_merged(again)) == flatten(factory.events)
    await again.close()


async def test_a_segment_that_cannot_be_removed_is_removed_later(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is gone for all that, and nobody has to ask again."""
    store.create("s")
    await append(store, *EventFactory().turn("t", SECRET))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        await store.forget("s")
        with pytest.raises(SessionNotFound):
            await store.load("s")
        assert files_containing(path, SECRET.encode())

    await wait_until(lambda: not files_containing(path, SECRET.encode()))


async def test_with_fsync_sqlite_syncs_too(path: Path) -> None:
    """Or a power cut would take what the journal has just handed over."""
    for fsync, level in ((False, 1), (True, 2)):
        store = SQLiteStore(path, fsync=fsync)
        await store.open()
        found = await store.writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        assert found == (level,)
        await store.close()


async def test_a_full_disk_is_an_error_and_not_an_end(small_disk: Path) -> None:
    """A file system without room: questions fail, reading goes on; with room again all is well, and all is there."""
    path = small_disk / "a.db"
    store = SQLiteStore(path, segment_bytes=50_000)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    await append(store, *factory.turn("t0", "before"))
    filler = fill_disk(small_disk)

    number = await _ask_until_refused(store, log)

    with pytest.raises(StoreError):
        await store.ping()
    assert len(await store.turns("s", limit=2_000)) == 1 + number
    filler.unlink()
    await append(store, *EventFactory(head=log.head).turn("last", "after"))
    await store.ping()
    await store.close()

    again = SQLiteStore(path)
    assert await again.open() == []
    assert [turn.answer for turn in await again.turns("s", limit=2_000)][-1] == "after"
    assert len(await again.turns("s", limit=2_000)) == number + 2
    await again.close()


async def test_a_read_only_disk_is_refused_with_the_fix(small_disk: Path) -> None:
    """At the start, by name."""
    assert mount(small_disk, "remount,ro") == 0

    with pytest.raises(ConfigError, match=r"a\.db cannot be opened \(.*Read-only.*\): .*may write there"):
        await SQLiteStore(small_disk / "a.db").open()


async def test_what_could_not_be_synced_was_not_added(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO from fsync: refused, taken back, and the store goes on in a new segment."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    await append(store, factory.question("t"))

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError):
            await append(store, Token(session="s", seq=factory.head + 9, turn="t", text="forgotten"))
    assert log.head == factory.head

    await append(store, factory.token("t", "kept"))
    await store.close_without_flush()
    again = SQLiteStore(path)
    assert await again.open() == ["s"]
    assert flatten(await read_merged(again)) == flatten(factory.events)
    await again.close()


async def test_to_stop_waiting_for_the_disk_does_not_stop_the_disk(path: Path) -> None:
    """A cancelled writer leaves log and journal in step."""
    store = SQLiteStore(path, fsync=True)
    await store.open()
    log, factory = store.create("s"), EventFactory()
    waiting = store.append(make_batch(factory.question("t")))
    assert not isinstance(waiting, dict)
    task = asyncio.ensure_future(waiting)
    task.cancel()
    await asyncio.wait([task])
    await store.close()

    assert log.head == factory.head
    assert head_in_tables(path) == factory.head
