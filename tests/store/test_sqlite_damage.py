"""SQLiteStore with a journal that is damaged, or of another kind than we know."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from askbot_ws.errors import ConfigError, SessionNotFound
from askbot_ws.events import encode_event
from askbot_ws.store.sqlite.journal import Journal
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.schema import MIGRATIONS
from askbot_ws.store.sqlite.segments import HEADER, MAGIC, RECORD, encode_record, segment_header
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, flatten
from .files import head_in_tables, segments
from .valid_stores import ProvenEventFactory, content, make_turns, read_store, set_version, write_bytes, write_store

SESSIONS = 100


def damage(segment: Path, part: bytes) -> None:
    """Flip one bit of the record that has this in it."""
    data = bytearray(content(segment))
    data[data.index(part) + 3] ^= 1
    write_bytes(segment, bytes(data))


async def crashed(path: Path, sessions: int = SESSIONS) -> list[ProvenEventFactory]:
    """A store that died and has all of these sessions in its journal."""
    factories = [make_turns(f"s{number:03}", turns=1) for number in range(sessions)]
    await write_store(path, *factories, crash=True)
    return factories


async def test_one_flipped_bit_costs_one_session_the_rest_of_its_log(path: Path) -> None:
    """All others lose nothing, the file is kept, an error names it, and `check` says so until it is gone."""
    factories = await crashed(path)
    hit = factories[4]
    damage(segments(path)[0], encode_event(hit.events[1]))
    damaged = content(segments(path)[0])

    store = SQLiteStore(path)
    with capture_logs() as logs:
        await store.open()
    await store.close()

    [kept] = path.with_name("a.db.journal").glob("*")
    assert content(kept) == damaged
    [error] = [line for line in logs if line["log_level"] == "error"]
    assert error["file"] == str(kept)
    assert error["sessions_cut_short"] == 1
    found = await read_store(path, [factory.session for factory in factories])
    for factory in factories:
        assert flatten(found[factory.session]) == flatten(factory.events[:1] if factory is hit else factory.events)
    [fault] = check(path).faults
    assert fault.startswith(f"the journal's {kept.name} was damaged when a server started")
    kept.unlink()
    assert check(path).faults == []


async def test_wherever_a_bit_flips_no_other_session_loses_anything(path: Path) -> None:
    """Any byte of the file, its header included; and never is there a text that nobody wrote."""
    factories = await crashed(path, 4)
    [segment] = segments(path)
    whole = content(segment)
    spans = {factory.session: _span(whole, factory) for factory in factories}
    for place in range(0, len(whole), 23):
        database = path.with_name(f"{place}.db")
        folder = database.with_name(f"{place}.db.journal")
        folder.mkdir()
        write_bytes(folder / segment.name, whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        store = SQLiteStore(database)
        with capture_logs():
            await store.open()
        for factory in factories:
            begin, end = spans[factory.session]
            try:
                found = flatten(await store.read(factory.session, after=0, limit=1 << 20))
            except SessionNotFound:
                found = []
            assert found == flatten(factory.events)[: len(found)]
            assert found == flatten(factory.events) or begin <= place < end
        await store.close_without_flush()


def _span(data: bytes, factory: EventFactory) -> tuple[int, int]:
    """Where the records of a session are in a segment."""
    first, last = encode_event(factory.events[0]), encode_event(factory.events[-1])
    return data.index(first) - RECORD.size, data.index(last) + len(last)


async def test_a_torn_end_is_normal_and_silent(path: Path) -> None:
    """Whatever length a crash leaves: nobody was told that what is torn is stored."""
    factories = await crashed(path, 2)
    [segment] = segments(path)
    write_bytes(segment, content(segment) + b"\x40\0\0\0torn")

    with capture_logs() as logs:
        found = await read_store(path, [factory.session for factory in factories])

    assert {line["log_level"] for line in logs} <= {"debug", "info"}
    assert [flatten(found[factory.session]) for factory in factories] == [
        flatten(factory.events) for factory in factories
    ]
    assert list(path.with_name("a.db.journal").iterdir()) == []
    assert check(path).faults == []


async def test_a_segment_that_is_missing_is_no_silent_loss(path: Path) -> None:
    """What follows in the next one can't be placed: it is kept aside, and said."""
    factory = make_turns("s", turns=2)
    journal = Journal(path.with_name("a.db.journal"))
    journal.open([])
    for event in factory.events:
        journal.append([encode_event(event)], {"s": event.seq})
        journal.rotate()
    journal.close()
    segments(path)[2].unlink()

    with capture_logs() as logs:
        found = await read_store(path, ["s"])

    assert flatten(found["s"]) == flatten(factory.events[:2])
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["journal_damaged"] * 3
    assert len(check(path).faults) == 3


async def test_a_damaged_segment_is_set_aside_once_more_under_another_name(path: Path) -> None:
    """Numbers come again once the journal is empty; what was kept is not overwritten."""
    for number in range(3):
        factory = make_turns(f"s{number}", turns=1)
        await write_store(path, factory, crash=True)
        [segment] = segments(path)
        damage(segment, encode_event(factory.events[0]))
        write_bytes(path.with_name("a.db.journal") / "00000001.log", content(segment))
        await read_store(path, [])

    kept = sorted(file.name for file in path.with_name("a.db.journal").iterdir())
    assert kept == ["00000001.damaged", "00000001.damaged-2", "00000001.damaged-3"]


async def test_a_repair_puts_away_what_was_set_aside(path: Path) -> None:
    """A copy is in the folder that it makes; nothing comes back from it."""
    factories = await crashed(path, 3)
    damage(segments(path)[0], encode_event(factories[1].events[1]))
    found = await read_store(path, [])

    repair(path)

    assert check(path).faults == []
    found = await read_store(path, [factory.session for factory in factories])
    assert flatten(found["s001"]) == flatten(factories[1].events[:1])
    [folder] = path.parent.glob("*before-repair*")
    assert (folder / "a.db.journal" / "00000001.damaged").exists()


async def test_a_copy_of_a_damaged_journal_has_what_can_be_read_and_says_so(path: Path, tmp_path: Path) -> None:
    """And the store that it was made of is as it was."""
    factories = await crashed(path, 3)
    damage(segments(path)[0], encode_event(factories[1].events[1]))

    report = backup(path, tmp_path / "copy.db")

    assert "the journal's 00000001.log is damaged: the copy has what can be read of it" in report.faults
    assert len(segments(path)) == 1
    found = await read_store(tmp_path / "copy.db", ["s000", "s002"])
    assert [flatten(found[factory.session]) for factory in (factories[0], factories[2])] == [
        flatten(factory.events) for factory in (factories[0], factories[2])
    ]


# --- what is whole, and of a kind that we don't know -----------------------------------------------------------------


def everything(path: Path) -> dict[str, bytes]:
    """Each file of a store, but the lock, and what SQLite knows of its own readers."""
    return {
        str(file.relative_to(path.parent)): file.read_bytes()
        for file in path.parent.rglob("*")
        if file.is_file() and not file.name.endswith((".lock", "-shm"))
    }


def newer_segment(segment: Path) -> None:
    write_bytes(segment, segment_header(3) + content(segment)[HEADER.size :])


def unknown_type(segment: Path) -> None:
    write_bytes(
        segment, content(segment) + encode_record(b'{"type":"picture","session":"s000","seq":9999,"text":"later"}')
    )


def unknown_form(segment: Path) -> None:
    write_bytes(
        segment,
        content(segment) + encode_record(b'{"type":"token","session":"s000","seq":9999,"turn":"t","texts":["a"]}'),
    )


def unknown_control(segment: Path) -> None:
    write_bytes(segment, content(segment) + encode_record(b"?s000"))


UNKNOWN = {
    newer_segment: r"a\.db\.journal/00000002\.log has format version 3, .* up to 2; install a newer",
    unknown_type: r"a\.db\.journal/00000002\.log has a record of a kind that this askbot does not know; install",
    unknown_form: r"a\.db\.journal/00000002\.log has a record of a kind that this askbot does not know; install",
    unknown_control: r"a\.db\.journal/00000002\.log has a record of a kind that this askbot does not know; install",
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("unknown", "said"), UNKNOWN.items(), ids=[make.__name__ for make in UNKNOWN])
async def test_a_journal_of_an_unknown_kind_is_refused_and_nothing_is_touched(
    path: Path, unknown: Callable[[Path], None], said: str, version: int
) -> None:
    """No migration, no replay of the segments before it, no file renamed, cut or deleted."""
    databases = Path(__file__).parent / "databases"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((databases / f"v{version}.sql").read_text("utf-8"))
    folder = path.with_name("a.db.journal")
    folder.mkdir()
    write_bytes(folder / "00000001.log", content(databases / f"v{version}.log"))
    write_bytes(folder / "00000002.log", content(databases / "v2.log"))
    unknown(folder / "00000002.log")
    before = everything(path)

    for _ in range(2):
        with pytest.raises(ConfigError, match=said):
            await SQLiteStore(path).open()
    with pytest.raises(ConfigError, match=said):
        backup(path, path.with_name("copy.db"))

    assert everything(path) == before


async def test_a_newer_store_with_a_journal_is_refused_and_nothing_is_touched(path: Path) -> None:
    """The tables are looked at before the journal is, and the journal before anything is written."""
    await crashed(path, 2)
    set_version(path, len(MIGRATIONS) + 1)
    before = everything(path)

    with pytest.raises(ConfigError, match=rf"has schema version {len(MIGRATIONS) + 1}, .* install a newer"):
        await SQLiteStore(path).open()

    assert everything(path) == before


async def test_an_unknown_record_is_told_by_check_and_left_out_by_repair(path: Path) -> None:
    """Who has no newer askbot gets everything else; the files as they were are kept."""
    factories = await crashed(path, 2)
    unknown_type(segments(path)[0])

    assert check(path).faults == ["the journal's 00000001.log has a record of a kind that this askbot does not know"]
    assert repair(path).faults == ["records in the journal of kinds that this askbot does not know: 1"]

    found = await read_store(path, [factory.session for factory in factories])
    assert [flatten(found[factory.session]) for factory in factories] == [
        flatten(factory.events) for factory in factories
    ]


async def test_another_programs_file_of_version_1_is_not_taken_for_ours(path: Path) -> None:
    """Many programs count from 1; what ours is called from version 2 on is in the file."""
    for version in (1, 2):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT)")
            connection.execute(f"PRAGMA user_version = {version}")
        before = content(path)
        with pytest.raises(ConfigError, match="another program's database"):
            await SQLiteStore(path).open()
        assert content(path) == before


async def test_a_segment_says_what_it_is(path: Path) -> None:
    """Its first bytes name the format and its version."""
    await write_store(path, make_turns("s", turns=1), crash=True)

    magic, version, _ = HEADER.unpack_from(content(segments(path)[0]))

    assert (magic, version) == (MAGIC, 2)
    assert head_in_tables(path) is None


async def test_what_is_deleted_further_on_need_not_be_whole(path: Path) -> None:
    """Files with a session's beginning are gone once they are flushed; its end may stand in others, and its deletion.

    That was taken for damage: files were set aside, and all readers given another history.
    """
    gone, kept = make_turns("gone", turns=2), make_turns("kept", turns=1)
    await write_store(path, make_turns("other", turns=1))
    journal = Journal(path.with_name("a.db.journal"))
    journal.open([])
    journal.append([encode_event(event) for event in gone.events[3:]], {"gone": gone.head})
    journal.append([encode_event(event) for event in kept.events], {"kept": kept.head})
    journal.rotate()
    journal.append_deletions(["gone"])
    journal.close()
    found = check(path)
    store = SQLiteStore(path)
    with capture_logs() as logs:
        await store.open()
    with pytest.raises(SessionNotFound):
        await store.load("gone")
    await store.close()

    assert found.faults == []
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert list(path.with_name("a.db.journal").iterdir()) == []
    assert flatten((await read_store(path, ["kept"]))["kept"]) == flatten(kept.events)
