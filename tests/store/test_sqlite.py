"""SQLiteStore: what moves where, and who may open it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError, StoreError
from askbot_ws.events import Token
from askbot_ws.store.sqlite import flusher, tables
from askbot_ws.store.sqlite.schema import MIGRATIONS
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, read_merged, wait_until
from .files import files_containing, fill_disk, head_in_tables, overwrite, segments
from .valid_stores import set_version

PYTHON = sys.executable


async def test_a_turn_that_ended_moves_into_the_tables_by_itself(store: SQLiteStore, path: Path) -> None:
    """Nobody has to ask; the journal is empty then, and the memory keeps little of it."""
    log, factory = store.create("s"), EventFactory()
    await append(store, *factory.turn("t", "x" * 100_000))

    await wait_until(lambda: head_in_tables(path) == factory.head and not segments(path)[0].stat().st_size)

    assert sum(len(event.text) for event in log.events if isinstance(event, Token)) <= flusher.FLUSHED_TAIL_BYTES


async def test_a_turn_that_runs_stays_out_of_the_tables(store: SQLiteStore, path: Path) -> None:
    """SQLite is not written for tokens, unless there is a reason."""
    store.create("s")
    factory = EventFactory()
    await append(store, factory.question("t"), factory.token("t", "text"))
    await flush(store)

    assert head_in_tables(path) is None
    assert segments(path)[0].stat().st_size > 0


async def test_turns_that_end_together_are_one_transaction(store: SQLiteStore) -> None:
    """A hundred sessions, one commit."""
    statements: list[str] = []
    await store.writer.run(lambda connection: connection.set_trace_callback(statements.append))
    for number in range(100):
        store.create(f"s{number}")
        await append(store, *EventFactory(f"s{number}").turn("t", "text"))

    await wait_until(lambda: "COMMIT" in statements)
    await flush(store)

    assert statements.count("COMMIT") == 1
    assert sum(statement.startswith("UPDATE sessions") for statement in statements) == 100


async def test_a_long_answer_does_not_hold_the_journal(path: Path) -> None:
    """A pinned segment's sessions are flushed as far as they are, in the middle of a turn."""
    store = SQLiteStore(path, segment_bytes=2_000)
    await store.open()
    store.create("s")
    factory = EventFactory()
    await append(store, factory.question("t"))
    for _ in range(300):
        await append(store, factory.token("t", "some more text "))
        await flush(store)

    assert len(segments(path)) <= 2
    await append(store, factory.done("t"))
    assert flatten(await read_merged(store)) == flatten(factory.events)
    assert (await store.turns("s", limit=1))[0].answer == "some more text " * 300
    await store.close()


async def test_a_read_costs_the_same_in_a_long_session(store: SQLiteStore) -> None:
    """Counted in steps of SQLite's machine: a hundred turns or two thousand, at the beginning or at the end."""
    steps: dict[str, list[int]] = {}
    for name, turns in (("short", 100), ("long", 2_000)):
        store.create(name)
        factory = EventFactory(name)
        for number in range(turns):
            await append(store, *factory.turn(f"t{number}", "x" * 100, id=f"a{number}"))
        store.release(name)
        await flush(store)
        steps[name] = await _steps(store, name)

    for short, long in zip(steps["short"], steps["long"], strict=True):
        assert 0 < long < 1.5 * short + 50


async def test_where_a_replay_begins_is_asked_without_the_turns(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event is decoded, and no text leaves SQLite: a place is a number."""
    factory = EventFactory("s")
    store.create("s")
    for number in range(70):
        await append(store, *factory.turn(f"t{number}", "x" * 50_000))
    store.release("s")
    await flush(store)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an event was decoded")

    monkeypatch.setattr(tables, "_decode_event", refuse)

    assert await store.replay_start("s", turns=50) == factory.events[60].start


async def _steps(store: SQLiteStore, session: str) -> list[int]:
    counted = [0]

    def count() -> int:
        counted[-1] += 1
        return 0

    await store.reader.run(lambda connection: connection.set_progress_handler(count, 1))
    for read in (
        store.read(session, after=0, limit=300),
        store.read(session, after=700, limit=300),
        store.turns(session, limit=3),
        store.turns(session, before=700, limit=3),
        store.find_turn(session, "a5"),
        store.find_turn(session, "nobody"),
        store.replay_start(session, turns=50),
    ):
        await read
        counted.append(0)
    await store.load(session)
    return counted


def _second_process(path: Path) -> str:
    code = (
        "import asyncio, sys; from pathlib import Path; from askbot_ws.store.sqlite.store import SQLiteStore\n"
        "asyncio.run(SQLiteStore(Path(sys.argv[1])).open())"
    )
    return subprocess.run([PYTHON, "-c", code, str(path)], check=False, capture_output=True, text=True).stderr


async def test_a_second_process_is_told_who_has_the_store(store: SQLiteStore, path: Path) -> None:
    """And leaves the first alone."""
    said = _second_process(path)

    assert f"the store {path} is in use by another askbot process (pid {os.getpid()}); stop that one" in said
    await store.ping()


async def test_a_store_that_was_closed_can_be_opened(store: SQLiteStore, path: Path) -> None:
    """The lock goes with the store, not with the process."""
    await store.close()

    again = SQLiteStore(path)
    await again.open()
    await again.close()


async def test_a_closed_store_says_so(store: SQLiteStore) -> None:
    """Whoever comes too late gets an error, not a wait."""
    await store.close()

    with pytest.raises(StoreError):
        await store.ping()


async def test_what_is_no_database_is_refused(path: Path) -> None:
    """By name, with the fix, and it is left as it is."""
    overwrite(path, b"my diary\n" * 1000)

    with pytest.raises(ConfigError, match=r"a\.db cannot be opened .*not a database.*set ASKBOT_STORE"):
        await SQLiteStore(path).open()

    assert files_containing(path, b"my diary\n" * 1000) == ["a.db"]


async def test_a_damaged_database_is_refused(store: SQLiteStore, path: Path) -> None:
    """Better no answer than a wrong one."""
    store.create("s")
    await append(store, *EventFactory().turn("t", "x" * 100_000))
    await store.close()
    overwrite(path, b"\xff" * 8192, at=4096)

    with pytest.raises(ConfigError, match="restore a copy"):
        await SQLiteStore(path).open()


async def test_another_programs_database_is_refused(path: Path) -> None:
    """Nobody wants our tables between theirs."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")

    with pytest.raises(ConfigError, match="another program's database"):
        await SQLiteStore(path).open()


async def test_a_newer_schema_is_refused(path: Path) -> None:
    """A downgrade is noticed before anything is written."""
    set_version(path, 99)

    with pytest.raises(ConfigError, match=rf"a\.db has schema version 99, .* up to {len(MIGRATIONS)}; install a newer"):
        await SQLiteStore(path).open()


async def test_an_older_schema_is_brought_up_to_date(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward, once, with what was there."""
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "text"))
    await store.close()
    monkeypatch.setattr("askbot_ws.store.sqlite.schema.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE extra (a);\nSELECT 1"))

    for _ in range(2):
        newer = SQLiteStore(path)
        await newer.open()
        assert flatten(await read_merged(newer)) == flatten(factory.events)
        await newer.close()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


async def test_a_file_that_another_program_holds_is_refused(path: Path) -> None:
    """After a moment, with the fix."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="another program has it locked; stop that one"):
            await SQLiteStore(path, busy_timeout=0.01).open()


async def test_a_disk_that_is_full_at_the_start_is_refused(small_disk: Path) -> None:
    """Better said now than at the first question."""
    fill_disk(small_disk)

    with pytest.raises(ConfigError, match=r"a\.db cannot be opened"):
        await SQLiteStore(small_disk / "a.db").open()


async def test_nobody_else_may_read_the_file(store: SQLiteStore, path: Path) -> None:
    """Conversations are private on a shared machine, too."""
    store.create("s")
    await append(store, *EventFactory().turn("t", "text"))
    await flush(store)

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("a.db*") if file.is_file()}

    assert set(modes.values()) == {0o600}
