"""Check: each way in which a store can be wrong is seen and named; a sound one is called sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.events import encode_event
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.segments import CURRENT_HEADER, RECORD
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import append, flush
from .files import overwrite, segments
from .valid_stores import ProvenEventFactory, content, execute, make_turns, set_version, write_bytes, write_store


async def test_a_closed_store_is_sound_and_stays_as_it_is(path: Path) -> None:
    """Not a byte, nor a file, is another afterwards."""
    await write_store(path, make_turns("s", turns=3), make_turns("other", turns=1))
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}

    report = check(path)

    assert report.faults == []
    assert "sessions: 2, events: 12" in report.facts
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    assert before.keys() == after.keys()
    assert all(before[name] == after[name] for name in before if name != "a.db.lock")


async def test_a_store_whose_server_died_is_sound(path: Path) -> None:
    """The journal goes on where the tables end, also within an answer; its torn end was shown to nobody."""
    factory = make_turns("s", turns=2)
    await write_store(path, factory, crash=True)
    with segments(path)[0].open("ab") as segment:
        segment.write(RECORD.pack(1000, 7) + b'{"type":"tok')

    report = check(path)

    assert report.faults == []
    assert any(f"no table yet: {len(factory.events)}" in fact for fact in report.facts)


async def test_a_store_in_use_can_be_checked(path: Path) -> None:
    """What is flushed is looked at, what moves is left alone, and the server notices nothing."""
    store = SQLiteStore(path)
    await store.open()
    factory = ProvenEventFactory("s")
    store.create("s")
    await append(store, *factory.turn("t", "text"), factory.question("t2"), factory.token("t2", "half"))
    await flush(store)

    report = check(path)

    assert report.faults == []
    assert any("a server uses it" in fact for fact in report.facts)
    await append(store, factory.done("t2"))
    await store.close()


WRONG = {
    "a head that is too far": ("UPDATE sessions SET head = head + 1", "its head is said to be at"),
    "a counter that lies": ("UPDATE sessions SET unfinished = 1", "0 turns have no end, not 1"),
    "an event that is gone": ("DELETE FROM events WHERE type = 'question' AND seq > 1", "there is a hole: after"),
    "a first event that is gone": ("DELETE FROM events WHERE seq = 1", "there is a hole: after 0 comes"),
    "an end that is gone": ("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", "its head is said to be"),
    "another text": ("UPDATE events SET body = upper(body) WHERE type = 'token'", "not what its proof says"),
    "a longer text": ("UPDATE events SET body = body || 'x' WHERE type = 'token'", "there is a hole"),
    "a text that is none": ("UPDATE events SET body = x'00ff' WHERE type = 'token'", "can't be read"),
    "a frame that is none": ("UPDATE events SET body = '{}' WHERE type = 'done'", "can't be read"),
    "a longer reasoning": ("UPDATE events SET body = body || 'x' WHERE type = 'thinking'", "there is a hole"),
    "reasoning that is no text": ("UPDATE events SET body = x'00ff' WHERE type = 'thinking'", "can't be read"),
    "reasoning of no turn": ("UPDATE events SET turn = 'x' WHERE type = 'thinking'", "has no question"),
    "reasoning after the end": ("UPDATE events SET turn = 't0' WHERE type = 'thinking'", "goes on after its end"),
    "a turn's name": ("UPDATE events SET turn = 'x' WHERE type = 'token'", "has no question"),
    "an id that is not found": ("UPDATE events SET ask = 'other' WHERE type = 'question'", "can't be read"),
    "no history": ("DELETE FROM store", "it does not say which history it has"),
    "events of nobody": ("DELETE FROM sessions", "events that belong to no session: 9"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_each_fault_is_named(path: Path, name: str) -> None:
    """With its session, where it has one."""
    statement, fault = WRONG[name]
    factory = make_turns("s", turns=2)
    factory.question("t2")
    factory.thinking("t2", "hm")
    factory.done("t2")
    await write_store(path, factory)
    assert check(path).faults == []
    execute(path, statement)

    faults = check(path).faults

    assert any(fault in one for one in faults), faults
    assert name in {"events of nobody", "no history"} or faults[0].startswith("session s: ")


async def test_a_damaged_page_is_seen(path: Path) -> None:
    """In a table or in an index: SQLite's own check is asked first."""
    await write_store(path, make_turns("s", turns=500))
    whole = content(path)
    for page in range(1, len(whole) // 4096, 7):
        write_bytes(path, whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :])
        assert check(path).faults, f"page {page}"


async def test_records_behind_a_damaged_one_are_told(path: Path) -> None:
    """With the session that lost what was damaged."""
    factory = make_turns("s", turns=1)
    await write_store(path, factory, crash=True)
    data = bytearray(segments(path)[0].read_bytes())
    data[len(CURRENT_HEADER) + RECORD.size + len(encode_event(factory.events[0])) + RECORD.size + 5] ^= 1
    segments(path)[0].write_bytes(data)

    assert check(path).faults == [
        "session s, in the journal: there is a hole: after 1 comes 14",
        "the journal's 00000001.log is damaged; records behind that: 1",
    ]


async def test_a_journal_with_a_gap_is_told(path: Path) -> None:
    """A segment that somebody deleted."""
    factory = make_turns("s", turns=2)
    await write_store(path, factory, crash=True)
    data = segments(path)[0].read_bytes()
    first = len(CURRENT_HEADER) + RECORD.size + len(encode_event(factory.events[0]))
    segments(path)[0].write_bytes(CURRENT_HEADER + data[first:])

    assert "session s, in the journal: there is a hole: after 0 comes 1" in check(path).faults


async def test_what_cannot_be_opened_is_told_with_what_to_do(path: Path) -> None:
    """No file, no database, another's, a newer one."""
    with pytest.raises(ConfigError, match=r"no store .*a\.db; name another with --store"):
        check(path)
    overwrite(path, b"my diary\n" * 1000)
    with pytest.raises(ConfigError, match=r"a\.db can't be read .*not a database.*restore a copy"):
        check(path)
    other = path.with_name("b.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        with pytest.raises(ConfigError, match="another program's database"):
            check(other)
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="another program's database"):
        check(other)
    set_version(other, 99)
    with pytest.raises(ConfigError, match=r"has schema version 99, .* install a newer"):
        check(other)
