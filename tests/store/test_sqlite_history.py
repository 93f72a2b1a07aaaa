"""SQLiteStore: the history of a store has another name once anything that was acknowledged may be lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from askbot_ws.errors import StoreError
from askbot_ws.events import encode_event
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.sqlite import startup, state
from askbot_ws.store.sqlite.files import StoreFiles
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.schema import connect
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flush
from .files import segments
from .valid_stores import content, execute, make_turns, write_bytes


class Machine:
    """Starts and ends servers with a store, on one boot or another."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def begin(self, *, boot: str = "first", fsync: bool = False) -> str:
        """The name of the history that its sessions have."""
        self.store = SQLiteStore(self.path, boot=boot, fsync=fsync)
        await self.store.open()
        log = self.store.create("fresh")
        assert log.history
        self.store.release("fresh")
        return log.history

    async def end(self, how: str) -> None:
        await (self.store.close() if how == "closed" else self.store.close_without_flush())


@pytest.mark.parametrize(
    ("fsync", "end", "boot", "lost"),
    [
        (False, "closed", "first", False),
        (False, "closed", "second", False),
        (False, "killed", "first", False),
        (False, "killed", "second", True),  # the machine ended, or was ended, while we ran
        (True, "closed", "second", False),
        (True, "killed", "second", False),  # what was acknowledged is on the disk
    ],
)
async def test_an_end_of_the_machine_begins_a_new_history_where_it_may_cost_something(
    path: Path, *, fsync: bool, end: str, boot: str, lost: bool
) -> None:
    """That is: without fsync, unless the server had ended before. Then once, and not again."""
    machine = Machine(path)
    before = await machine.begin(fsync=fsync)
    machine.store.create("s")
    await append(machine.store, *EventFactory().turn("t", "text"))
    await machine.end(end)

    after = await machine.begin(boot=boot, fsync=fsync)
    await machine.end("killed")

    assert (after != before) is lost
    assert await machine.begin(boot=boot) == after
    await machine.end("closed")


async def test_what_counts_is_how_the_server_ran_that_ended(path: Path) -> None:
    """Not how the next one runs."""
    machine = Machine(path)
    first = await machine.begin(fsync=False)
    await machine.end("killed")
    second = await machine.begin(boot="second", fsync=True)
    await machine.end("killed")
    third = await machine.begin(boot="third", fsync=False)
    await machine.end("closed")

    assert first != second == third


async def test_every_log_names_the_history(path: Path) -> None:
    """New ones, loaded ones, and those that come back from the tables."""
    machine = Machine(path)
    history = await machine.begin()
    assert machine.store.create("s").history == history
    await append(machine.store, *EventFactory().turn("t", "text"))
    machine.store.release("s")
    await flush(machine.store)
    assert (await machine.store.load("s")).history == history
    await machine.end("closed")
    assert await machine.begin() == history
    assert (await machine.store.load("s")).history == history
    await machine.end("closed")


async def test_a_damaged_journal_begins_a_new_history(path: Path) -> None:
    """Whoever had read what is lost now is told to begin anew. A torn end is none."""
    machine, factory = Machine(path), make_turns("s", turns=2)
    before = await machine.begin()
    machine.store.create("s")
    await append(machine.store, *factory.events)
    await machine.end("killed")
    write_bytes(segments(path)[0], content(segments(path)[0]) + b"torn")
    assert await machine.begin() == before
    log = await machine.store.load("s")
    await append(machine.store, *EventFactory("s", head=log.head).turn("t9", "text"))
    await machine.end("killed")
    data = bytearray(content(segments(path)[0]))
    data[20] ^= 1
    write_bytes(segments(path)[0], bytes(data))

    after = await machine.begin()

    assert after != before
    await machine.end("closed")
    assert await machine.begin() == after
    await machine.end("closed")


async def test_a_kill_between_the_replay_and_the_start_does_not_hide_the_loss(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name changes with the transaction that takes in what is left."""
    machine, factory = Machine(path), make_turns("s", turns=1)
    before = await machine.begin()
    machine.store.create("s")
    await append(machine.store, *factory.events)
    await machine.end("killed")
    data = bytearray(content(segments(path)[0]))
    data[data.index(encode_event(factory.events[0]))] ^= 1
    write_bytes(segments(path)[0], bytes(data))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(startup, "_record_boot", die)
        with pytest.raises(KeyboardInterrupt):
            startup.prepare_store(
                StoreFiles(path), lambda: connect(path, full_sync=False, busy_timeout=1), boot="first", fsync=False
            )

    assert await machine.begin() != before
    await machine.end("closed")


async def test_a_repaired_store_and_a_copy_have_histories_of_their_own(path: Path, tmp_path: Path) -> None:
    """The copy's goes on without what the store is told from now on; a repair that changes nothing changes no name."""
    machine = Machine(path)
    first = await machine.begin()
    machine.store.create("s")
    await append(machine.store, *make_turns("s", turns=1).events)
    backup(path, tmp_path / "copy.db")
    await machine.end("closed")
    copy = Machine(tmp_path / "copy.db")
    assert await copy.begin(boot="second") not in {"", first}
    await copy.end("closed")
    copied = await copy.begin(boot="third")
    await copy.end("closed")
    assert copied not in {"", first}

    repair(copy.path)
    assert await copy.begin() == copied
    await copy.end("closed")
    execute(copy.path, "UPDATE sessions SET head = 0")
    repair(copy.path)
    assert await copy.begin() not in {first, copied}
    await copy.end("closed")


async def test_the_mark_is_on_the_disk_before_anything_is_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all there is is on the disk before it is taken away: SQLite syncs these two transactions in any case."""
    levels: list[tuple[str | None, int]] = []
    real = state.set_boot

    def noted(connection: sqlite3.Connection, boot: str | None) -> None:
        level: int = connection.execute("PRAGMA synchronous").fetchone()[0]
        levels.append((boot, level))
        real(connection, boot)

    monkeypatch.setattr(state, "set_boot", noted)
    machine = Machine(path)
    await machine.begin(boot="first")
    assert levels == [("first", 2)]  # FULL
    found = await machine.store.writer.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
    assert found == (1,)  # NORMAL, as before
    await machine.end("closed")

    assert levels == [("first", 2), (None, 2)]


async def test_an_end_that_leaves_something_in_the_journal_is_not_clean(path: Path) -> None:
    """What was not moved into the tables was not synced, either."""
    machine = Machine(path)
    before = await machine.begin()
    machine.store.create("s")
    await append(machine.store, *EventFactory().turn("t", "text"))
    with pytest.MonkeyPatch.context() as patch:

        async def busy(job: object) -> object:
            raise StoreError

        patch.setattr(machine.store.writer, "run", busy)
        await machine.end("closed")

    assert await machine.begin(boot="second") != before
    await machine.end("closed")


async def test_where_a_boot_has_no_name_every_crash_may_have_been_a_power_cut(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better that readers begin anew than that they mix two histories."""

    def nothing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", nothing)
    names = list[str]()
    for end in ("closed", "killed", "closed"):
        store = SQLiteStore(path)
        await store.open()
        names.append(store.create("s").history)
        await (store.close() if end == "closed" else store.close_without_flush())

    assert names[0] == names[1] != names[2]


async def test_each_process_with_a_store_in_memory_has_its_own_history() -> None:
    """Nothing of the one is in the other."""
    one, other = MemoryStore(), MemoryStore()

    assert one.create("a").history == one.create("b").history != other.create("a").history
