"""SQLiteStore against the simplest store there is, through any life: a list of events a session."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from askbot_ws.errors import SessionNotFound
from askbot_ws.store.sqlite.store import SQLiteStore

from .story import Story, add, flat, flush, read_all

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.just("x" * 40_000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["ask", "answer", "answer", "end", "flush", "release", "crash", "restart", "forget"]),
        texts,
    ),
    max_size=25,
)


class Life:
    """A store and what should be in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stories: dict[str, Story] = {}
        self.open_turns: dict[str, list[str]] = {"a": [], "b": []}
        self.turns = 0

    async def begin(self) -> None:
        self.store = SQLiteStore(self.path, segment_bytes=500)
        unfinished = await self.store.open()
        assert sorted(unfinished) == sorted(name for name in self.stories if self.open_turns[name])

    async def story(self, name: str) -> Story:
        if name not in self.stories:
            self.stories[name] = Story(name)
            self.store.create(name)
        elif self.stories[name].events:
            await self.store.load(name)
        return self.stories[name]

    async def step(self, name: str, what: str, text: str) -> None:
        running = self.open_turns[name]
        match what:
            case "ask":
                self.turns += 1
                running.append(f"t{self.turns}")
                story = await self.story(name)
                await add(self.store, story.question(running[-1], text, id=f"id{self.turns}"))
            case "answer" if running:
                story = await self.story(name)
                await add(self.store, story.token(running[0], text))
            case "end" if running:
                story = await self.story(name)
                await add(self.store, story.done(running.pop()))
            case "flush":
                await flush(self.store)
            case "release":
                self.store.release(name)
            case "crash":
                await self.store.abandon()
                await self.begin()
            case "restart":
                await self.store.close()
                await self.begin()
            case "forget":
                await self.store.forget(name)
                self.stories.pop(name, None)
                running.clear()
            case _:
                pass

    async def check(self) -> None:
        for name in ("a", "b"):
            if name not in self.stories:
                with pytest.raises(SessionNotFound):
                    await self.store.load(name)
                continue
            story = self.stories[name]
            assert flat(await read_all(self.store, name, limit=1000)) == flat(story.events)
            turns = await self.store.turns(name, limit=3)
            asked = [event.turn for event in story.events if event.type == "question"]
            assert [turn.turn for turn in turns] == asked[-3:]
            for turn in turns:
                texts = [event.text for event in story.events if event.type == "token" and event.turn == turn.turn]
                assert turn.answer == "".join(texts)
                assert turn.id is not None
                assert await self.store.asked(name, turn.id) == turn.turn


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=steps)
def test_whatever_happens_the_log_is_what_was_told(life: list[tuple[str, str, str]]) -> None:
    """Crashes, restarts, releases and forgets between any two events: every reader sees exactly the acknowledged."""

    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            one = Life(Path(folder) / "a.db")
            await one.begin()
            for name, what, text in life:
                await one.step(name, what, text)
                await one.check()
            await one.store.close()

    asyncio.run(live())
