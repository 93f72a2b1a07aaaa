"""SQLiteStore: a user's session is that user's, or it is nowhere, whatever is left of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from askbot_ws.errors import SessionNotFound
from askbot_ws.store import SessionQuery
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.segments import UserSessionRecord, decode_payload, read_segment
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, causes, flatten, flush, try_append
from .files import segments
from .test_sqlite_sync_faults import disk
from .valid_stores import ProvenEventFactory, content, execute, read_store, write_bytes, write_store


def named(session: str = "s", user: str = "ann") -> ProvenEventFactory:
    factory = ProvenEventFactory(session, user=user)
    factory.turn("t1", "Because.")
    factory.title("Colours")
    return factory


async def user_of(path: Path, session: str = "s") -> str | None:
    """Who made the session, as a server finds it that starts now; "nowhere" where there is none."""
    store = SQLiteStore(path)
    await store.open()
    try:
        return (await store.load(session)).user
    except SessionNotFound:
        return "nowhere"
    finally:
        await store.close()


async def test_the_first_event_is_one_record_with_its_user(path: Path) -> None:
    """So that there is no moment, and no damage, between the two."""
    await write_store(path, named(user='a "quoted"\nname 🙂'), crash=True)
    [segment] = segments(path)

    first, *others = map(decode_payload, read_segment(segment).payloads)

    assert isinstance(first, UserSessionRecord)
    assert first.user == 'a "quoted"\nname 🙂'
    assert not any(isinstance(record, UserSessionRecord) for record in others)


async def test_a_journal_that_ends_anywhere_has_the_user_or_no_session(tmp_path: Path) -> None:
    """A write that a crash has cut short."""
    store = SQLiteStore(tmp_path / "a.db")
    await store.open()
    store.create("s", user="ann")
    factory = EventFactory()
    for event in factory.turn("t1", "text"):
        await append(store, event)
    whole = content(segments(tmp_path / "a.db")[0])
    await store.close_without_flush()

    found: list[str] = []
    for size in range(1, len(whole) + 1, 29):
        path = tmp_path / f"{size}.db"
        path.with_name(f"{size}.db.journal").mkdir()
        write_bytes(path.with_name(f"{size}.db.journal") / "00000001.log", whole[:size])
        found.append(str(await user_of(path)))

    assert found == sorted(found, reverse=True)
    assert {*found} == {"nowhere", "ann"}


async def test_a_journal_that_is_damaged_anywhere_has_the_user_or_no_session(tmp_path: Path) -> None:
    """The record with the user is lost as one, and what followed it can't be placed then."""
    await write_store(tmp_path / "a.db", named(), crash=True)
    [segment] = segments(tmp_path / "a.db")
    whole = content(segment)

    found: list[str | None] = []
    for place in range(16, len(whole), 31):
        path = tmp_path / f"{place}.db"
        path.with_name(f"{place}.db.journal").mkdir()
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        write_bytes(path.with_name(f"{place}.db.journal") / "00000001.log", flipped)
        found.append(await user_of(path))

    assert {*found} == {"nowhere", "ann"}


@pytest.mark.parametrize("fsync", [False, True])
async def test_an_append_that_fails_loses_no_user(path: Path, *, fsync: bool) -> None:
    """The first one failed, so the second one is the session's first: it has the user."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    store.create("s", user="ann")
    with disk(lambda call: call in {"write", "fdatasync"}):
        assert causes(await try_append(store, EventFactory().question("t1")))
    await append(store, EventFactory().question("t1"))
    await store.close_without_flush()

    assert await user_of(path) == "ann"


async def test_a_session_that_begins_again_is_of_who_made_it_last(path: Path) -> None:
    """In one journal: made, forgotten, made by somebody else."""
    store = SQLiteStore(path)
    await store.open()
    with disk(lambda call: call == "unlink"):
        for user in ("ann", "bob", None):
            store.create("s", user=user)
            await append(store, *EventFactory().turn("t", "text"))
            if user:
                await store.forget("s")
    await store.close_without_flush()

    assert await user_of(path) is None


@pytest.mark.parametrize("row", ["sessions", "events"])
async def test_a_repair_never_gives_a_session_away(path: Path, row: str) -> None:
    """Where the row of the session is lost, its first event says whose it is; without that nothing is kept of it."""
    await write_store(path, named(), named("other", "bob"))
    execute(
        path, f"DELETE FROM {row} WHERE {'id' if row == 'sessions' else 'seq'} = ?", "s" if row == "sessions" else 1
    )
    assert check(path).faults

    repair(path)

    assert check(path).faults == []
    assert await user_of(path) == ("ann" if row == "sessions" else "nowhere")


async def test_what_was_spent_and_used_survives_repair_and_backup(path: Path) -> None:
    """Or a ticket could be used again."""
    await write_store(path, named())
    store = SQLiteStore(path)
    await store.open()
    assert await store.spend("ticket", expires=4e9)
    assert await store.add_usage("ann", "9999-01-01", 5) == 5
    await store.close()
    backup(path, path.with_name("copy.db"))
    execute(path, "UPDATE sessions SET head = 99")
    repair(path)

    for one in (path, path.with_name("copy.db")):
        store = SQLiteStore(one)
        await store.open()
        assert not await store.spend("ticket", expires=4e9)
        assert await store.add_usage("ann", "9999-01-01", 1) == 6
        await store.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE sessions SET user = 'bob'", "do not say the same of who made it"),
        ("UPDATE sessions SET user = NULL", "do not say the same of who made it"),
        ("UPDATE sessions SET title = 'x'", "is not what its events say"),
        ("UPDATE sessions SET turns = 7", "is not what its events say"),
    ],
)
async def test_a_check_holds_a_session_s_row_against_its_events(path: Path, change: str, said: str) -> None:
    """And a repair takes what the events say."""
    await write_store(path, named())
    assert check(path).faults == []
    execute(path, change)

    assert [fault for fault in check(path).faults if said in fault]
    repair(path)

    assert check(path).faults == []
    assert await user_of(path) == "ann"
    assert flatten((await read_store(path, ["s"]))["s"]) == flatten(named().events)


async def test_a_session_of_an_earlier_version_gets_its_summary_when_it_is_asked_for(path: Path) -> None:
    """Not in the migration, which takes no longer for many; `updated` is when it was made until something is added."""
    factory = named(user="")
    factory.user = None
    await write_store(path, factory)
    execute(path, "UPDATE sessions SET turns = NULL, question = '', title = '', created = 5, updated = 5")
    store = SQLiteStore(path)
    await store.open()

    [before] = (await store.list_sessions(SessionQuery(None), limit=1)).sessions
    assert (before.question, before.turns, before.updated) == ("why?", 1, 5.0)
    await store.load("s")
    await append(store, *factory.turn("t2", "text"))
    [unflushed] = (await store.list_sessions(SessionQuery(None), limit=1)).sessions
    await flush(store)
    [flushed] = (await store.list_sessions(SessionQuery(None), limit=1)).sessions
    await store.close()

    assert unflushed == flushed
    assert (flushed.question, flushed.turns, flushed.updated) == ("why?", 2, 1_700_000_001.0)
