"""SQLiteStore: one file has one lock and one journal, by whatever name it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten
from .valid_stores import execute, file_names, make_turns, read_store, write_store


def by_file(path: Path) -> Path:
    """Another name of the store: a symlink to its file, in another folder."""
    other = path.parent / "elsewhere"
    other.mkdir()
    link = other / "link.db"
    link.symlink_to(Path("..") / path.name)
    return link


def by_folder(path: Path) -> Path:
    """A symlink to its folder."""
    link = path.parent.with_name(path.parent.name + "-link")
    link.symlink_to(path.parent)
    return link / path.name


Name = Callable[[Path], Path]
NAMES = [by_file, by_folder]


@pytest.mark.parametrize("name", NAMES)
async def test_a_store_in_use_is_in_use_by_every_name(path: Path, name: Name) -> None:
    """One lock: a second server, or a repair, is refused; nothing is made beside the other name."""
    other = name(path)
    store = SQLiteStore(path)
    await store.open()
    before = file_names(other.parent)

    with pytest.raises(ConfigError, match=r"is in use by another askbot process \(pid \d+\)"):
        await SQLiteStore(other).open()
    with pytest.raises(ConfigError, match="is in use"):
        repair(other)
    assert any("a server uses it" in fact for fact in check(other).facts)

    assert file_names(other.parent) == before
    await store.close()


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_server_left_in_its_journal_is_found_by_every_name(path: Path, name: Name, tmp_path: Path) -> None:
    """It died under one name; check, backup, and a server under the other have all of it."""
    factory = make_turns("s", turns=2)
    await write_store(path, factory, crash=True)
    other = name(path)

    assert any(f"in no table yet: {len(factory.events)}" in fact for fact in check(other).facts)
    assert backup(other, tmp_path / "copy.db").faults == []
    assert flatten((await read_store(tmp_path / "copy.db", ["s"]))["s"]) == flatten(factory.events)
    assert flatten((await read_store(other, ["s"]))["s"]) == flatten(factory.events)
    assert flatten((await read_store(path, ["s"]))["s"]) == flatten(factory.events)


async def test_a_symlink_to_a_file_that_is_still_to_be_made_is_followed(path: Path) -> None:
    """As a volume is laid out before the first start."""
    other = by_file(path)

    await write_store(other, make_turns("s", turns=1))

    assert {"a.db", "a.db.lock"} <= file_names(path.parent)
    assert file_names(other.parent) == {"link.db"}
    assert check(path).faults == []


async def test_a_repair_by_another_name_leaves_the_name_as_it_is(path: Path) -> None:
    """The file is replaced, not the link."""
    await write_store(path, make_turns("s", turns=1))
    other = by_file(path)
    execute(path, "UPDATE sessions SET head = 0")

    repair(other)

    assert os.readlink(other) == "../a.db"  # noqa: PTH115  nothing waits here
    assert check(path).faults == []


async def test_a_file_with_two_names_is_refused(path: Path) -> None:
    """Hard links can't be told apart: SQLite's own files go by the name, so two servers would destroy it."""
    factory = make_turns("s", turns=1)
    await write_store(path, factory)
    other = path.with_name("b.db")
    os.link(path, other)

    for name in (path, other):
        with pytest.raises(ConfigError, match=r"\.db is one file with several names .*delete the other names, or copy"):
            await SQLiteStore(name).open()
        with pytest.raises(ConfigError, match="several names"):
            repair(name)
    assert check(path).faults == ["the file has 2 names (hard links): servers that use two of them destroy it"]

    other.unlink()
    assert flatten((await read_store(path, ["s"]))["s"]) == flatten(factory.events)
    store = SQLiteStore(path)
    await store.open()
    store.create("t")
    await append(store, *EventFactory("t").turn("t", "text"))
    await store.close()
