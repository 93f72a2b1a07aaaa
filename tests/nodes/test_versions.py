"""Two versions side by side: a node of this one, and an owner of a later one that appends an event of a new type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from askbot_ws.errors import ConfigError
from askbot_ws.events import EVENT_TYPES, Event, LaterEvent, encode_event
from askbot_ws.store.copying import SettableClock, copy_sessions
from askbot_ws.store.redis.store import RedisStore
from askbot_ws.store.sqlite.store import SQLiteStore
from tests.process import Json, ProviderProcess
from tests.redis_server import RedisServer
from tests.store.event_factory import EventFactory, append

from .nodes import node, soon
from .processes import node_process


class LaterFactory(EventFactory):
    """Makes events that this version does not know."""

    def note(self, length: int) -> Event:
        """One that takes so many positions, as text does."""
        before, seq = self.head, self.head + length
        fields = {"session": self.session, "seq": seq, "type": "note", "turn": "t1", "marks": ["é", 1]}
        frame = json.dumps(fields).encode()
        return self._add(LaterEvent(session=self.session, seq=seq, type="note", before=before, frame=frame))


@asynccontextmanager
async def later_version(redis: RedisServer) -> AsyncGenerator[RedisStore]:
    """The store of a node that runs a later version."""
    store = RedisStore(redis.url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened(url: str, session: str, after: int = 0) -> AsyncGenerator[ClientConnection]:
    """A connection that reads a session; it has read `ready`."""
    async with connect(f"{url}?session={session}&after={after}", proxy=None) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        yield socket


async def events_until(socket: ClientConnection, ends: Callable[[Json], bool]) -> list[Json]:
    """The next events, up to one of this kind."""
    events: list[Json] = []
    async with asyncio.timeout(20):
        while not events or not ends(events[-1]):
            frame = json.loads(await socket.recv())
            if "seq" in frame:
                events.append(frame)
    return events


def points(events: list[Json]) -> list[object]:
    """What events say, text by code point: slices may be joined, or cut anywhere."""
    return [
        (event["turn"], point)
        for event in events
        for point in (event["text"] if event["type"] == "token" else [json.dumps(event)])
    ]


async def test_an_event_that_a_node_does_not_know_is_kept_and_passed_on(
    redis: RedisServer, provider: ProviderProcess, tmp_path: Path
) -> None:
    """To who follows and to who comes later; and the node can become the session's owner, in mid-answer."""
    with node_process(tmp_path / "node", redis.url, upstream=provider.url) as here:
        async with later_version(redis) as later:
            factory = LaterFactory("later")
            later.create(factory.session)
            await append(later, factory.question("t1"), factory.note(7), factory.token("t1", "One "))
            async with opened(here.url, "later") as socket:
                seen = await events_until(socket, lambda event: event["seq"] == factory.head)
                await append(later, factory.note(3))
                await append(later, factory.token("t1", "two."), factory.note(1))
                seen += await events_until(socket, lambda event: event["seq"] == factory.head)
                await later.give_back(factory.session)
                await socket.send(json.dumps({"type": "ask", "id": "a", "text": "tokens:2 note:later"}))
                seen += await events_until(socket, lambda event: event["type"] == "done" and event["turn"] != "t1")

            assert [event["seq"] for event in seen if event["type"] == "note"] == [8, 15, 20]
            appended = [json.loads(encode_event(event)) for event in factory.events]
            assert points([event for event in seen if event["seq"] <= factory.head]) == points(appended)
            assert [event["reason"] for event in seen if event["type"] == "done"] == ["interrupted", "stop"]
            head = seen[-1]["seq"]
            for after in (0, 1, 8, 15, factory.head):
                async with opened(here.url, "later", after) as socket:
                    again = await events_until(socket, lambda event: event["seq"] == head)
                assert points(again) == points([event for event in seen if event["seq"] > after])


async def test_a_lease_says_which_events_a_node_knows(redis: RedisServer) -> None:
    """So that a later version can see when it may append one of another type."""
    async with node(redis) as one, node(redis) as other:
        await soon(lambda: len(one.placement.live_nodes()) == len(other.placement.live_nodes()) == 2)
        assert {info.events for info in one.placement.live_nodes()} == {EVENT_TYPES}


async def test_a_session_of_a_later_version_is_not_copied_by_this_one(redis: RedisServer, tmp_path: Path) -> None:
    """A store in a file has nothing that it can't read; it is said whose session it is."""
    async with later_version(redis) as later:
        factory = LaterFactory("later")
        later.create(factory.session)
        await append(later, factory.question("t1"), factory.note(7))
        clock = SettableClock()
        copy = SQLiteStore(tmp_path / "copy.db", wall_clock=clock)
        await copy.open()
        with pytest.raises(ConfigError, match=r"session later has events of a later version \(note\)"):
            await copy_sessions(later, copy, clock)
        await copy.close()
