"""Repair: what can be read is kept, what is lost is named, and the result is sound."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from askbot_ws.errors import ConfigError
from askbot_ws.events import Done, encode_event
from askbot_ws.store.sqlite.maintenance.check import check
from askbot_ws.store.sqlite.maintenance.repair import repair
from askbot_ws.store.sqlite.segments import CURRENT_HEADER, RECORD
from askbot_ws.store.sqlite.store import SQLiteStore

from ..seeds import seed
from .event_factory import flatten
from .files import segments
from .valid_stores import ProvenEventFactory, content, execute, make_turns, read_store, write_bytes, write_store

PAGE = 4096


def damage(path: Path, page: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: page * PAGE] + b"\xa5" * PAGE + data[(page + 1) * PAGE :])


async def test_a_sound_store_is_left_alone(path: Path) -> None:
    """Nothing is made new, nothing is copied."""
    await write_store(path, make_turns("s", turns=1))

    assert repair(path).facts == ["nothing is wrong with it, and nothing was changed"]
    assert not list(path.parent.glob("*before-repair*"))


async def test_a_store_in_use_is_not_repaired(path: Path) -> None:
    """Two writers would be the end of it; and with nothing wrong, its journal was not looked at."""
    store = SQLiteStore(path)
    await store.open()

    with pytest.raises(ConfigError, match=r"a\.db is in use by another askbot process \(pid \d+\); stop that one"):
        repair(path)
    await store.close()


async def test_counters_are_made_right(path: Path) -> None:
    """Nothing is lost by that, and nobody's age changes."""
    factory = make_turns("s", turns=3)
    await write_store(path, factory)
    execute(path, "UPDATE sessions SET head = 0, unfinished = 7")

    assert repair(path).faults == []
    assert check(path).faults == []
    assert flatten((await read_store(path, ["s"]))["s"]) == flatten(factory.events)


async def test_a_store_that_has_lost_its_history_is_refused_and_repaired(path: Path) -> None:
    """It gets one of its own."""
    factory = make_turns("s", turns=1)
    await write_store(path, factory)
    execute(path, "DELETE FROM store")

    with pytest.raises(ConfigError, match=r"does not say which history it has.*`askbot store repair`"):
        await SQLiteStore(path).open()
    assert repair(path).faults == []

    assert flatten((await read_store(path, ["s"]))["s"]) == flatten(factory.events)


async def test_a_log_is_cut_at_its_first_hole(path: Path) -> None:
    """And it is said up to where it is kept; other sessions lose nothing."""
    broken, whole = make_turns("broken", turns=3), make_turns("whole", turns=3)
    await write_store(path, broken, whole)
    hole = broken.events[7].seq
    execute(path, "DELETE FROM events WHERE seq = ? AND session = 1", hole)

    report = repair(path)

    assert len(report.faults) == 1
    assert report.faults[0].startswith(f"session broken: kept up to {broken.events[6].seq}; what followed")
    assert check(path).faults == []
    found = await read_store(path, ["broken", "whole"])
    assert flatten(found["whole"]) == flatten(whole.events)
    assert flatten(found["broken"]) == flatten(broken.events[:7])


async def test_a_text_that_is_not_what_it_was_is_marked(path: Path) -> None:
    """It is all there is of it; its turn is `interrupted` from now on, and what follows stays."""
    factory = make_turns("s", turns=3)
    await write_store(path, factory)
    execute(path, "UPDATE events SET body = replace(body, 'B', 'b') WHERE type = 'token' AND turn = 't1'")

    report = repair(path)

    assert report.faults == ["session s: text of t1 is damaged; it was kept, and is marked as interrupted"]
    assert check(path).faults == []
    ends = {event.turn: event.reason for event in (await read_store(path, ["s"]))["s"] if isinstance(event, Done)}
    assert ends == {"t0": "stop", "t1": "interrupted", "t2": "stop"}


async def test_the_journal_is_laid_on_top(path: Path) -> None:
    """With the records behind a damaged one: they may be other sessions'."""
    flushed, running, hit = make_turns("flushed", turns=2), make_turns("running", turns=1), make_turns("hit", turns=2)
    await write_store(path, flushed)
    await write_store(path, hit, running, crash=True)
    data = bytearray(segments(path)[0].read_bytes())
    data[data.index(encode_event(hit.events[2])) + 5] ^= 1
    segments(path)[0].write_bytes(data)

    report = repair(path)

    assert [fault.partition(";")[0] for fault in report.faults] == [f"session hit: kept up to {hit.events[1].seq}"]
    assert check(path).faults == []
    found = await read_store(path, ["flushed", "running", "hit"])
    assert flatten(found["flushed"]) == flatten(flushed.events)
    assert flatten(found["running"]) == flatten(running.events)
    assert flatten(found["hit"]) == flatten(hit.events[:2])


async def test_a_lost_table_of_sessions_is_made_again(path: Path) -> None:
    """Each question says whose it is."""
    factories = [make_turns(f"s{number}", turns=2) for number in range(20)]
    await write_store(path, *factories)
    execute(path, "DELETE FROM sessions")

    repair(path)

    assert check(path).faults == []
    found = await read_store(path, [factory.session for factory in factories])
    assert [flatten(found[factory.session]) for factory in factories] == [
        flatten(factory.events) for factory in factories
    ]


async def test_reasoning_is_kept_like_text(path: Path) -> None:
    """In the tables, also where only the events are left of a session, and in the journal; a hole in it is a hole."""
    tables, journal, holed = (ProvenEventFactory(name) for name in ("tables", "journal", "holed"))
    for factory in (tables, journal, holed):
        factory.question("t1")
        factory.thinking("t1", '{"type": "question"} 🙂')
        factory.token("t1", "So.")
        factory.done("t1")
    await write_store(path, tables, holed)
    await write_store(path, journal, crash=True)
    execute(path, "DELETE FROM events WHERE type = 'thinking' AND session = 2")
    execute(path, "DELETE FROM sessions")

    report = repair(path)

    assert [fault.partition(";")[0] for fault in report.faults] == ["session holed: kept up to 1"]
    assert check(path).faults == []
    found = await read_store(path, ["tables", "journal", "holed"])
    assert flatten(found["tables"]) == flatten(tables.events)
    assert flatten(found["journal"]) == flatten(journal.events)
    assert flatten(found["holed"]) == flatten(holed.events[:1])


async def test_wherever_a_page_is_lost_the_rest_is_kept(path: Path) -> None:
    """Any page but the first. What is kept is a true beginning of each log, and whoever loses something is named."""
    factories = [make_turns(f"s{number:03}", turns=20, text="x🙂" * 60) for number in range(40)]
    await write_store(path, *factories)
    whole = content(path)
    for page in random.Random(seed(1)).sample(range(1, len(whole) // PAGE), 8):
        write_bytes(path, whole)
        damage(path, page)

        report = repair(path)

        assert check(path).faults == []
        lost = {fault.removeprefix("session ").partition(":")[0] for fault in report.faults}
        kept = await read_store(path, [factory.session for factory in factories if factory.session not in lost])
        assert len(kept) >= 36, f"page {page}: {report.faults}"
        for factory in factories:
            if factory.session in kept:
                assert flatten(kept[factory.session]) == flatten(factory.events)


async def test_the_store_as_it_was_is_kept(path: Path) -> None:
    """Under its own name in a folder: whoever knows better can try again."""
    await write_store(path, make_turns("s", turns=2), crash=True)
    damaged = bytearray(segments(path)[0].read_bytes())
    damaged[len(CURRENT_HEADER) + RECORD.size + 5] ^= 1
    segments(path)[0].write_bytes(damaged)

    repair(path)

    [folder] = path.parent.glob("a.db.before-repair-*")
    assert (folder / "a.db").exists()
    assert segments(folder / "a.db")[0].read_bytes() == damaged
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_what_has_no_beginning_cannot_be_repaired(path: Path) -> None:
    """A restored copy is what helps; nothing is touched."""
    await write_store(path, make_turns("s", turns=20))
    damage(path, 0)
    before = content(path)

    with pytest.raises(ConfigError, match=r"a\.db can't be read .*restore a copy"):
        repair(path)

    assert content(path) == before
