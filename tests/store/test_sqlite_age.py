"""SQLiteStore: how old a session is, counted in time in which a server had the store open."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from askbot_ws.errors import SessionNotFound
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import Clock, EventFactory, append, flush
from .test_upgrades import restore
from .valid_stores import execute, make_turns, write_store

DAY = 86_400.0


async def rested(path: Path, clock: Callable[[], float], *sessions: str) -> SQLiteStore:
    """A store with these sessions in it, used by nobody."""
    store = SQLiteStore(path) if clock is time.monotonic else SQLiteStore(path, clock=clock)
    await store.open()
    for session in sessions:
        store.create(session)
        await append(store, *EventFactory(session).turn("t", "text"))
        store.release(session)
    await flush(store)
    return store


@pytest.mark.parametrize("wrong", [-20_000 * DAY, -40 * DAY, 40 * DAY, 20_000 * DAY])
async def test_a_wrong_wall_clock_deletes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """Wrong at the start, or since the sessions were written, and in both directions."""
    real = time.time
    store = await rested(path, time.monotonic, "right")
    await store.close()
    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    store = await rested(path, time.monotonic, "early")
    assert await store.sweep(idle=30 * DAY) == 0
    monkeypatch.setattr(time, "time", real)
    assert await store.sweep(idle=30 * DAY) == 0
    await store.close()

    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    store = await rested(path, time.monotonic, "late")
    assert await store.sweep(idle=30 * DAY) == 0
    monkeypatch.setattr(time, "time", real)
    assert await store.sweep(idle=30 * DAY) == 0
    for session in ("right", "early", "late"):
        assert await store.turns(session, limit=1)
    await store.close()


async def test_time_without_a_server_ages_nothing(path: Path) -> None:
    """Whatever the steady clock of another process, or of another boot, counts from."""
    store = await rested(path, Clock(), "s")
    await store.close()

    for begins_at in (0.0, 1e9):
        clock = Clock()
        clock.now = begins_at
        store = SQLiteStore(path, clock=clock)
        await store.open()
        assert await store.sweep(idle=10) == 0
        await store.close()


@pytest.mark.parametrize("crash", [False, True])
async def test_time_with_a_server_adds_up(path: Path, *, crash: bool) -> None:
    """Over several processes, also killed ones, which lose what was not noted yet: at most since the last sweep."""
    clock = Clock()
    store = await rested(path, clock, "old")
    for _ in range(3):
        clock.now += 400
        assert await store.sweep(idle=5_000) == 0
        await (store.close_without_flush() if crash else store.close())
        store = await rested(path, clock)

    assert await store.sweep(idle=1_300) == 0
    assert await store.sweep(idle=1_100) == 1
    with pytest.raises(SessionNotFound):
        await store.load("old")
    await store.close()


async def test_an_answer_makes_a_session_young_again(path: Path) -> None:
    """Age is the time since the last event, wherever that is: also one that only the journal had when we died."""
    clock = Clock()
    store = await rested(path, clock, "used", "unused")
    clock.now += 1_000
    await store.sweep(idle=2_000)
    log = await store.load("used")
    await append(store, EventFactory("used", head=log.head).question("t2"))
    await store.close_without_flush()

    store = SQLiteStore(path, clock=clock)
    await store.open()
    assert await store.sweep(idle=500) == 1
    assert await store.turns("used", limit=1)
    await store.close()


async def test_sessions_of_version_1_begin_to_age_when_they_are_migrated(path: Path) -> None:
    """What it knew was by the wall clock: they were last used in 2023."""
    restore(path, 1)
    clock = Clock()
    store = SQLiteStore(path, clock=clock)
    await store.open()

    clock.now += 100
    assert await store.sweep(idle=150) == 0
    clock.now += 100
    assert await store.sweep(idle=150) == 2
    await store.close()


async def test_a_copy_and_a_repaired_store_are_as_old_as_the_store_was(path: Path, tmp_path: Path) -> None:
    """Nothing in them gets older or younger by that."""
    clock = Clock()
    store = await rested(path, clock, "s")
    clock.now += 1_000
    await store.close()
    backup(path, tmp_path / "copy.db")
    execute(path, "UPDATE sessions SET head = 0")
    repair(path)

    for file in (path, tmp_path / "copy.db"):
        store = SQLiteStore(file, clock=clock)
        await store.open()
        assert await store.sweep(idle=1_001) == 0
        assert await store.sweep(idle=999) == 1
        await store.close()


async def test_a_store_of_version_1_can_be_checked_and_repaired(path: Path) -> None:
    """Where it is damaged it can't be opened, and so not be brought up to date first."""
    restore(path, 1)
    execute(path, "UPDATE sessions SET head = 0 WHERE id = 'ended'")

    assert repair(path).faults == []

    store = SQLiteStore(path, clock=Clock())
    assert await store.open() == ["mixed"]
    assert await store.sweep(idle=0.5) == 0
    assert len(await store.turns("ended", limit=9)) == 1
    await store.close()
    await write_store(path, make_turns("more", turns=1))
