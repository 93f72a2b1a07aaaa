"""What every store promises: `askbot_ws.store.Store`, sentence by sentence."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from askbot_ws.core.cursor import replay_start
from askbot_ws.core.turn_records import turn_records
from askbot_ws.errors import LogMoved, SessionNotFound
from askbot_ws.events import Token
from askbot_ws.store import ANY_USER, SessionQuery, SessionSummary, Store
from askbot_ws.store.memory import MemoryStore
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.store.sqlite.store import SQLiteStore

from ..redis_server import RedisServer
from .event_factory import Clock, EventFactory, append, causes, flatten, flush, read_merged, try_append


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sqlite with fsync", "redis"])
async def store(request: Any, tmp_path: Path, clock: Clock) -> AsyncGenerator[Store, None]:
    kind: str = request.param
    store: Store
    if kind == "memory":
        store = MemoryStore(clock=clock, wall_clock=clock)
    elif kind == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        store = RedisStore(server.url, clock=clock, wall_clock=clock)
    else:
        store = SQLiteStore(tmp_path / "a.db", clock=clock, wall_clock=clock, fsync="fsync" in kind)
    assert await store.open() == []
    yield store
    await store.close()


async def test_a_session_that_nobody_made_is_not_found(store: Store) -> None:
    """By whichever door one asks for it."""
    with pytest.raises(SessionNotFound):
        await store.load("nobody")
    with pytest.raises(SessionNotFound):
        await store.read("nobody", after=0, limit=10)
    with pytest.raises(SessionNotFound):
        await store.turns("nobody", limit=10)
    with pytest.raises(SessionNotFound):
        await store.find_turn("nobody", "id")


async def test_a_log_is_nowhere_until_its_first_event(store: Store) -> None:
    """People open pages and never ask anything."""
    log = store.create("s")
    assert (log.head, await store.read("s", after=0, limit=10), await store.turns("s", limit=1)) == (0, [], [])
    assert await store.find_turn("s", "id") is None

    store.release("s")

    with pytest.raises(SessionNotFound):
        await store.load("s")


async def test_what_is_appended_is_in_the_log_that_was_handed_out(store: Store) -> None:
    """One object a session, and it is there once append is done."""
    log, factory = store.create("s"), EventFactory()

    await append(store, *factory.turn("t", "hello ", "world"))

    assert log.head == factory.head
    assert flatten(log.read(after=0)) == flatten(factory.events)
    assert await store.load("s") is log


async def test_an_append_is_all_or_none_for_each_session(store: Store) -> None:
    """One event that does not follow, and nothing of its session is added; the others' events are."""
    logs = store.create("good"), store.create("bad")
    good, bad = EventFactory("good"), EventFactory("bad")
    gap = [bad.question("t"), EventFactory("bad", head=7).token("t", "text")]

    failures = await try_append(store, good.question("t"), *gap)

    assert causes(failures) == {"bad": "the log is at 1, the event at 7"}
    assert [log.head for log in logs] == [1, 0]
    await append(store, *EventFactory("bad").turn("t", "again"))
    assert len(await store.turns("bad", limit=9)) == 1


async def test_an_event_of_a_session_that_is_not_in_memory_is_a_fault(store: Store) -> None:
    """Whoever writes has the log: another writer would be one too many."""
    store.create("other")

    failures = await try_append(store, EventFactory().question("t"), EventFactory("other").question("t"))

    assert causes(failures) == {"s": "the log is neither created nor loaded"}


async def test_nothing_is_appended_for_nothing(store: Store) -> None:
    """An empty tick is no event."""
    await append(store)


async def test_an_event_twice_in_one_batch_is_a_fault(store: Store) -> None:
    """Promise 1: nothing twice."""
    log = store.create("s")
    event = EventFactory().question("t")

    failures = await try_append(store, event, event)

    assert causes(failures) == {"s": "the log is at 1, the event at 0"}
    assert log.head == 0


async def test_an_event_that_was_shown_before_it_could_be_stored_is_only_stored(store: Store) -> None:
    """Decision 0004: an end that met a full disk. It is in the log already, and what follows is added."""
    log, factory = store.create("s"), EventFactory()
    await append(store, factory.question("t"))
    owed = factory.done("t", "error")
    log.append(owed)

    await append(store, owed, *factory.turn("t2", "text"))

    assert flatten(log.read(after=0)) == flatten(factory.events)


async def test_a_writer_that_has_been_left_behind_is_told_so(store: Store) -> None:
    """What others have appended stands in the places of its events: nothing of it is stored, an end neither."""
    log, ours, theirs = store.create("s"), EventFactory(), EventFactory()
    first = ours.turn("t", "text")
    await append(store, *first)
    theirs.head = ours.head
    late = [theirs.question("t6"), theirs.done("t6")]
    await append(store, *ours.turn("t6", "other"), *ours.turn("t13", "more"))

    for stale in ([late[0]], [late[1]], late, [first[1]]):
        assert isinstance((await try_append(store, *stale))["s"], LogMoved)

    assert flatten(log.read(after=0)) == flatten(ours.events)


async def test_sessions_in_one_batch_do_not_mix(store: Store) -> None:
    """A tick's events come from everywhere."""
    factories = [EventFactory(name) for name in "abc"]
    for factory in factories:
        store.create(factory.session)
    events = [
        event for factory in factories for event in (factory.question("t"), factory.token("t", factory.session * 5))
    ]
    events += [factory.done("t") for factory in reversed(factories)]

    await append(store, *events)
    await flush(store)

    for factory in factories:
        assert flatten(await read_merged(store, factory.session)) == flatten(factory.events)


@pytest.mark.parametrize("limit", [1, 7, 100, 32_768])
async def test_reading_on_from_anywhere_gives_what_follows(store: Store, limit: int) -> None:
    """Promise 1, across what is in memory and what is not, inside slices too."""
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t1", "x" * 40_000, "éa🙂", "\x00\n"), factory.question("t2"))
    await flush(store)
    await append(store, factory.token("t2", "and on"))

    for after in [*range(6), 20_000, *range(39_990, factory.head + 1)]:
        if limit > 50 or after > 39_990:
            assert flatten(await read_merged(store, after=after, limit=limit)) == flatten(factory.events)[after:]


async def test_reasoning_is_kept_in_its_place(store: Store) -> None:
    """Each code point at its `seq`, with its type, from wherever one reads; neighbours are joined, kinds are not."""
    store.create("s")
    factory = EventFactory()
    thinking = '{"type": "done"}', " 🙂"
    await append(store, factory.question("t1"), *(factory.thinking("t1", text) for text in thinking))
    await append(store, factory.token("t1", "so"), factory.thinking("t1", "x" * 40_000))
    await flush(store)
    await append(store, factory.thinking("t1", "y"), factory.token("t1", "z"), factory.done("t1"))
    store.release("s")
    await flush(store)

    for after in [*range(25), 20_000, *range(factory.head - 5, factory.head + 1)]:
        assert flatten(await read_merged(store, after=after, limit=1000)) == flatten(factory.events)[after:]
    kinds = [event.type for event in await read_merged(store)]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [
        "question",
        "thinking",
        "token",
        "thinking",
        "token",
        "done",
    ]
    assert kinds[:3] == ["question", "thinking", "token"]


async def test_a_turn_with_reasoning_is_told_with_its_steps(store: Store) -> None:
    """While it runs, half of it flushed; and once it has ended. Other turns have none."""
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t1", "plain"), factory.question("t2"), factory.thinking("t2", "a"))
    await flush(store)
    await append(store, factory.thinking("t2", "b"), factory.token("t2", "so"), factory.thinking("t2", "c"))
    steps = [("thinking", "ab"), ("text", "so"), ("thinking", "c")]

    for reason in (None, "stop"):
        plain, told = await store.turns("s", limit=9)
        assert (plain.steps, told.answer, told.reason, told.seq) == (None, "so", reason, factory.head)
        assert [(step.type, step.text) for step in told.steps or ()] == steps
        assert [turn.steps for turn in await store.turns("s", limit=1)] == [told.steps]
        if reason is None:
            await append(store, factory.done("t2"))
            await flush(store)


async def test_a_slice_is_cut_at_the_limit_but_never_empty(store: Store) -> None:
    """A frame has a size, and a reader gets on."""
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "🙂" * 10))

    first = await store.read("s", after=1, limit=9)
    least = await store.read("s", after=1, limit=1)

    assert [event.text for event in [*first, *least] if isinstance(event, Token)] == ["🙂🙂", "🙂"]


async def test_a_session_that_was_released_comes_back_whole(store: Store) -> None:
    """Release and load are no more than memory."""
    store.create("s")
    factory = EventFactory()
    for number in range(5):
        await append(store, *factory.turn(f"t{number}", "answer " * 1_000, id=f"a{number}"))
    await append(store, factory.question("t5"), factory.token("t5", "half"))
    store.release("s")
    await flush(store)

    assert flatten(await read_merged(store)) == flatten(factory.events)
    log = await store.load("s")

    assert log.head == factory.head
    await append(store, factory.token("t5", " and whole"), factory.done("t5"))
    assert flatten(await read_merged(store)) == flatten(factory.events)
    assert (await store.turns("s", limit=1))[0].answer == "half and whole"


async def test_what_is_released_and_loaded_at_once_is_the_same(store: Store) -> None:
    """A reload of a page lets go and comes back."""
    log, factory = store.create("s"), EventFactory()
    await append(store, *factory.turn("t", "text"))
    store.release("s")

    assert await store.load("s") is log
    await flush(store)
    assert await store.load("s") is log


async def test_to_release_what_is_not_there_is_no_error(store: Store) -> None:
    """A connection may end after its session was forgotten."""
    store.release("nobody")


async def test_turns_are_the_newest_oldest_first(store: Store) -> None:
    """What a page shows first, and what it gets when it scrolls up."""
    store.create("s")
    factory = EventFactory()
    for number in range(6):
        await append(store, *factory.turn(f"t{number}", f"answer {number}"))
        if number == 3:
            await flush(store)

    newest = await store.turns("s", limit=3)
    older = await store.turns("s", before=newest[0].from_ + 1, limit=2)
    oldest = await store.turns("s", before=older[0].from_ + 1, limit=50)

    assert [turn.turn for turn in newest] == ["t3", "t4", "t5"]
    assert [turn.turn for turn in older] == ["t1", "t2"]
    assert [(turn.turn, turn.answer, turn.from_, turn.reason) for turn in oldest] == [("t0", "answer 0", 0, "stop")]
    assert await store.turns("s", before=0, limit=50) == []
    assert await store.turns("s", limit=0) == []


async def test_a_turn_that_runs_is_told_as_far_as_it_is(store: Store) -> None:
    """Half of it flushed, half of it not, and a question that waits in between."""
    store.create("s")
    factory = EventFactory()
    await append(store, factory.question("t1", "first", id="a1"), factory.token("t1", "one "))
    await append(store, factory.question("t2", "second", id="a2"), factory.done("t2", "cancelled"))
    await flush(store)
    await append(store, factory.question("t3"), factory.token("t1", "two"))

    first, second, third = await store.turns("s", limit=9)

    assert (first.turn, first.id, first.text, first.answer, first.reason) == ("t1", "a1", "first", "one two", None)
    assert (first.from_, first.seq) == (0, factory.head)
    assert (second.answer, second.reason) == ("", "cancelled")
    assert (third.answer, third.reason) == ("", None)
    assert [turn.turn for turn in await store.turns("s", limit=1)] == ["t3"]


async def test_a_question_is_found_by_the_id_it_was_asked_with(store: Store) -> None:
    """Promise 3, before and after it is flushed, and only in its own session."""
    store.create("s")
    store.create("other")
    factory = EventFactory()
    await append(store, *factory.turn("t1", "x", id="a"), *EventFactory("other").turn("t9", "x", id="b"))
    assert await store.find_turn("s", "a") == "t1"

    await flush(store)

    assert await store.find_turn("s", "a") == "t1"
    assert await store.find_turn("s", "b") is None
    assert await store.find_turn("other", "b") == "t9"


async def test_what_is_forgotten_is_gone(store: Store) -> None:
    """With or without having been flushed; other sessions stay."""
    for name in ("s", "other"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", "text", id="a"))
    await flush(store)
    await append(store, EventFactory("s", head=6).question("t2"))

    await store.forget("s")

    for door in (
        store.load("s"),
        store.read("s", after=0, limit=9),
        store.turns("s", limit=9),
        store.find_turn("s", "a"),
    ):
        with pytest.raises(SessionNotFound):
            await door
    assert len(await store.turns("other", limit=9)) == 1


async def test_several_are_forgotten_at_once(store: Store) -> None:
    """Those that are named, unknown ones among them; the others stay."""
    for name in ("a", "b", "c"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", "text"))

    await store.forget("a", "nobody", "c")

    left = await store.list_sessions(SessionQuery(ANY_USER), limit=9)
    assert [one.session for one in left.sessions] == ["b"]
    assert [event.session for event in await read_merged(store, "b")][:1] == ["b"]


async def test_to_forget_what_is_not_there_is_no_error(store: Store) -> None:
    """Whoever asks twice has got what they wanted."""
    await store.forget("nobody")


async def test_a_forgotten_session_may_begin_again(store: Store) -> None:
    """And what it held before does not come back."""
    store.create("s")
    await append(store, *EventFactory().turn("t", "before"))
    await store.forget("s")
    store.create("s")
    factory = EventFactory()

    await append(store, *factory.turn("t", "after"))
    await flush(store)

    assert flatten(await read_merged(store)) == flatten(factory.events)


async def test_a_session_can_be_made_once(store: Store) -> None:
    """Two logs of one session would be two writers."""
    store.create("s")

    with pytest.raises(ValueError, match="exists"):
        store.create("s")


async def test_a_sweep_takes_what_is_old_and_not_in_use(store: Store, clock: Clock) -> None:
    """Age is the time since the last event."""
    for name in ("old", "used", "fresh"):
        store.create(name)
        await append(store, *EventFactory(name).turn("t", "text"))
    await flush(store)
    clock.now += 100
    log = await store.load("fresh")
    await append(store, *EventFactory("fresh", head=log.head).turn("t2", "text"))
    for name in ("old", "fresh"):
        store.release(name)
    await flush(store)

    assert await store.sweep(idle=50) == 1

    with pytest.raises(SessionNotFound):
        await store.load("old")
    assert await store.turns("used", limit=1)
    assert await store.turns("fresh", limit=1)
    assert await store.sweep(idle=50) == 0


async def test_a_replay_begins_where_the_newest_turns_do(store: Store) -> None:
    """Without a word of the turns themselves; also where all, some or none of them has moved on."""
    store.create("s")
    factory = EventFactory()
    assert await store.replay_start("s", turns=3) == 0
    starts = list[int]()
    for number in range(8):
        starts.append(factory.head)
        await append(store, *factory.turn(f"t{number}", "text"))
        if number == 4:
            await flush(store)

    assert [await store.replay_start("s", turns=turns) for turns in (1, 3, 4, 8, 50)] == [
        starts[-1],
        starts[-3],
        starts[-4],
        0,
        0,
    ]
    with pytest.raises(SessionNotFound):
        await store.replay_start("nobody", turns=1)


steps = st.lists(st.tuples(st.sampled_from(["ask", "say", "say", "end", "flush"]), st.integers(0, 9)), max_size=60)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_a_replay_and_a_page_are_what_the_turns_themselves_say(kind: str, steps: list[tuple[str, int]]) -> None:
    """However they are interleaved: as it is found in the whole turns, for every number of them."""
    with TemporaryDirectory() as folder:
        store: Store = MemoryStore() if kind == "memory" else SQLiteStore(Path(folder) / "a.db")
        asyncio.run(tell_turns(store, store, steps))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
@example(steps=[("ask", 0), ("say", 1), ("ask", 0), ("say", 0), ("end", 0), ("ask", 0), ("say", 0)])  # they overlap
def test_a_replay_and_a_page_are_the_same_on_another_node(redis: RedisServer, steps: list[tuple[str, int]]) -> None:
    """It has nothing in memory, so it reads the indexes."""
    redis.flush()
    asyncio.run(tell_turns(RedisStore(redis.url), RedisStore(redis.url), steps))


async def tell_turns(store: Store, reader: Store, steps: list[tuple[str, int]]) -> None:
    """Take the steps, and compare what another store of the same sessions (or the same) reads with the whole turns."""
    for each in {store, reader}:
        await each.open()
    store.create("s")
    factory, running = EventFactory(), list[str]()
    for what, which in steps:
        if what == "flush":
            await flush(store)
        elif what == "ask":
            running.append(f"t{factory.head}")
            await append(store, factory.question(running[-1]))
        elif running:
            turn = running[which % len(running)]
            say = factory.thinking if which % 3 == 0 else factory.token
            await append(store, say(turn, "x" * (which + 1)) if what == "say" else factory.done(turn))
            if what == "end":
                running.remove(turn)
    await compare_turns(reader if factory.events else store, factory)  # only its maker has a session without events
    for each in {store, reader}:
        await each.close()


async def compare_turns(store: Store, factory: EventFactory) -> None:
    """Compare what a store reads with the whole turns."""
    turns = turn_records(factory.events)
    for count in range(1, 12):
        assert await store.replay_start("s", turns=count) == replay_start(turns, count=count)
    for before in range(0, factory.head + 3, 5):
        older = [turn for turn in turns if turn.from_ + 1 < before]
        assert await store.turns("s", before=before, limit=3) == older[-3:]
    assert await store.turns("s", limit=3) == turns[-3:]


async def test_a_store_that_is_well_says_so(store: Store) -> None:
    """Readiness is a write, not a wish."""
    await store.ping()


# --- who made a session ----------------------------------------------------------------------------------------------


async def test_a_session_keeps_who_made_it(store: Store) -> None:
    """From its first event on, in memory or not; one that an anonymous client made has nobody."""
    users: dict[str, str | None] = {"hers": "ann", "his": "bob \n🙂", "nobodys": None}
    for session, user in users.items():
        assert store.create(session, user=user).user == user
        await append(store, *EventFactory(session).turn("t", "text"))
        store.release(session)
    await flush(store)

    assert {session: (await store.load(session)).user for session in users} == users


async def test_a_user_who_is_none_makes_no_session(store: Store) -> None:
    """An empty name would be nobody's in one place and somebody's in another."""
    for user in ("", "\ud800"):
        with pytest.raises(ValueError, match=r"empty|surrogate"):
            store.create("s", user=user)
    store.create("s")


async def test_a_forgotten_session_leaves_its_user_behind(store: Store) -> None:
    """Whoever makes one of that name later is its user."""
    store.create("s", user="ann")
    await append(store, *EventFactory().turn("t", "text"))
    await flush(store)
    await store.forget("s")

    store.create("s", user="bob")
    await append(store, *EventFactory().turn("t", "text"))

    assert [one.session for one in (await listed(store, "bob"))] == ["s"]
    assert await listed(store, "ann") == []


async def listed(store: Store, user: Any, *, limit: int = 100, idle: float | None = None) -> list[SessionSummary]:
    """All pages of a list."""
    found: list[SessionSummary] = []
    before: str | None = None
    while True:
        page = await store.list_sessions(SessionQuery(user, idle), before=before, limit=limit)
        assert len(page.sessions) <= limit
        found += page.sessions
        if page.more is None:
            return found
        assert len(page.sessions) == limit
        before = page.more


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_list_sums_up_each_session(store: Store, clock: Clock, *, flushed: bool) -> None:
    """Its title, the beginning of its first question in one line, when, how long, and whether it runs."""
    factory = EventFactory()
    store.create("s", user="ann")
    first = factory.question("t1", "  why\n\tis it \x1b[31m" + "x" * 300, created=10.0)
    await append(store, first, factory.token("t1", "text"), factory.done("t1"))
    await append(store, factory.question("t7", "and?", created=20.0), factory.token("t7", "half"))
    if flushed:
        await flush(store)
        store.release("s")
        await flush(store)

    [one] = await listed(store, "ann")
    assert (one.session, one.user, one.title, one.turns, one.seq, one.running) == (
        "s", "ann", None, 2, factory.head, True,
    )  # fmt: skip
    assert one.question == ("why is it [31m" + "x" * 300)[:200]
    assert (one.created, one.updated) == (clock.now, clock.now)  # later than its questions say, as of a fork

    await store.load("s")
    await append(store, factory.title("Colours"), factory.done("t7"))
    if flushed:
        await flush(store)

    [one] = await listed(store, "ann")
    assert (one.title, one.turns, one.seq, one.running) == ("Colours", 2, factory.head, False)


async def test_a_list_is_paged_from_the_newest_on(store: Store) -> None:
    """Whatever the size of the pages, and wherever the sessions are; each user has their own."""
    for number in range(7):
        session = f"s{number}"
        user = (None, "ann")[number % 2]
        store.create(session, user=user)
        factory = EventFactory(session)
        created = 2_000.0 + number // 2 % 2  # some are of the same moment
        await append(store, factory.question("t", created=created), factory.done("t"))
        if number < 4:
            store.release(session)
            await flush(store)
    newest = sorted([(2_001.0 + number // 2 % 2, f"s{number}") for number in range(7)], reverse=True)

    for limit in (1, 2, 3, 10):
        found = [(one.updated, one.session) for one in await listed(store, ANY_USER, limit=limit)]
        assert found == newest
        for user, rest in (("ann", 1), (None, 0)):
            mine = [one.session for one in await listed(store, user, limit=limit)]
            assert mine == [session for _, session in newest if int(session[1:]) % 2 == rest]
    assert await listed(store, "bob") == []


async def test_a_list_has_neither_the_empty_nor_the_forgotten(store: Store) -> None:
    """People open pages and never ask; and what is deleted is nowhere."""
    store.create("empty", user="ann")
    for session in ("forgotten", "kept"):
        store.create(session, user="ann")
        await append(store, *EventFactory(session).turn("t", "text"))
    await flush(store)
    await store.forget("forgotten")

    assert [one.session for one in await listed(store, "ann")] == ["kept"]


async def test_a_list_of_the_idle_leaves_out_what_is_new(store: Store, clock: Clock) -> None:
    """For whoever cleans up."""
    for session in ("old", "fresh"):
        store.create(session)
        await append(store, *EventFactory(session).turn("t", "text"))
        await flush(store)
        clock.now += 100

    assert [one.session for one in await listed(store, ANY_USER, idle=150)] == ["old"]


@pytest.mark.parametrize("before", ["", "x", "🙂", "bnVsbA", "WzEsMl0", "W3RydWUsInMiXQ", "eyJhIjoxfQ", "="])
async def test_a_page_before_nonsense_is_refused(store: Store, before: str) -> None:
    """Clients send it back, and can send anything."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever says so
        await store.list_sessions(SessionQuery("ann"), before=before, limit=1)


# --- what is used up -------------------------------------------------------------------------------------------------


async def test_a_name_is_spent_once(store: Store, clock: Clock) -> None:
    """Of many who come at once, one may use it; until it has expired for a day, whatever is swept."""
    outcomes = await asyncio.gather(*(store.spend("ticket", expires=clock.now + 30) for _ in range(10)))
    assert sorted(outcomes) == [*[False] * 9, True]
    assert await store.spend("another", expires=clock.now + 30)

    clock.now += 3600
    await store.sweep(idle=1e9)
    assert not await store.spend("ticket", expires=clock.now + 30)

    clock.now += 2 * 86_400
    await store.sweep(idle=1e9)
    assert await store.spend("ticket", expires=clock.now + 30)


async def test_what_a_user_used_is_read_and_forgotten(store: Store) -> None:
    """All days of one user, and of no other."""
    for day, tokens in (("2026-11-28", 5), ("2026-11-27", 7)):
        await store.add_usage("ann", day, tokens)
    await store.add_usage("bob", "2026-11-28", 9)

    assert [*(await store.usage("ann")).items()] == [("2026-11-27", 7), ("2026-11-28", 5)]
    await store.forget_usage("ann")
    await store.forget_usage("nobody")
    assert (await store.usage("ann"), await store.usage("bob")) == ({}, {"2026-11-28": 9})
    assert await store.add_usage("ann", "2026-11-28", 1) == 1


async def test_usage_is_counted_by_user_and_day(store: Store, clock: Clock) -> None:
    """It may be corrected downwards, and is removed once nobody asks for it."""
    today = "1970-01-01"
    assert await store.add_usage("ann", today, 0) == 0
    await asyncio.gather(*(store.add_usage("ann", today, 10) for _ in range(10)))
    await store.add_usage("bob", today, 7)
    assert await store.add_usage("ann", today, -30) == 70
    assert await store.add_usage("ann", "1970-01-02", 5) == 5

    clock.now += 30 * 86_400
    await store.sweep(idle=1e9)
    assert await store.add_usage("ann", today, 0) == 70

    clock.now += 2 * 86_400
    await store.sweep(idle=1e9)
    assert await store.add_usage("ann", today, 0) == 0
    assert await store.add_usage("bob", today, 0) == 0


async def test_a_vacuum_keeps_everything(store: Store) -> None:
    """What is stored, a turn that runs, and what is added meanwhile."""
    store.create("s")
    factory = EventFactory()
    await append(store, *factory.turn("t", "before"), factory.question("u"), factory.token("u", "half "))
    vacuum = asyncio.create_task(store.vacuum())
    await asyncio.sleep(0)
    await append(store, factory.token("u", "and half"), factory.done("u"))
    done = await vacuum

    assert min(done.before, done.after) >= 0
    assert flatten(await read_merged(store, "s")) == flatten(factory.events)
    assert [turn.answer for turn in await store.turns("s", limit=9)] == ["before", "half and half"]
