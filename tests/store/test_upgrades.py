"""Upgrades: a file of every version that there ever was opens, and has what it had.

`databases/v1.sql` is a store as version 1 left it, `v1.log` a journal's segment with the same sessions. They never
change. A new version gets a migration and files of its own: python -m tests.store.test_upgrades, which writes those of
the newest version.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.schema import APPLICATION_ID, MIGRATIONS, connect, migrate
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import flatten
from .files import segments
from .valid_stores import ProvenEventFactory, content, execute, read_store, set_version, write_bytes, write_store

DATABASES = Path(__file__).parent / "databases"
NEWEST = len(MIGRATIONS)
VERSIONS = range(1, NEWEST + 1)


def factories(version: int) -> list[ProvenEventFactory]:
    """What a version's files hold: ended turns, one that waits within another's answer, one that runs.

    From version 3 on also one with reasoning, from version 4 on one that a user made and named.
    """
    ended, mixed = ProvenEventFactory("ended"), ProvenEventFactory("mixed")
    ended.turn("t1", "Because 🙂.", id="first")
    mixed.question("t1", "why?", id="a1")
    mixed.token("t1", "So it ")
    mixed.question("t8", "and then?", id="a2")
    mixed.token("t1", "is.\n'Really'; \"yes\"")
    mixed.done("t1")
    mixed.token("t8", "half an ans")
    if version < 3:
        return [ended, mixed]
    thoughtful = ProvenEventFactory("thoughtful")
    thoughtful.question("t1", "why?")
    thoughtful.thinking("t1", '{"type": "question"}\n🙂')
    thoughtful.token("t1", "So")
    thoughtful.thinking("t1", "no")
    thoughtful.done("t1")
    if version < 4:
        return [ended, mixed, thoughtful]
    owned = ProvenEventFactory("owned", user="ann 🙂")
    owned.turn("t1", "Because.")
    owned.title("Colours")
    owned.question("t11", "and why?")
    owned.done("t11")
    return [ended, mixed, thoughtful, owned]


def restore(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATABASES / f"v{version}.sql").read_text("utf-8"))


def tables(path: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def fresh(path: Path) -> None:
    with closing(connect(path, full_sync=False, busy_timeout=1)) as connection:
        migrate(connection, path)


def test_every_version_has_its_files() -> None:
    """Whoever adds a migration adds them: see above."""
    kinds = ("sql", "log")
    assert {file.name for file in DATABASES.iterdir()} == {
        f"v{version}.{kind}" for version in VERSIONS for kind in kinds
    }


def test_the_newest_file_has_the_tables_that_the_code_makes(tmp_path: Path) -> None:
    """A change of a released script, or of the tables without a migration, is noticed here."""
    restore(tmp_path / "kept.db", NEWEST)
    fresh(tmp_path / "made.db")

    assert tables(tmp_path / "kept.db") == tables(tmp_path / "made.db")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_file_of_each_version_opens(path: Path, version: int) -> None:
    """With every event, the turn that ran reported, and the tables of today."""
    restore(path, version)
    store = SQLiteStore(path)
    assert await store.open() == ["mixed"]
    assert await store.find_turn("mixed", "a2") == "t8"
    await store.close()

    found = await read_store(path, [factory.session for factory in factories(version)])

    for factory in factories(version):
        assert flatten(found[factory.session]) == flatten(factory.events)
    assert check(path).faults == []
    fresh(path.with_name("made.db"))
    assert tables(path) == tables(path.with_name("made.db"))


@pytest.mark.parametrize("with_tables", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_segment_of_each_version_is_replayed(path: Path, version: int, *, with_tables: bool) -> None:
    """A server of that version died: its journal is taken in, once, whatever the tables have of it already."""
    if with_tables:
        restore(path, version)
    folder = path.with_name("a.db.journal")
    folder.mkdir()
    write_bytes(folder / "00000007.log", content(DATABASES / f"v{version}.log"))

    found = await read_store(path, [factory.session for factory in factories(version)])

    for factory in factories(version):
        assert flatten(found[factory.session]) == flatten(factory.events)
    assert check(path).faults == []
    assert list(folder.iterdir()) == []


async def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    """The message names the file, both versions and what to do."""
    await write_store(path, *factories(NEWEST))
    set_version(path, NEWEST + 1)

    said = rf"a\.db has schema version {NEWEST + 1}, .* up to {NEWEST}; install a newer"
    with pytest.raises(ConfigError, match=said):
        await SQLiteStore(path).open()
    with pytest.raises(ConfigError, match=said):
        check(path)

    set_version(path, NEWEST)
    assert check(path).faults == []


async def test_a_corrupted_file_is_named_with_what_helps(path: Path) -> None:
    """The commands that look at it and mend it."""
    write_bytes(path, b"SQLite format 3\0" + b"\xff" * 8192)

    with pytest.raises(ConfigError, match=r"a\.db cannot be opened .*`askbot store check`.*`askbot store repair`"):
        await SQLiteStore(path).open()


def _write() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        asyncio.run(write_store(path, *factories(NEWEST), crash=True))
        [segment] = segments(path)
        write_bytes(DATABASES / f"v{NEWEST}.log", content(segment))
        asyncio.run(write_store(path))
        execute(path, "UPDATE sessions SET created = 1700000000.0, touched = 60.0")
        execute(path, "UPDATE store SET history = 'bXkgaGlzdG9', age = 3600.0")
        with closing(sqlite3.connect(path)) as connection:
            pragmas = [f"PRAGMA user_version = {NEWEST};", f"PRAGMA application_id = {APPLICATION_ID};"]
            lines = [*connection.iterdump(), *pragmas]
    (DATABASES / f"v{NEWEST}.sql").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    _write()
