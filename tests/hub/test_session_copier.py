"""Forks: a new session of a turn and of what the model was shown for it, in each store."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from askbot_ws.core.commands import Ask, Cancel, Edit, Forget, Fork, Retry
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.core.session_id import fork_session_id
from askbot_ws.errors import AskbotError, Busy, SessionNotFound, StoreError, TurnNotFound, UpstreamStalled
from askbot_ws.events import Event, Options, TurnRecord, Usage
from askbot_ws.hub import Hub, Policy, session_copier
from askbot_ws.hub.session_copier import ForkedSession
from askbot_ws.store import Store
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.sqlite import flusher
from askbot_ws.store.sqlite.store import SQLiteStore
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending, ThinkingText

from ..store.event_factory import EventFactory, append, flush
from .fakes import (
    CheckedReader,
    Clock,
    FragileStore,
    ask,
    assert_valid_log,
    attach_reader,
    exists,
    hub_of,
    run_ticks,
)
from .test_turn_runner import shown

STORES = ["memory", "sqlite", "sqlite with fsync"]
EVERYTHING = 2**40  # bytes


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return SQLiteStore(tmp_path / "a.db", fsync=request.param == "sqlite with fsync")


@asynccontextmanager
async def hub_over(
    store: Store, *scripts: Sequence[Step], **policy: Any
) -> AsyncGenerator[tuple[Hub, ScriptedUpstream]]:
    upstream = ScriptedUpstream(*scripts)
    async with asyncio.timeout(20), Hub(store, upstream, Policy(**policy), clock=Clock(), wall_clock=Clock()) as hub:
        yield hub, upstream


async def fork(hub: Hub, session: str, turn: str, id: str | None = None, user: str | None = None) -> ForkedSession:
    return await hub.fork(Principal(user), session, Fork(turn, id=id))


async def turns_of(hub: Hub, session: str) -> list[TurnRecord]:
    return [*await hub.store.turns(session, limit=100)]


async def log_of(hub: Hub, session: str) -> list[Event]:
    events: list[Event] = []
    while part := await hub.store.read(session, after=events[-1].seq if events else 0, limit=EVERYTHING):
        events += part
    return events


def contents(record: TurnRecord) -> TurnRecord:
    """A turn without its place, and without what is not copied."""
    return replace(record, turn="", id=None, replaces=None, from_=0, seq=0)


async def ask_all(hub: Hub, reader: CheckedReader, *questions: str) -> list[str]:
    """Ask one question after the other; the ids of their turns."""
    turns: list[str] = []
    for text in questions:
        turns.append(await ask(hub, reader, text, id=f"q {text}"))
        await reader.done(len(reader.questions))
    return turns


# --- what is in it ---------------------------------------------------------------------------------------------------


async def test_a_fork_has_the_turn_and_what_the_model_was_shown_for_it(store: Store) -> None:
    """Each whole, with new places and new turn ids, and without its question's id; the model goes on from there."""
    usage = Usage(input_tokens=5, output_tokens=7)
    script: list[Step] = [
        ThinkingText("hm, "),
        ThinkingText("so"),
        "One",
        ThinkingText("wait"),
        " 🙂",
        Ending("length", usage=usage),
    ]
    async with hub_over(store, script) as (hub, upstream):
        reader = attach_reader(hub)
        await hub.command(ANONYMOUS, reader.session, Ask("1?", id="q", options=Options(model="scripted", max_tokens=9)))
        await reader.done()
        turns = ["t1", *await ask_all(hub, reader, "2?", "3?")]
        before = await log_of(hub, reader.session)
        forked = await fork(hub, reader.session, turns[1])
        assert await log_of(hub, reader.session) == before
        copies, originals = await turns_of(hub, forked.session), await turns_of(hub, reader.session)
        assert_valid_log(await log_of(hub, forked.session))
        branch = attach_reader(hub, await hub.open(ANONYMOUS, forked.session))
        await ask(hub, branch, "4?")
        await branch.done()

    assert [contents(copy) for copy in copies] == [contents(turn) for turn in originals[:2]]
    assert [(copy.id, copy.turn, copy.from_) for copy in copies] == [
        (None, "t1", 0),
        (None, f"t{copies[0].seq + 1}", copies[0].seq),
    ]
    assert [(step.type, step.text) for step in copies[0].steps or ()] == [
        ("thinking", "hm, so"),
        ("text", "One"),
        ("thinking", "wait"),
        ("text", " 🙂"),
    ]
    assert shown(upstream) == ["1?", "One 🙂", "2?", "You asked: 2?", "4?"]


async def test_replaced_turns_are_not_in_it_and_nor_is_what_followed_them(store: Store) -> None:
    """As of that turn: what it replaced is gone, what replaced it later is not there yet."""
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        first, second, _ = await ask_all(hub, reader, "1?", "2?", "3?")
        for command in (Edit(second, "2b?"), Retry()):
            await hub.command(ANONYMOUS, reader.session, command)
            await reader.done(len(reader.questions))
        edited, retried = (question.turn for question in reader.questions[3:])
        await ask_all(hub, reader, "4?")
        of = {
            turn: await fork(hub, reader.session, turn) for turn in (second, edited, retried, reader.questions[-1].turn)
        }
        texts = [[(turn.text, turn.replaces) for turn in await turns_of(hub, each.session)] for each in of.values()]

    assert first == "t1"
    assert texts == [
        [("1?", None), ("2?", None)],
        [("1?", None), ("2b?", None)],
        [("1?", None), ("2b?", None)],
        [("1?", None), ("2b?", None), ("4?", None)],
    ]


@pytest.mark.parametrize(
    ("script", "reason", "answer"),
    [
        ([UpstreamStalled()], "error", ""),
        (["half", UpstreamStalled()], "error", "half"),
        (["no", Ending("refused", usage=None)], "refused", "no"),
        (["half", asyncio.Event], "cancelled", "half"),
        ([asyncio.Event], "cancelled", ""),
        ([ThinkingText("hm"), asyncio.Event], "cancelled", ""),
    ],
)
async def test_a_turn_is_forked_however_it_ended(
    store: Store, script: list[Step | Callable[[], asyncio.Event]], reason: str, answer: str
) -> None:
    """It is copied as it is; in a fork of a later turn it is only where the model was shown it."""
    steps: list[Step] = [asyncio.Event() if step is asyncio.Event else step for step in script]  # type: ignore[misc]
    async with hub_over(store, ["one"], steps) as (hub, _):
        reader = attach_reader(hub)
        await ask_all(hub, reader, "1?")
        turn = await ask(hub, reader, "2?")
        await run_ticks(50)
        if reason == "cancelled":
            await hub.command(ANONYMOUS, reader.session, Cancel())
        await reader.done(2)
        (later,) = await ask_all(hub, reader, "3?")
        forked, after = await fork(hub, reader.session, turn), await fork(hub, reader.session, later)
        copies, originals = await turns_of(hub, forked.session), await turns_of(hub, reader.session)
        later_texts = [each.text for each in await turns_of(hub, after.session)]

    assert [contents(copy) for copy in copies] == [contents(original) for original in originals[:2]]
    assert (copies[1].reason, copies[1].answer) == (reason, answer)
    assert later_texts == (["1?", "2?", "3?"] if answer and reason != "refused" else ["1?", "3?"])


async def test_a_turn_that_a_crash_interrupted_is_forked_with_the_text_it_has(tmp_path: Path) -> None:
    """Its end is the recovery's."""
    store = SQLiteStore(tmp_path / "a.db")
    async with hub_over(store, ["half", asyncio.Event()]) as (hub, _):
        reader = attach_reader(hub)
        turn = await ask(hub, reader)
        await reader.heard("half")
        await store.close_without_flush()
        hub.refuse_turns()
    async with hub_over(SQLiteStore(tmp_path / "a.db")) as (hub, _):
        forked = await fork(hub, reader.session, turn)
        (copy,) = await turns_of(hub, forked.session)

    assert (copy.reason, copy.answer) == ("interrupted", "half")


async def test_a_fork_is_forked(store: Store) -> None:
    """It is a session like any other."""
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        _, turn = await ask_all(hub, reader, "1?", "2?")
        session = reader.session
        for _ in range(3):
            session = (await fork(hub, session, turn, id="again")).session
            turn = (await turns_of(hub, session))[-1].turn
        texts = [each.text for each in await turns_of(hub, session)]

    assert texts == ["1?", "2?"]


@pytest.mark.parametrize("store", STORES[:2], indirect=True)
async def test_what_a_fork_costs_does_not_grow_with_the_session(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier turns are read and copied as far as they fit the model's context."""
    factory = EventFactory()
    last = ""
    for _ in range(10_000):
        last = f"t{factory.head + 1}"
        factory.turn(last, "an answer")
    reads: list[int] = []
    async with hub_over(store, context_tokens=100) as (hub, _):
        store.create("s")
        await append(store, *factory.events)
        await flush(store)
        read_turns = store.turns

        async def counted(session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
            reads.append(limit)
            return await read_turns(session, before=before, limit=limit)

        monkeypatch.setattr(store, "turns", counted)
        forked = await fork(hub, "s", last)
        monkeypatch.undo()
        copies = await turns_of(hub, forked.session)

    assert reads == [1, session_copier.PAGE_TURNS]
    assert [copy.answer for copy in copies] == ["an answer"] * 6  # five of them fit 400 bytes


async def test_earlier_turns_are_left_out_where_their_reasoning_is_too_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is not shown it, so it has no part in the context; but all of a fork is in memory at once."""
    monkeypatch.setattr(session_copier, "MAX_EARLIER_CHARS", 250)
    async with hub_over(store, *[[ThinkingText("h" * 100), "so"]] * 4) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?", "2?", "3?", "4?")
        forked = await fork(hub, reader.session, turns[-1])
        texts = [turn.text for turn in await turns_of(hub, forked.session)]

    assert texts == ["2?", "3?", "4?"]


async def test_a_long_answer_is_copied_in_slices_that_fit_a_frame(store: Store) -> None:
    """As it was when the model wrote it."""
    long = "🙂" * 20_000
    async with hub_over(store, [ThinkingText(long), long]) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?")
        forked = await fork(hub, reader.session, turns[0])
        branch = attach_reader(hub, await hub.open(ANONYMOUS, forked.session))
        events = await log_of(hub, branch.session)
        (copy,) = await turns_of(hub, branch.session)

    assert_valid_log(events)
    assert [(step.type, step.text) for step in copy.steps or ()] == [("thinking", long), ("text", long)]


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_what_cannot_be_forked_is_refused_and_makes_nothing(store: Store) -> None:
    """A turn that runs or waits, one that is not there, and a session that is not there or somebody else's."""
    held = asyncio.Event()
    async with hub_over(store, ["one"], ["two", held]) as (hub, _):
        reader = attach_reader(hub)
        (ended,) = await ask_all(hub, reader, "1?")
        running, waiting = await ask(hub, reader, "2?"), await ask(hub, reader, "3?")
        others = attach_reader(hub, hub.create(Principal("ann")))
        await hub.command(Principal("ann"), others.session, Ask("?"))
        refused: list[tuple[str, str, type[AskbotError]]] = [
            (reader.session, running, Busy),
            (reader.session, waiting, Busy),
            (reader.session, "t2", TurnNotFound),
            (reader.session, "t999", TurnNotFound),
            (reader.session, "x", TurnNotFound),
            (reader.session, "t" + "9" * 60, TurnNotFound),
            (attach_reader(hub).session, "t1", TurnNotFound),
            ("nobody", ended, SessionNotFound),
            ("not an id!", ended, SessionNotFound),
            (others.session, "t1", SessionNotFound),
        ]
        count = hub.session_count
        for session, turn, error in refused:
            with pytest.raises(error):
                await fork(hub, session, turn, id="f")
            assert not await exists(hub, fork_session_id(None, session, "f"))
        assert hub.session_count == count
        forked = await fork(hub, reader.session, ended)  # while the others run and wait
        assert [turn.text for turn in await turns_of(hub, forked.session)] == ["1?"]
        held.set()
        await reader.done(3)

    assert_valid_log(reader.events)


# --- once ------------------------------------------------------------------------------------------------------------


async def test_the_same_id_of_the_same_user_names_the_same_fork(store: Store) -> None:
    """Also at once, and after it has gone on; another id, user or session has another one, and so has none."""
    async with hub_over(store) as (hub, _):
        reader, other = attach_reader(hub), attach_reader(hub)
        (turn,) = await ask_all(hub, reader, "1?")
        await ask_all(hub, other, "1?")
        together = await asyncio.gather(*(fork(hub, reader.session, turn, id="f") for _ in range(5)))
        branch = attach_reader(hub, await hub.open(ANONYMOUS, together[0].session))
        await ask(hub, branch, "2?")
        await branch.done()
        again = await fork(hub, reader.session, turn, id="f")
        assert [each.text for each in await turns_of(hub, again.session)] == ["1?", "2?"]
        different = [
            await fork(hub, reader.session, turn, id="g"),
            await fork(hub, reader.session, turn, id="f", user="ann"),
            await fork(hub, reader.session, turn, id="f", user="None"),
            await fork(hub, other.session, turn, id="f"),
            await fork(hub, reader.session, turn),
            await fork(hub, reader.session, turn),
        ]

    assert {each.session for each in together} == {again.session}
    assert sorted(each.existed for each in together) == [False, True, True, True, True]
    assert again.existed
    assert not any(each.existed for each in different)
    assert len({again.session, *(each.session for each in different)}) == 7


async def test_a_restarted_server_names_the_same_fork(tmp_path: Path) -> None:
    """Also one with other settings, and once the old session is gone."""
    async with hub_over(SQLiteStore(tmp_path / "a.db")) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?", "2?")
        first = await fork(hub, reader.session, turns[1], id="f")
    async with hub_over(SQLiteStore(tmp_path / "a.db"), context_tokens=1) as (hub, _):
        again = await fork(hub, reader.session, turns[1], id="f")
        await hub.command(ANONYMOUS, reader.session, Forget())
        after = await fork(hub, reader.session, turns[1], id="f")
        texts = [turn.text for turn in await turns_of(hub, after.session)]

    assert again == after == replace_existed(first)
    assert texts == ["1?", "2?"]


def replace_existed(forked: ForkedSession) -> ForkedSession:
    return forked._replace(existed=True)


def test_the_id_of_a_fork_is_one_that_any_session_may_have() -> None:
    """128 bits, which nobody can compute who does not know the session that is forked."""
    ids = {
        fork_session_id(user, session, id) for user in (None, "a") for session in ("s", "t") for id in ("1", "a", "é")
    }

    assert len(ids) == 12
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", id) for id in ids)


async def test_a_fork_is_the_callers(store: Store) -> None:
    """An anonymous session may be forked by a user; the fork is not for everybody who knows its id."""
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?")
        mine = await fork(hub, reader.session, turns[0], user="ann")
        attach_reader(hub, await hub.open(Principal("ann"), mine.session))
        for stranger in (ANONYMOUS, Principal("bob")):
            with pytest.raises(SessionNotFound):
                await hub.open(stranger, mine.session)


# --- all or nothing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", [False, True])
async def test_a_fork_that_cannot_be_stored_is_not_there(*, slow: bool) -> None:
    """Nor half of it; tried again, it is made."""
    store = FragileStore()
    store.slow = slow
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?", "2?")
        name = fork_session_id(None, reader.session, "f")
        store.break_down()
        for _ in range(2):
            with pytest.raises(StoreError):
                await fork(hub, reader.session, turns[1], id="f")
            assert not await exists(hub, name)
        both = await asyncio.gather(
            *(fork(hub, reader.session, turns[1], id="f") for _ in range(2)), return_exceptions=True
        )
        assert [type(each) for each in both] == [StoreError] * 2
        assert hub.session_count == 1
        store.mend()
        batches = store.batches
        forked = await fork(hub, reader.session, turns[1], id="f")
        assert (forked, store.batches) == (ForkedSession(name, existed=False), batches + 1)
        assert_valid_log(store.durable(name))


async def test_a_fork_that_failed_does_not_leave_the_one_that_waited_for_it_without_turns() -> None:
    """The second frame with the id makes it."""
    store = FragileStore()
    store.slow = True
    async with hub_of(store=store) as hub:
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?", "2?")
        failures = iter([True])
        store.broken = lambda _: next(failures, False)
        first, second = await asyncio.gather(
            *(fork(hub, reader.session, turns[1], id="f") for _ in range(2)), return_exceptions=True
        )
        name = fork_session_id(None, reader.session, "f")
        assert isinstance(first, StoreError)
        assert second == ForkedSession(name, existed=False)
        assert [turn.text for turn in await turns_of(hub, name)] == ["1?", "2?"]


async def test_a_crash_in_the_middle_of_the_write_leaves_no_half_session(tmp_path: Path) -> None:
    """Wherever the journal ends: the fork is there whole, or not at all and can be made."""
    store = SQLiteStore(tmp_path / "a.db")
    async with hub_over(store, [ThinkingText("hm"), "one"], ["two"]) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?", "2?")
        await store.flusher.flush()
        forked = await fork(hub, reader.session, turns[1], id="f")
        whole = await log_of(hub, forked.session)
        await store.close_without_flush()
        hub.refuse_turns()
    (segment,) = (tmp_path / "a.db.journal").glob("*.log")
    content = segment.read_bytes()
    shutil.copy(tmp_path / "a.db", tmp_path / "base.db")
    found: list[bool] = []
    for size in [*range(16, len(content), 61), len(content)]:
        folder = tmp_path / str(size)
        (folder / "a.db.journal").mkdir(parents=True)
        shutil.copy(tmp_path / "base.db", folder / "a.db")
        (folder / "a.db.journal" / segment.name).write_bytes(content[:size])
        async with hub_over(SQLiteStore(folder / "a.db")) as (hub, _):
            found.append(await exists(hub, forked.session))
            assert (await fork(hub, reader.session, turns[1], id="f")).existed == found[-1]
            assert await log_of(hub, forked.session) == whole

    assert found == [False] * (len(found) - 1) + [True]


async def test_a_fork_of_which_only_a_part_is_flushed_is_whole_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction has a limit, and the journal has the rest."""
    monkeypatch.setattr(flusher, "MAX_BATCH_BYTES", 1000)
    store = SQLiteStore(tmp_path / "a.db")
    async with hub_over(store, *[["x" * 900]] * 5) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, *(f"{number}?" for number in range(5)))
        forked = await fork(hub, reader.session, turns[-1])
        whole = await log_of(hub, forked.session)
        writes = 0
        run = store.writer.run

        async def fails_later(job: Callable[[Any], Any]) -> Any:
            nonlocal writes
            writes += 1
            if writes > 2:
                raise StoreError
            return await run(job)

        monkeypatch.setattr(store.writer, "run", fails_later)
        with suppress(StoreError):
            await store.flusher.flush()
        monkeypatch.setattr(store.writer, "run", run)
        await store.close_without_flush()
        hub.refuse_turns()
    async with hub_over(SQLiteStore(tmp_path / "a.db")) as (hub, _):
        assert await log_of(hub, forked.session) == whole


# --- two sessions from then on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("old_first", [True, False])
async def test_either_session_is_forgotten_without_the_other(store: Store, *, old_first: bool) -> None:
    """And what is asked in one is not in the other."""
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        (turn,) = await ask_all(hub, reader, "1?")
        forked = await fork(hub, reader.session, turn, id="f")
        branch = attach_reader(hub, await hub.open(ANONYMOUS, forked.session))
        gone, stays = (reader, branch) if old_first else (branch, reader)
        await hub.command(ANONYMOUS, gone.session, Forget())
        assert not await exists(hub, gone.session)
        await ask_all(hub, stays, "2?")
        texts = [each.text for each in await turns_of(hub, stays.session)]
        if not old_first:  # the same frame makes it again
            again = await fork(hub, reader.session, turn, id="f")
            assert again == forked
            assert [each.text for each in await turns_of(hub, again.session)] == ["1?"]

    assert texts == ["1?", "2?"]
    assert gone.codes == ["session_not_found"]


async def test_a_fork_that_is_forgotten_and_made_again_survives_a_crash(tmp_path: Path) -> None:
    """One id, two sessions after each other: the journal has both, and the deletion between them."""
    store = SQLiteStore(tmp_path / "a.db")
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        (turn,) = await ask_all(hub, reader, "1?")
        first = await fork(hub, reader.session, turn, id="f")
        await hub.command(ANONYMOUS, first.session, Forget())
        await fork(hub, reader.session, turn, id="f")
        whole = await log_of(hub, first.session)
        await store.close_without_flush()
        hub.refuse_turns()
    async with hub_over(SQLiteStore(tmp_path / "a.db")) as (hub, _):
        assert await log_of(hub, first.session) == whole


async def test_a_session_that_is_forgotten_while_it_is_forked_leaves_the_whole_fork_or_none() -> None:
    """At whatever moment that is."""
    for ticks in range(30):
        store = FragileStore()
        store.slow = True
        async with hub_of(store=store) as hub:
            reader = attach_reader(hub)
            turns = await ask_all(hub, reader, "1?", "2?")
            forking = asyncio.ensure_future(fork(hub, reader.session, turns[1], id="f"))
            await run_ticks(ticks)
            await hub.command(ANONYMOUS, reader.session, Forget())
            (outcome,) = await asyncio.gather(forking, return_exceptions=True)
            name = fork_session_id(None, reader.session, "f")
            if isinstance(outcome, SessionNotFound):
                assert not await exists(hub, name)
            else:
                assert [turn.text for turn in await turns_of(hub, name)] == ["1?", "2?"]


async def test_a_session_is_forked_while_the_server_drains(store: Store) -> None:
    """Nothing is to run in it; the next server has it."""
    async with hub_over(store) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?")
        await hub.drain(1.0)
        forked = await fork(hub, reader.session, turns[0])
        assert [turn.text for turn in await turns_of(hub, forked.session)] == ["1?"]


async def test_a_fork_that_nobody_reads_leaves_the_memory(store: Store) -> None:
    """It counts as any idle session."""
    async with hub_over(store, memory=0) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?")
        forked = await fork(hub, reader.session, turns[0])
        assert hub.session_count == 1
        assert await exists(hub, forked.session)


async def test_a_fork_is_no_turn_that_has_ended(store: Store) -> None:
    """The log has one line for each turn that the model was asked for, and its copy is none."""
    async with hub_over(store, log_content=True) as (hub, _):
        reader = attach_reader(hub)
        turns = await ask_all(hub, reader, "1?")
        with capture_logs() as lines:
            await fork(hub, reader.session, turns[0])

    assert lines == []
