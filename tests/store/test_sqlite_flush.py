"""SQLiteStore: how what has ended moves into the tables, and that no session keeps the others' waiting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.log_tail import LogTail, wire_size
from askbot_ws.errors import StoreError
from askbot_ws.events import Done, Event, Token
from askbot_ws.store.sqlite import flush_batch, flusher, tables
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, read_merged, wait_until
from .files import head_in_tables, segments


class Transactions:
    """Counts what is written in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes: list[int] = []
        self.sessions: list[int] = []
        together, write = flush_batch.write_in_one_transaction, tables.append_events

        def counted_together(*arguments: Any, **named: Any) -> None:
            self.bytes.append(0)
            self.sessions.append(0)
            together(*arguments, **named)

        def counted_write(connection: Any, session: str, events: Any, **named: Any) -> None:
            self.bytes[-1] += sum(wire_size(event) for event in events)
            self.sessions[-1] += 1
            write(connection, session, events, **named)

        monkeypatch.setattr(flusher, "write_in_one_transaction", counted_together)
        monkeypatch.setattr(tables, "append_events", counted_write)


async def test_a_transaction_has_a_mebibyte_at_most(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put together for one is done on the loop: many long answers are several, a very long one too."""
    counted = Transactions(monkeypatch)
    factories = [EventFactory(f"s{number}") for number in range(20)]
    for factory in factories:
        store.create(factory.session)
        await append(store, *factory.turn("t", *["x🙂" * 10_000] * 6))  # 0.3 MB
    huge = EventFactory("huge")
    store.create("huge")
    await append(store, *huge.turn("t", *["y" * 100_000] * 50))  # 5 MB

    await flush(store)

    assert max(counted.bytes) <= flusher.MAX_BATCH_BYTES + 40_000
    assert sum(counted.bytes) >= 20 * 0.3e6 + 5e6
    assert len(counted.bytes) < 20
    for factory in (*factories, huge):
        assert flatten(await read_merged(store, factory.session)) == flatten(factory.events)


async def test_a_transaction_has_a_hundred_sessions_at_most(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones are put together quickly, but not in no time."""
    counted = Transactions(monkeypatch)
    for number in range(250):
        store.create(f"s{number}")
        await append(store, *EventFactory(f"s{number}").turn("t", "text"))

    await flush(store)

    assert counted.sessions == [100, 100, 50]


async def test_what_is_taken_from_a_long_log_at_once_is_bounded(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop never merges more of a log in one go than goes into one transaction."""
    taken: list[int] = []
    read = LogTail.read_merged

    def counted(self: LogTail, **named: Any) -> Any:
        found = read(self, **named)
        taken.append(sum(wire_size(event) for event in found))
        return found

    monkeypatch.setattr(LogTail, "read_merged", counted)
    factory = EventFactory()
    store.create("s")
    await append(store, *factory.turn("t", *["y" * 100_000] * 50))

    await flush(store)

    assert len(taken) >= 5
    assert max(taken) <= flusher.MAX_BATCH_BYTES + 40_000


# --- one session that can't be written -------------------------------------------------------------------------------


def unwritable_end(factory: EventFactory) -> Event:
    """With the name of a model that UTF-8 has no way to say: it should have been kept out where it came in."""
    done = EventFactory(factory.session, head=factory.head).done("t")
    assert isinstance(done, Done)
    return replace(done, model="m\ud800")


def unwritable_text(factory: EventFactory) -> Event:
    """The same in an answer."""
    return Token(session=factory.session, turn="t", seq=factory.head + 3, text="m\ud800n")


@pytest.mark.parametrize("unwritable", [unwritable_end, unwritable_text])
async def test_a_session_that_cannot_be_written_keeps_no_other_waiting(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch, unwritable: Callable[[EventFactory], Event]
) -> None:
    """Neither in the same transaction nor later; up to an end that can't be written it is written itself, too."""
    monkeypatch.setattr(flusher, "MAX_RETRY_SECONDS", 0.1)
    bad, good = EventFactory("bad"), EventFactory("good")
    log = store.create("bad")
    store.create("good")
    await append(store, bad.question("t"), bad.token("t", "text"), good.question("t"))
    log.append(unwritable(bad))  # shown, as an end is whose session could not be stored
    with capture_logs() as logs:
        for number in range(5):
            await append(store, *good.turn(f"g{number}", "x" * 1_000))
            store.flusher.schedule(["bad"])
            await flush(store)

        assert head_in_tables(path, "good") == good.head
        if unwritable is unwritable_end:
            assert head_in_tables(path, "bad") == bad.head
            assert sum(segment.stat().st_size for segment in segments(path)) == 0
        await asyncio.sleep(0.3)  # it is tried again, and says nothing again
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["session_flush_failed"]
    await store.forget("bad")
    await append(store, *good.turn("last", "text"))
    await wait_until(lambda: head_in_tables(path, "good") == good.head)


async def test_tables_that_are_damaged_for_one_session_keep_no_other_waiting(path: Path) -> None:
    """Whatever SQLite says about the one; it is tried again, and stored once that can be."""
    store = SQLiteStore(path)
    await store.open()
    bad, good = EventFactory("bad"), EventFactory("good")
    for factory in (bad, good):
        store.create(factory.session)
        await append(store, factory.question("t"))
    with closing(sqlite3.connect(path)) as other:
        fails = "BEGIN SELECT RAISE(FAIL, 'no'); END"
        other.execute(f"CREATE TRIGGER broken BEFORE INSERT ON events WHEN new.body LIKE '%bad%' {fails}")
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(flusher, "MAX_RETRY_SECONDS", 0.05)
        await append(store, bad.token("t", "bad"), bad.done("t"), good.done("t"))
        await wait_until(lambda: head_in_tables(path, "good") == good.head)
        assert head_in_tables(path, "bad") is None
        assert flatten(await read_merged(store, "bad")) == flatten(bad.events)

        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TRIGGER broken")
        await wait_until(lambda: head_in_tables(path, "bad") == bad.head)
    await wait_until(lambda: not any(segment.stat().st_size for segment in segments(path)))
    await store.close()


async def test_a_fault_of_ours_is_no_end_of_flushing(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is raised that nobody foresaw: it is logged, and tried again."""
    store.create("s")
    factory = EventFactory()
    real, failures = store.journal.mark_flushed, [RuntimeError("nobody foresaw this")]

    def flushed(session: str, head: int) -> None:
        if failures:
            raise failures.pop()
        real(session, head)

    monkeypatch.setattr(store.journal, "mark_flushed", flushed)
    with capture_logs() as logs:
        await append(store, *factory.turn("t", "text"))
        await wait_until(lambda: not any(segment.stat().st_size for segment in segments(path)))

    assert head_in_tables(path) == factory.head
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["flush_failed"]


async def test_an_event_in_the_tables_that_cannot_be_read_is_a_store_error(store: SQLiteStore, path: Path) -> None:
    """For who reads it; it costs no other anything."""
    for name in ("s", "other"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", "x" * 9_000))
    await flush(store)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE events SET type = 'title', body = '{}' WHERE session = 1 AND type = 'question'")

    with pytest.raises(StoreError):
        await store.read("s", after=0, limit=100)
    assert len(await store.turns("other", limit=9)) == 1
