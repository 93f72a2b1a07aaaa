"""SQLiteStore after an end that was none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from askbot_ws.core.summary import LogSummary
from askbot_ws.events import encode_event
from askbot_ws.store.sqlite import tables
from askbot_ws.store.sqlite.journal import Journal
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.schema import connect, migrate
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, read_merged
from .files import head_in_tables, segments
from .valid_stores import ProvenEventFactory, read_store, write_store

PYTHON = sys.executable


async def test_after_a_close_all_is_in_one_file(path: Path) -> None:
    """So that a copy of the file is a copy of everything."""
    store = SQLiteStore(path)
    await store.open()
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t1", "text"), factory.question("t2"))
    await store.close()

    assert head_in_tables(path) == factory.head
    assert segments(path) == []
    assert not path.with_name("a.db-wal").exists()


def half_and_whole(kind: str) -> tuple[ProvenEventFactory, ProvenEventFactory]:
    """A turn with half of a slice, and the same turn with all of it."""
    half, whole = ProvenEventFactory(), ProvenEventFactory()
    for factory, text in ((half, "What 🙂"), (whole, "What 🙂 was")):
        factory.question("t1", id="a1")
        (factory.token if kind == "token" else factory.thinking)("t1", text)
    whole.done("t1")
    return half, whole


@pytest.mark.parametrize("kind", ["token", "thinking"])
async def test_a_journal_goes_on_inside_a_slice_of_the_tables(path: Path, kind: str) -> None:
    """They have as much of it as was flushed; the rest is added, once, and nothing of that is a fault."""
    half, whole = half_and_whole(kind)
    other = path.with_name("other.db")
    await write_store(path, half)
    await write_store(other, whole, crash=True)
    shutil.copytree(segments(other)[0].parent, path.with_name("a.db.journal"), dirs_exist_ok=True)

    assert check(path).faults == []
    found = await read_store(path, ["s"])

    assert flatten(found["s"]) == flatten(whole.events)


@pytest.mark.parametrize("kind", ["token", "thinking"])
def test_what_the_tables_have_of_a_slice_is_not_added_again(path: Path, kind: str) -> None:
    """Where nobody knows how much of a batch was written."""
    half, whole = half_and_whole(kind)
    with closing(connect(path, full_sync=False, busy_timeout=1)) as connection:
        migrate(connection, path)
        for events in (half.events, whole.events, whole.events):
            tables.append_events(connection, "s", events, uptime=0.0, origin=LogSummary())
        found = tables.read_newest(connection, "s", max_bytes=10_000, history="")

    assert found is not None
    assert flatten(found.events) == flatten(whole.events)


@pytest.mark.parametrize("fsync", [False, True])
async def test_what_was_acknowledged_survives_a_crash_exactly(path: Path, *, fsync: bool) -> None:
    """Promise 2; and the turns that were running are reported, the ended ones not."""
    store = SQLiteStore(path, fsync=fsync)
    await store.open()
    factories = [EventFactory("ended"), EventFactory("running"), EventFactory("waiting")]
    for factory in factories:
        store.create(factory.session)
    ended, running, waiting = factories
    await append(store, *ended.turn("t1", "text"), *running.turn("t1", "text 🙂"))
    await flush(store)
    await append(store, *ended.turn("t2", "text"), running.question("t2"), running.token("t2", "half an ans"))
    await append(store, waiting.question("t1"))
    await store.close_without_flush()

    again = SQLiteStore(path, fsync=fsync)
    unfinished = await again.open()

    assert sorted(unfinished) == ["running", "waiting"]
    for factory in factories:
        assert flatten(await read_merged(again, factory.session)) == flatten(factory.events)
    assert (await again.turns("running", limit=1))[0].answer == "half an ans"
    assert segments(path) == []
    for factory, turn in ((running, "t2"), (waiting, "t1")):
        await again.load(factory.session)
        await append(again, factory.done(turn, "interrupted"))
    await again.close()

    once_more = SQLiteStore(path)
    assert await once_more.open() == []
    await once_more.close()


async def test_a_replay_may_be_cut_short_and_begin_again(path: Path, tmp_path: Path) -> None:
    """A segment that is in the tables already changes nothing."""
    store = SQLiteStore(path)
    await store.open()
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t1", "text"), factory.question("t2"), factory.token("t2", "half"))
    kept = segments(path)[0].read_bytes()
    await store.close_without_flush()
    first = SQLiteStore(path)
    await first.open()
    await first.load("s")
    await append(first, factory.token("t2", " and whole"), factory.done("t2"))
    await first.close()

    _segment(path, 1, kept)
    again = SQLiteStore(path)

    assert await again.open() == []
    assert flatten(await read_merged(again)) == flatten(factory.events)
    await again.close()


def _segment(path: Path, number: int, data: bytes) -> None:
    folder = path.with_name(path.name + ".journal")
    folder.mkdir(exist_ok=True)
    (folder / f"{number:08}.log").write_bytes(data)


async def test_a_lost_record_costs_the_rest_of_its_session_only(path: Path) -> None:
    """What cannot be placed is left out, loudly; never a log with a hole."""
    broken, whole = EventFactory("broken"), EventFactory("whole")
    journal = Journal(path.with_name("a.db.journal"))
    journal.open([])
    journal.append([encode_event(broken.question("t")), encode_event(whole.question("t"))], {})
    broken.token("t", "lost")
    journal.append([encode_event(broken.token("t", "unplaceable")), encode_event(whole.token("t", "text"))], {})
    journal.append([encode_event(broken.done("t"))], {})
    journal.close()

    store = SQLiteStore(path)

    assert await store.open() == ["broken", "whole"]
    assert flatten(await read_merged(store, "broken")) == flatten(broken.events[:1])
    assert flatten(await read_merged(store, "whole")) == flatten(whole.events)
    await store.close()


KILLED = """
import asyncio, sys
from pathlib import Path
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tests.store.event_factory import EventFactory, append
from askbot_ws.store.sqlite.store import SQLiteStore

async def main() -> None:
    store = SQLiteStore(Path(sys.argv[1]), fsync=sys.argv[2] == "True", segment_bytes=20_000)
    await store.open()
    factories = [EventFactory(f"s{number}") for number in range(5)]
    for factory in factories:
        store.create(factory.session, user="user of " + factory.session)
    for turn in range(100_000):
        for factory in factories:
            for event in factory.turn(f"t{turn}", *[f"{turn}.{piece} " for piece in range(20)]):
                await append(store, event)
                sys.stdout.write(f"{factory.session} {event.seq}\\n")  # one write, so that no line is torn
                sys.stdout.flush()
        await asyncio.sleep(0.002)

asyncio.run(main())
"""


def _kill_after(lines: int, path: Path, *, fsync: bool) -> dict[str, int]:
    """The heads that it had acknowledged until then."""
    command = [PYTHON, "-c", KILLED, str(path), str(fsync)]
    acknowledged: dict[str, int] = {}
    root, log = Path(__file__).parents[2], subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=root) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            session, head = line.split()
            acknowledged[session] = int(head)
            if number == lines:
                process.kill()
    return acknowledged


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("lines", [1, 500, 8_000])
async def test_a_killed_process_loses_nothing_that_it_acknowledged(path: Path, lines: int, *, fsync: bool) -> None:
    """`kill -9`, at any moment; what is there is an exact beginning of what was told."""
    acknowledged = _kill_after(lines, path, fsync=fsync)

    store = SQLiteStore(path)
    await store.open()

    assert acknowledged
    for name, head in acknowledged.items():
        found = await read_merged(store, name)
        assert (await store.load(name)).user == f"user of {name}"
        assert found[-1].seq >= head
        factory = EventFactory(name)
        while factory.head < found[-1].seq:
            turn = sum(event.type == "done" for event in factory.events)
            factory.turn(f"t{turn}", *[f"{turn}.{piece} " for piece in range(20)])
        assert flatten(found) == flatten(factory.events)[: found[-1].seq]
    await store.close()
