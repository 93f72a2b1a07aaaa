"""Commits: many together, and under load later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from askbot_ws.core.log_tail import MAX_TOKEN_CHARS
from askbot_ws.core.session import SessionMachine
from askbot_ws.events import Event, TextSlice, Thinking, Token
from askbot_ws.hub import Topic
from askbot_ws.hub import group_commit as module
from askbot_ws.hub.group_commit import MIN_EVENTS_FOR_THROTTLE, AppendInterval, GroupCommit, Throttle
from askbot_ws.hub.owner import Owner
from askbot_ws.store import Entry, Failures, Store
from askbot_ws.store.memory import MemoryStore

from .fakes import FragileStore, ask, assert_valid_log, attach_reader, hub_of, run_ticks


def commits_of(
    store: Store, throttle: Throttle | None = None, *, interval: AppendInterval | None = None
) -> GroupCommit:
    """Commits of which none may fail."""

    def failed(owner: Owner, events: Sequence[Event], error: Exception) -> None:
        raise error

    def broken(owner: Owner, error: Exception) -> None:
        raise error

    return GroupCommit(
        store, on_failed=failed, on_stored=lambda _: None, on_broken=broken, throttle=throttle, interval=interval
    )


def owner_in(store: Store, session: str) -> Owner:
    return Owner(SessionMachine(session), Topic(store.create(session)))


def token_of(owner: Owner) -> Token:
    owner.state.head += 1
    return Token(session=owner.session, turn="t1", seq=owner.state.head, text="x")


class CountingStore(MemoryStore):
    """Counts what it is given."""

    appends = 0

    def append(self, batch: Mapping[str, Entry]) -> Failures:
        self.appends += 1
        return super().append(batch)

    async def wait_for_appends(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.appends < count:  # noqa: ASYNC110 - an event would have to be made for each count
                await asyncio.sleep(0.001)


async def test_neighbours_of_one_kind_are_one_event() -> None:
    """What comes in one tick: reasoning and text apart, in their order; nothing beyond what fits into a frame."""
    store = MemoryStore()
    commits, owner = commits_of(store), owner_in(store, "s")
    batches: list[Sequence[Event]] = []

    class Reader:
        def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
            batches.append(events)

        def on_closed(self, error: Exception) -> None:
            raise error

    owner.topic.add(Reader())
    long = "x" * MAX_TOKEN_CHARS
    kinds: list[tuple[type[Token | Thinking], str]] = [
        (Thinking, "a"), (Thinking, "b"), (Token, "c"), (Token, "d"), (Thinking, "e"), (Thinking, long)
    ]  # fmt: skip
    for kind, text in kinds:
        owner.state.head += len(text)
        commits.add_text(owner, [kind(session="s", seq=owner.state.head, turn="t1", text=text)])
    await asyncio.sleep(0)

    [events] = batches
    assert [(type(event), event.text) for event in events if isinstance(event, TextSlice)] == [
        (Thinking, "ab"),
        (Token, "cd"),
        (Thinking, "e"),
        (Thinking, long),
    ]


class Counting:
    """A throttle that is always asked, and counts how often."""

    def __init__(self, pause: float = 0.001) -> None:
        self.pause = pause
        self.count = 0

    def after_commit(self) -> None:
        self.count += 1


async def test_the_loop_may_pause_after_a_commit() -> None:
    """Where it has to: docs/decisions/0006."""
    store, throttle = MemoryStore(), Counting()
    commits = commits_of(store, throttle)
    owner = owner_in(store, "s")
    for _ in range(3):
        commits.add(owner, [token_of(owner)])
        await asyncio.sleep(0)

    assert (throttle.count, owner.topic.log.head) == (3, 3)


async def test_few_events_are_no_reason_to_ask() -> None:
    """The clocks cost something too."""
    store, throttle = MemoryStore(), Counting(pause=0.0)
    commits = commits_of(store, throttle)
    owner = owner_in(store, "s")
    for _ in range(2 * MIN_EVENTS_FOR_THROTTLE):
        commits.add(owner, [token_of(owner)])
        await asyncio.sleep(0)

    assert throttle.count == 2


async def test_a_waiting_command_is_not_kept_waiting() -> None:
    """Whoever waits for the store has a turn to begin: the loop does not stop before it."""
    store, throttle = MemoryStore(), Counting()
    commits = commits_of(store, throttle)
    owner = owner_in(store, "s")
    for _ in range(5):
        commits.add(owner, [token_of(owner)])
        await commits.wait_stored(owner)

    assert (throttle.count, owner.topic.log.head) == (0, 5)


async def test_a_store_over_a_network_is_given_more_at_once() -> None:
    """What comes within the interval after an append is in the next one."""
    store = CountingStore()
    commits, owner = commits_of(store, interval=AppendInterval(0.0, 0.3, 3)), owner_in(store, "s")
    for _ in range(3):
        commits.add(owner, [token_of(owner)])
        await run_ticks()
        assert store.appends == 1
    await store.wait_for_appends(2)
    assert owner.topic.log.head == 3


async def test_a_command_ends_the_interval() -> None:
    """It is not kept waiting, nor is what has waited before it."""
    store = CountingStore()
    commits, owner = commits_of(store, interval=AppendInterval(0.0, 60.0, 3)), owner_in(store, "s")
    for _ in range(2):
        commits.add(owner, [token_of(owner)])
        await run_ticks()
        assert store.appends == 1
    async with asyncio.timeout(30):
        await commits.wait_stored(owner)
    assert (store.appends, owner.topic.log.head) == (2, 2)


async def test_enough_sessions_are_not_kept_waiting_for_others() -> None:
    """Their events are in one append, at the end of the tick in which there are enough, but not before the shortest."""
    store = CountingStore()
    commits = commits_of(store, interval=AppendInterval(0.05, 60.0, 3))
    first, *owners = (owner_in(store, name) for name in "abcdef")
    commits.add_text(first, [token_of(first)])
    await run_ticks()
    begun = asyncio.get_running_loop().time()
    for owner in owners[:2]:
        commits.add_text(owner, [token_of(owner)])
    await asyncio.sleep(0.1)
    assert store.appends == 1

    for owner in owners[2:]:
        commits.add_text(owner, [token_of(owner)])
    await run_ticks()
    assert (store.appends, [owner.topic.log.head for owner in owners]) == (2, [1] * 5)

    for owner in (first, *owners):
        commits.add_text(owner, [token_of(owner)])
    await run_ticks()
    assert store.appends == 2
    await store.wait_for_appends(3)
    assert asyncio.get_running_loop().time() - begun >= 0.05


async def test_nor_where_a_tick_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waits for may be in a part: the end of that tick is no time to pause either."""
    monkeypatch.setattr(module, "MAX_BATCH_SESSIONS", 2)
    store, throttle = MemoryStore(), Counting()
    commits = commits_of(store, throttle)
    one, two = (owner_in(store, name) for name in "ab")
    for _ in range(5):
        commits.add(one, [token_of(one)])
        waiting = commits.wait_stored(one)
        waiting.send(None)
        commits.add_text(two, [token_of(two)])
        with pytest.raises(StopIteration):
            waiting.send(None)
        await asyncio.sleep(0)

    assert throttle.count == 0


SESSIONS = 20  # that have text in the same tick


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_SESSIONS", 8)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("slow", [False, True], ids=["sync", "slow"])
async def test_many_sessions_at_once_are_written_in_parts(slow: bool) -> None:  # noqa: FBT001
    """What comes while others wait is not kept for the end of the tick; it is stored before it is shown, as ever."""
    gates = [asyncio.Event() for _ in range(3)]
    script: Sequence[str | asyncio.Event] = [gates[0], "one ", gates[1], "two ", gates[2]]
    store = FragileStore()
    async with hub_of(*[script] * SESSIONS, store=store) as hub:
        readers = [attach_reader(hub, store=store) for _ in range(SESSIONS)]
        for reader in readers:
            await ask(hub, reader)
        store.slow = slow
        for gate in gates:
            before = store.batches
            gate.set()
            await run_ticks(40)
            if gate is not gates[2] and not slow:
                assert store.batches - before == 3
        for reader in readers:
            await reader.done()
            assert reader.answer("t1") == "one two "
            assert_valid_log(reader.events)
            assert_valid_log(store.durable(reader.session))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("slow", [False, True], ids=["sync", "slow"])
async def test_many_sessions_lose_only_what_could_not_be_stored(slow: bool) -> None:  # noqa: FBT001
    """A store that fails in the middle of a tick: those turns end with an error, and what they show is proven."""
    gates = [asyncio.Event() for _ in range(2)]
    script: Sequence[str | asyncio.Event] = [gates[0], "one ", gates[1], "two "]
    store = FragileStore()
    async with hub_of(*[script] * SESSIONS, store=store) as hub:
        readers = [attach_reader(hub, store=store) for _ in range(SESSIONS)]
        for reader in readers:
            await ask(hub, reader)
        store.slow = slow
        gates[0].set()
        await run_ticks(40)
        unlucky = {reader.session for reader in readers[9:12]}
        store.broken = lambda events: any(type(event) is Token and event.session in unlucky for event in events)
        gates[1].set()
        await run_ticks(40)
        store.mend()
        for reader in readers:
            done = await reader.done()
            assert (done.reason, reader.answer("t1")) in {("stop", "one two "), ("error", "one ")}
            assert_valid_log(reader.events)
        assert {reader.session for reader in readers if reader.dones[0].reason == "error"} >= unlucky
        assert slow or readers[-1].dones[0].reason == "stop"
