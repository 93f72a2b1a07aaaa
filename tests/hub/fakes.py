"""Fakes for the tests of the hub: a clock, a store that fails and waits, a reader that checks what it is shown."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from askbot_ws.core.allowance import NO_LIMITS, Allowances
from askbot_ws.core.commands import Ask
from askbot_ws.core.log_tail import LogTail
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import AskbotError, SessionNotFound, StoreError
from askbot_ws.events import (
    Done,
    Event,
    LaterEvent,
    Question,
    TextSlice,
    Thinking,
    Title,
    Token,
    TurnRecord,
    encode_event,
)
from askbot_ws.hub import Hub, Policy, Topic
from askbot_ws.hub.client_limits import ClientLimits
from askbot_ws.hub.owner import Owner
from askbot_ws.store import Entry, Failures, SessionPage, SessionQuery, Store, StoreStatistics, VacuumResult
from askbot_ws.store.memory import MemoryStore
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Upstream


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class FragileStore:
    """A store in memory that can be broken, at once or after a while, and can be made to wait like a slow disk."""

    def __init__(self, *, clock: Callable[[], float] = lambda: 1_700_000_000.0) -> None:
        self.inner: Store = MemoryStore(clock=clock)
        self.broken: Callable[[Sequence[Event]], bool] = lambda _: False  # says which batches fail
        self.slow = False  # every append takes at least a few rounds of the loop
        self.gate = asyncio.Event()  # no append is done while it is closed
        self.gate.set()
        self.unfinished: list[str] = []
        self.stored: list[Event] = []  # all that is durable
        self.batches = 0
        self.sweeps = 0
        self.lookups = 0  # of ids
        self.closed = False
        self._busy = False

    def break_down(self) -> None:
        self.broken = lambda _: True

    def mend(self) -> None:
        self.broken = lambda _: False

    def durable(self, session: str) -> list[Event]:
        return [event for event in self.stored if event.session == session]

    def append(self, batch: Mapping[str, Entry]) -> Failures | Awaitable[Failures]:
        assert not self._busy, "one call at a time"
        assert all(events for events, _ in batch.values())
        self.batches += 1
        if self.slow:
            self._busy = True
            return self._later(batch)
        return self._now(batch)

    async def _later(self, batch: Mapping[str, Entry]) -> Failures:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            await self.gate.wait()
            return self._now(batch)
        finally:
            self._busy = False

    def _now(self, batch: Mapping[str, Entry]) -> Failures:
        failures: Failures = {}
        for session, (events, frames) in batch.items():
            assert [*frames] == [encode_event(event) for event in events]
            assert {event.session for event in events} == {session}
            if self.broken(events):
                failures[session] = StoreError()
        kept = {session: entry for session, entry in batch.items() if session not in failures}
        outcome = self.inner.append(kept)
        assert isinstance(outcome, dict)
        for session, (events, _) in kept.items():
            if session not in outcome:
                self.stored += events
        return failures | outcome

    async def open(self) -> Sequence[str]:
        return self.unfinished

    def create(self, session: str, *, user: str | None = None) -> LogTail:
        return self.inner.create(session, user=user)

    async def load(self, session: str) -> LogTail:
        await asyncio.sleep(0)
        return await self.inner.load(session)

    def release(self, session: str) -> None:
        self.inner.release(session)

    async def read(self, session: str, *, after: int, limit: int) -> Sequence[Event]:
        return await self.inner.read(session, after=after, limit=limit)

    async def turns(self, session: str, *, before: int | None = None, limit: int) -> Sequence[TurnRecord]:
        await asyncio.sleep(0)
        return await self.inner.turns(session, before=before, limit=limit)

    async def find_turn(self, session: str, ask_id: str) -> str | None:
        self.lookups += 1
        await asyncio.sleep(0)
        return await self.inner.find_turn(session, ask_id)

    async def forget(self, *sessions: str) -> None:
        await self.inner.forget(*sessions)

    async def replay_start(self, session: str, *, turns: int) -> int:
        await asyncio.sleep(0)
        return await self.inner.replay_start(session, turns=turns)

    async def list_sessions(self, query: SessionQuery, *, before: str | None = None, limit: int) -> SessionPage:
        await asyncio.sleep(0)
        return await self.inner.list_sessions(query, before=before, limit=limit)

    async def spend(self, name: str, *, expires: float) -> bool:
        return await self.inner.spend(name, expires=expires)

    async def add_usage(self, user: str, day: str, tokens: int) -> int:
        return await self.inner.add_usage(user, day, tokens)

    async def usage(self, user: str) -> Mapping[str, int]:
        return await self.inner.usage(user)

    async def forget_usage(self, user: str) -> None:
        await self.inner.forget_usage(user)

    async def sweep(self, *, idle: float) -> int:
        self.sweeps += 1
        return await self.inner.sweep(idle=idle)

    async def ping(self) -> None:
        await self.inner.ping()

    async def vacuum(self) -> VacuumResult:
        return await self.inner.vacuum()

    def statistics(self) -> StoreStatistics:
        return self.inner.statistics()

    async def close(self) -> None:
        self.closed = True


class CheckedReader:
    """A reader that keeps what it is woken for, and holds the hub to promise 2: what it is shown is stored."""

    def __init__(self, topic: Topic, store: FragileStore | None = None) -> None:
        self.topic = topic
        self.session = topic.session
        self.events: list[Event] = []
        self.codes: list[str] = []  # of why there is no more to read
        self.changed = asyncio.Event()
        self._store = store

    def notify(self, events: Sequence[Event], frames: Sequence[bytes]) -> None:
        assert [*frames] == [encode_event(event) for event in events]
        if self.events:
            assert events[0].start == self.events[-1].seq, "a gap or an overlap"
        self.events += events
        if self._store is not None:
            durable = max((event.seq for event in self._store.durable(self.session)), default=0)
            shown = [event.seq for event in events if not isinstance(event, Done)]
            assert all(seq <= durable for seq in shown), "shown before it was logged"
        self.changed.set()

    def on_closed(self, error: AskbotError) -> None:
        self.codes.append(error.code)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def done(self, count: int = 1) -> Done:
        """The end of the turn that ends as the `count`-th."""
        await self.until(lambda: len(self.dones) >= count)
        return self.dones[count - 1]

    async def heard(self, text: str) -> None:
        """Wait for a text of the answer or of the reasoning."""
        await self.until(lambda: text in "".join(e.text for e in self.events if isinstance(e, TextSlice)))

    @property
    def dones(self) -> list[Done]:
        return [event for event in self.events if isinstance(event, Done)]

    @property
    def questions(self) -> list[Question]:
        return [event for event in self.events if isinstance(event, Question)]

    @property
    def slices(self) -> list[tuple[str, str]]:
        """The types and texts of all slices, neighbours of one type as one."""
        slices = [event for event in self.events if isinstance(event, TextSlice)]
        return [
            (kind.__name__, "".join(event.text for event in run)) for kind, run in itertools.groupby(slices, key=type)
        ]

    def answer(self, turn: str) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Token) and event.turn == turn)


@asynccontextmanager
async def hub_of(
    *scripts: Sequence[Step],
    store: FragileStore | None = None,
    upstream: Upstream | None = None,
    policy: Policy | None = None,
    clock: Clock | None = None,
    wall_clock: Clock | None = None,
    allowances: Allowances = NO_LIMITS,
    limits: ClientLimits | None = None,
) -> AsyncGenerator[Hub]:
    upstream = upstream or ScriptedUpstream(*scripts)
    clock, wall_clock = clock or Clock(), wall_clock or Clock()
    made = Hub(
        store or FragileStore(),
        upstream,
        policy or Policy(),
        clock=clock,
        wall_clock=wall_clock,
        allowances=allowances,
        limits=limits,
    )
    async with asyncio.timeout(20), made as hub:
        yield hub


def attach_reader(hub: Hub, topic: Topic | None = None, store: FragileStore | None = None) -> CheckedReader:
    """Attach a reader to a session, or to a new one."""
    reader = CheckedReader(topic or hub.create(ANONYMOUS), store)
    hub.attach(reader.topic, reader)
    return reader


async def ask(hub: Hub, reader: CheckedReader, text: str = "why?", **fields: Any) -> str:
    """Ask; returns the newest turn."""
    await hub.command(ANONYMOUS, reader.session, Ask(text=text, **fields))
    return reader.questions[-1].turn


def owner_of(hub: Hub, reader: CheckedReader) -> Owner:
    """The machine that writes the session."""
    return hub._registry.owners[reader.session]  # pyright: ignore[reportPrivateUsage]


async def run_ticks(count: int = 20) -> None:
    """Let everything that can happen by now happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def assert_proven(done: Done, answer: str) -> None:
    """The check of a `done` is the answer's."""
    assert (done.check.chars, done.check.sha256) == (len(answer), sha256(answer.encode()).hexdigest())


def assert_valid_log(events: Sequence[Event]) -> None:
    """A log has no gap, and each of its turns is a question, then text, then exactly one end, which proves the text."""
    place = 0
    text: dict[str, str] = {}
    ended: set[str] = set()
    for event in events:
        assert event.start == place
        place = event.seq
        match event:
            case Question():
                assert event.turn not in text
                text[event.turn] = ""
            case Token():
                assert event.turn not in ended
                text[event.turn] += event.text
            case Thinking():
                assert event.turn in text
                assert event.turn not in ended
            case Done():
                assert event.turn not in ended
                ended.add(event.turn)
                assert_proven(event, text[event.turn])
            case Title():
                assert text
            case LaterEvent():
                raise AssertionError(f"this version makes no {event.type}")
    assert ended == set(text)


async def exists(hub: Hub, session: str) -> bool:
    try:
        await hub.open(ANONYMOUS, session)
    except SessionNotFound:
        return False
    return True
