"""SQLiteStore against the simplest store there is, through any life: a list of events a session."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from askbot_ws.core.cursor import replay_start
from askbot_ws.core.summary import LogSummary
from askbot_ws.core.turn_records import turn_records
from askbot_ws.errors import SessionNotFound, StoreError
from askbot_ws.events import Thinking, Token
from askbot_ws.store import ANY_USER, SessionQuery, SessionSummary
from askbot_ws.store.session_list import to_session_summary
from askbot_ws.store.sqlite.maintenance.backup import backup
from askbot_ws.store.sqlite.store import SQLiteStore

from .event_factory import EventFactory, append, flatten, flush, read_merged, try_append
from .test_sqlite_sync_faults import disk

LONG = "long"  # stands for a text that is: a failure shall be readable
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.just(LONG)
STEPS = [
    *("ask", "answer", "answer", "answer", "think", "end", "name", "flush", "release", "forget", "sweep"),
    *("crash", "restart", "power cut", "back up and go on with the copy"),
    *("answer while the disk fails", "forget while the disk fails", "forget while the file is locked"),
    *("flush while the file is locked", "forget while the file is read", "crash while the file is locked"),
]
steps = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(STEPS), texts), max_size=25)
USERS = {"a": "ann", "b": None}
NOW = 1_800_000_000.0  # seconds since 1970
FAULTS = [{"write"}, {"write", "ftruncate"}, {"write", "ftruncate", "unlink"}, {"fdatasync"}, {"fdatasync", "unlink"}]


class Life:
    """A store and what should be in it."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.path = path
        self.fsync = fsync
        self.factories: dict[str, EventFactory] = {}
        self.open_turns: dict[str, list[str]] = {"a": [], "b": []}
        self.turns = 0
        self.boots = 0
        self.history = ""

    async def begin(self, *, another_history: bool = False) -> None:
        self.store = SQLiteStore(
            self.path,
            segment_bytes=500,
            fsync=self.fsync,
            wall_clock=lambda: NOW,
            boot=f"boot {self.boots}",
            busy_timeout=0.001,
        )
        unfinished = await self.store.open()
        assert sorted(unfinished) == sorted(name for name in self.factories if self.open_turns[name])
        history = self.store.create("another").history
        self.store.release("another")
        assert not self.history or (history != self.history) is another_history
        self.history = history

    async def factory(self, name: str) -> EventFactory:
        if name not in self.factories:
            self.factories[name] = EventFactory(name)
            self.store.create(name, user=USERS[name])
        elif self.factories[name].events:
            await self.store.load(name)
        return self.factories[name]

    async def step(self, name: str, what: str, text: str) -> None:
        running = self.open_turns[name]
        text = "x" * 40_000 if text == LONG else text
        match what:
            case "ask":
                self.turns += 1
                running.append(f"t{self.turns}")
                factory = await self.factory(name)
                await append(self.store, factory.question(running[-1], text, id=f"id{self.turns}"))
            case "answer" | "think" if running:
                factory = await self.factory(name)
                add = factory.token if what == "answer" else factory.thinking
                await append(self.store, add(running[0], text))
            case "end" if running:
                factory = await self.factory(name)
                await append(self.store, factory.done(running.pop()))
            case "answer while the disk fails" if running:
                await self.refused(name, text)
            case "name" | "flush" | "release" | "forget" | "sweep":
                await (self.name(name, text) if what == "name" else getattr(self, what)(name))
            case "crash" | "restart" | "power cut":
                await self.end(what)
            case "forget while the disk fails":
                await self.forget_fails(name, text)
            case "back up and go on with the copy":
                self.path = await self.copy()
                await self.store.close()
                await self.begin(another_history=True)
            case _ if what.endswith(("the file is locked", "the file is read")):
                await self.beside(name, what)
            case _:
                pass

    async def name(self, name: str, title: str) -> None:
        if name in self.factories and self.factories[name].events:
            factory = await self.factory(name)
            await append(self.store, factory.title(title[:200]))

    async def flush(self, _: str) -> None:
        await flush(self.store)

    async def release(self, name: str) -> None:
        self.store.release(name)

    async def forget(self, name: str) -> None:
        await self.store.forget(name)
        self.gone(name)

    def gone(self, name: str) -> None:
        self.factories.pop(name, None)
        self.open_turns[name].clear()

    async def sweep(self, _: str) -> None:
        """Of what nobody uses, all goes."""
        for name in self.factories:
            self.store.release(name)
        await flush(self.store)
        assert await self.store.sweep(idle=3600) == 0
        assert await self.store.sweep(idle=-1) == len(self.factories)
        for name in [*self.factories]:
            self.gone(name)

    async def end(self, how: str) -> None:
        await (self.store.close() if how == "restart" else self.store.close_without_flush())
        self.boots += how == "power cut"
        await self.begin(another_history=how == "power cut" and not self.fsync)

    async def copy(self) -> Path:
        to = self.path.with_name(f"copy{self.turns}{len(list(self.path.parent.iterdir()))}.db")
        backup(self.path, to)
        return to

    async def refused(self, name: str, text: str) -> None:
        """Nothing of it may ever be seen; where the fault is not met, all of it is."""
        factory, turn = await self.factory(name), self.open_turns[name][0]
        first = Token(session=name, seq=factory.head + 7, turn=turn, text="refused")
        second = Thinking(session=name, seq=first.seq + len(text), turn=turn, text=text)
        failing = set(FAULTS[len(text) % len(FAULTS)])
        with disk(lambda call: call in failing):
            failures = await try_append(self.store, first, second)
        if not failures:
            factory.token(turn, "refused")
            factory.thinking(turn, text)

    async def forget_fails(self, name: str, text: str) -> None:
        """It is gone, or it is as it was."""
        failing = set(FAULTS[len(text) % len(FAULTS)])
        with disk(lambda call: call in failing):
            try:
                await self.store.forget(name)
            except StoreError:
                return
        self.gone(name)

    async def beside(self, name: str, what: str) -> None:
        """Another program has the file meanwhile."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN" if what.endswith("read") else "BEGIN IMMEDIATE")
            other.execute("SELECT count(*) FROM events").fetchone()
            if what.startswith("forget"):
                await self.forget(name)
            elif what.startswith("flush"):
                self.store.flusher.schedule([name])
                with suppress(StoreError):
                    await flush(self.store)
            else:
                await self.store.close_without_flush()
            await self.check(running=what.startswith(("forget", "flush")))
        if what.startswith("crash"):
            await self.begin()

    def summary(self, name: str) -> SessionSummary:
        factory = self.factories[name]
        found = LogSummary(USERS[name], created=NOW if USERS[name] else 0.0)
        for event in factory.events:
            found.add(event)
        return to_session_summary(name, found, seq=factory.head)

    async def check(self, *, running: bool = True) -> None:
        if running:
            for user in (ANY_USER, "ann", None, "bob"):
                page = await self.store.list_sessions(SessionQuery(user), limit=5)
                expected = [name for name in self.factories if user in (ANY_USER, USERS[name])]
                assert [*page.sessions] == [self.summary(name) for name in sorted(expected)]
        for name in ("a", "b") if running else ():
            if name not in self.factories:
                with pytest.raises(SessionNotFound):
                    await self.store.load(name)
                continue
            factory = self.factories[name]
            assert (await self.store.load(name)).user == USERS[name]
            assert flatten(await read_merged(self.store, name, limit=1000)) == flatten(factory.events)
            turns = await self.store.turns(name, limit=3)
            assert turns == turn_records(factory.events)[-3:]
            for turn in turns:
                assert turn.id is not None
                assert await self.store.find_turn(name, turn.id) == turn.turn
            for count in (1, 3):
                place = await self.store.replay_start(name, turns=count)
                assert place == replay_start(turn_records(factory.events), count=count)


@pytest.mark.parametrize("fsync", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=steps)
def test_whatever_happens_the_log_is_what_was_told(life: list[tuple[str, str, str]], *, fsync: bool) -> None:
    """Crashes, restarts, releases, forgets and faults between any two events: readers see exactly the acknowledged."""

    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            one = Life(Path(folder) / "a.db", fsync=fsync)
            await one.begin()
            for name, what, text in life:
                await one.step(name, what, text)
                await one.check()
            await one.store.close()

    asyncio.run(live())
