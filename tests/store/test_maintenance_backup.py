"""Backup: a copy in one file that has all that anybody had been shown when it began."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.store.sqlite.maintenance import backup as copying
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.store import SQLiteStore

from ..process import ProviderProcess, Reader, Story, askbot, environment, eventually, reading
from .event_factory import append, flatten, flush
from .files import segments
from .valid_stores import (
    ProvenEventFactory,
    content,
    execute,
    file_names,
    make_turns,
    read_store,
    write_bytes,
    write_store,
)

ANSWERS = 20


async def test_a_copy_is_one_file_with_everything(path: Path, tmp_path: Path) -> None:
    """Tables and journal, while a server has it open; the store itself stays as it is."""
    store = SQLiteStore(path)
    await store.open()
    flushed, running = make_turns("flushed", turns=2), ProvenEventFactory("running")
    for factory in (flushed, running):
        store.create(factory.session)
    await append(store, *flushed.events)
    await flush(store)
    await append(store, running.question("t"), running.token("t", "half"))
    journal = content(segments(path)[0])

    report = backup(path, tmp_path / "copy.db")

    assert report.faults == []
    assert content(segments(path)[0]) == journal
    await append(store, running.done("t"))
    await store.close()
    assert [name for name in file_names(tmp_path) if name.startswith("copy")] == ["copy.db"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    found = await read_store(tmp_path / "copy.db", ["flushed", "running"])
    assert flatten(found["flushed"]) == flatten(flushed.events)
    assert flatten(found["running"]) == flatten(running.events[:2])


async def test_what_moves_meanwhile_is_in_the_copy(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the journal for the tables between the two copies: with the other order, it would be in neither."""
    store = SQLiteStore(path)
    await store.open()
    factory = ProvenEventFactory("s")
    store.create("s")
    await append(store, *factory.turn("t1", "text"), factory.question("t2"), factory.token("t2", "half"))
    loop, copied = asyncio.get_running_loop(), list[str]()

    def move() -> None:
        if not copied:
            asyncio.run_coroutine_threadsafe(_flush_all(store, factory), loop).result(5)
        copied.append("one of the two")

    for name in ("copy_segments", "copy_tables"):
        monkeypatch.setattr(copying, name, _then(getattr(copying, name), move))
    await asyncio.to_thread(backup, path, tmp_path / "copy.db")

    assert not any(content(segment) for segment in segments(path))
    assert flatten((await read_store(tmp_path / "copy.db", ["s"]))["s"]) == flatten(factory.events)
    await store.close()


def _then(copy: Callable[[Path, Path], None], move: Callable[[], None]) -> Callable[[Path, Path], None]:
    def both(path: Path, to: Path) -> None:
        copy(path, to)
        move()

    return both


async def _flush_all(store: SQLiteStore, factory: ProvenEventFactory) -> None:
    await append(store, factory.token("t2", " and whole"), factory.done("t2"))
    await flush(store)


async def test_nothing_is_overwritten_and_nothing_is_left_behind(path: Path, tmp_path: Path) -> None:
    """Neither a file that exists, nor half a copy."""
    await write_store(path, make_turns("s", turns=1))
    write_bytes(tmp_path / "mine", b"mine")

    with pytest.raises(ConfigError, match=r"mine exists already; a backup overwrites nothing"):
        backup(path, tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"no store .*b\.db"):
        backup(tmp_path / "b.db", tmp_path / "copy.db")
    with pytest.raises(ConfigError, match=r"the backup .*copy\.db of .*a\.db can't be made .*nothing was changed"):
        backup(path, tmp_path / "nowhere" / "copy.db")

    assert content(tmp_path / "mine") == b"mine"
    assert file_names(tmp_path) == {"a.db", "a.db.journal", "a.db.lock", "mine"}


async def test_a_copy_of_a_damaged_store_is_called_damaged(path: Path, tmp_path: Path) -> None:
    """It is made, as it may be the last, and what is wrong with it is said."""
    await write_store(path, make_turns("s", turns=1))
    execute(path, "UPDATE sessions SET head = 7")

    assert "its head is said to be at 7" in backup(path, tmp_path / "copy.db").faults[0]


# --- under load ------------------------------------------------------------------------------------------------------


async def test_a_copy_of_a_busy_store_has_what_everybody_had_seen(tmp_path: Path, provider: ProviderProcess) -> None:
    """Twenty readers in the middle of their answers, while others end and move into the tables.

    A new server on the copy has, for each, a true beginning of what the old one went on to say, at least up to where
    the reader was when the backup began.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    stories = [Story() for _ in range(ANSWERS)]
    async with AsyncExitStack() as stack:
        server = stack.enter_context(askbot(here, upstream=provider.url, ASKBOT_LIMITS="off"))
        readers = [await stack.enter_async_context(reading(server.url, story)) for story in stories]
        telling = [asyncio.create_task(_tell(reader, number)) for number, reader in enumerate(readers)]
        await eventually(lambda: all(len(story.turns) > 1 for story in stories))
        for number in range(3):
            seen = [story.head for story in stories]
            assert await _back_up(here, there / f"{number}.db") == 0
            await _compare(there, number, stories, seen, provider)
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)


async def _tell(reader: Reader, number: int) -> None:
    """Short answers, or one long one after a short one."""
    await reader.answer("say:At first.")
    while True:
        await reader.answer(f"tokens:{20 if number % 2 else 2000} rate:200", 60)


async def _back_up(here: Path, to: Path) -> int:
    command = [sys.executable, "-m", "askbot_ws.cli", "store", "backup", str(to), "--store", "sqlite:///askbot.db"]
    process = await asyncio.create_subprocess_exec(*command, cwd=here, env=environment(), stdout=-3)
    return await asyncio.wait_for(process.wait(), 20)


async def _compare(there: Path, number: int, stories: list[Story], seen: list[int], provider: ProviderProcess) -> None:
    """Each session as the copy's server tells it, with what its reader was told."""
    folder = there / str(number)
    folder.mkdir()
    write_bytes(folder / "askbot.db", content(there / f"{number}.db"))
    with askbot(folder, upstream=provider.url) as copy:
        for story, head in zip(stories, seen, strict=True):
            async with reading(copy.url + f"?session={story.session}&after=0", Story(story.session)) as reader:
                ready = reader.frames[0]
                assert ready["seq"] >= head
                await reader.until(lambda _, reader=reader, ready=ready: reader.story.head == ready["seq"])  # type: ignore[misc]
            await eventually(lambda story=story, ready=ready: story.head >= ready["seq"] - 1)  # type: ignore[misc]
            for turn in reader.story.turns.values():
                original = story.turns[turn.turn]
                assert (turn.text, turn.id) == (original.text, original.id)
                assert original.answer.startswith(turn.answer)
                assert turn.reason == "interrupted" or turn.answer == original.answer
