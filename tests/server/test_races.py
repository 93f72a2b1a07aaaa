"""Pairs of events on a connection: frames that cross, and a client that goes while something of its is under way."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest

from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.dialects.askbot import connection
from askbot_ws.errors import AskbotError, SessionNotFound, StoreError
from askbot_ws.hub import Hub
from askbot_ws.server.app import Server
from askbot_ws.testing import ScriptedUpstream, serving

from ..process import Reader, Story, address, eventually, reading
from .test_readers import narrow, takes
from .test_sessions import attach


@pytest.fixture(autouse=True)
async def no_task_is_lost() -> AsyncGenerator[None]:
    """No exception of a task or of a callback is left to the loop."""
    left: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert left == []


class Gate:
    """Lets a method of the hub's store wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hub: Hub, name: str) -> None:
        self.opened = asyncio.Event()
        self.calls = 0
        self.error: AskbotError | None = None  # raised afterwards
        self._method = getattr(hub.store, name)
        monkeypatch.setattr(hub.store, name, self._call)

    async def _call(self, *args: object, **fields: object) -> object:
        self.calls += 1
        await self.opened.wait()
        if self.error is not None:
            raise self.error
        return await self._method(*args, **fields)

    async def reached(self) -> None:
        """Until somebody waits."""
        await eventually(lambda: self.calls > 0)


def reset(hub: Hub, session: str | None) -> None:
    """A fault of ours comes up in a session."""
    assert session is not None
    hub._reset_session(hub._registry.owners[session], ZeroDivisionError())  # pyright: ignore[reportPrivateUsage]


async def asked(url: str, *texts: str) -> str | None:
    """A session in which these questions were answered."""
    async with reading(url) as reader:
        for text in texts:
            await reader.answer(text)
        return reader.story.session


# --- a client that is gone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [{"type": "history"}, {"type": "nonsense"}])
async def test_a_client_that_took_nothing_and_is_gone_leaves_nothing_behind(frame: dict[str, str]) -> None:
    """Its frames that wait for room wait no more, also those whose turn comes when it is gone already."""
    async with serving(ScriptedUpstream(["x" * 60_000])) as server:
        async with reading(address(server.port), sock=narrow(server.port)) as reader:
            await reader.answer("Much?")
            reader.socket.transport.pause_reading()
            with suppress(TimeoutError):
                for number in range(200):
                    await asyncio.wait_for(reader.send(**frame, id=f"{number}" * 20), 0.5)
            while await takes(reader):
                pass
            reader.cut()
        await eventually(lambda: server.connection_count == 0)
        await eventually(lambda: not any(topic.readers for topic in server.hub._registry.topics.values()))  # pyright: ignore[reportPrivateUsage]


# --- which session a frame is about ----------------------------------------------------------------------------------


async def test_a_frame_that_names_no_session_is_about_the_one_that_was_attached_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for its turn, and a later frame that attaches another session overtakes it."""
    async with serving() as server:
        second = await asked(address(server.port), "Second?")
        async with reading(address(server.port)) as reader:
            await reader.answer("First?")
            gate = Gate(monkeypatch, server.hub, "turns")
            await reader.send(type="history", id="h")
            await reader.send(type="ask", text="And this?", id="mine")
            await attach(reader, session=second)
            gate.opened.set()
            done = await reader.until(lambda frame: frame["type"] == "done" and frame["session"] != second)
            assert done["reason"] == "stop"
            assert all(frame["type"] != "error" for frame in reader.frames)


async def test_a_new_session_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames about one session do not wait for those about others, and this one is about none that there is."""
    async with serving() as server, reading(address(server.port)) as reader:
        await reader.answer("First?")
        gate = Gate(monkeypatch, server.hub, "turns")
        await reader.send(type="history", id="h")
        new = await attach(reader, id="new")
        assert new["id"] == "new"
        await reader.send(type="ask", text="Whose?", id="unclear")
        await reader.send(type="ping", id="held up")
        gate.opened.set()
        error = await reader.until("error")
        assert (error["id"], error["code"]) == ("unclear", "invalid_frame")


async def test_no_more_sessions_than_may_be_are_attached_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that wait for the store together are counted, too."""
    monkeypatch.setattr(connection, "MAX_SESSIONS", 3)
    async with serving() as server:
        others = [await asked(address(server.port), "Other?") for _ in range(5)]
        async with reading(address(server.port)) as reader:
            gate = Gate(monkeypatch, server.hub, "replay_start")
            for session in others:
                await reader.send(type="attach", session=session, id=session)
            await eventually(lambda: gate.calls == len(others))
            gate.opened.set()
            answers = [await reader.until(lambda frame: frame.get("id") in others) for _ in others]
            assert [answer["type"] for answer in answers] == ["ready"] * 2 + ["error"] * 3
            assert server.hub.session_count == 1 + len(others)


# --- forget, reset, and what is under way ----------------------------------------------------------------------------


async def test_a_command_that_outlives_the_close_of_its_connection_ends_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The close that a reset asks for is over first."""
    async with serving() as server, reading(address(server.port)) as reader:
        await reader.answer("First?")
        gate = Gate(monkeypatch, server.hub, "turns")
        await reader.send(type="history", id="h")
        await gate.reached()
        (served,) = server._connections  # pyright: ignore[reportPrivateUsage]
        assert isinstance(served, connection.AskbotConnection)
        reset(server.hub, reader.story.session)
        assert await reader.rest() == 1013
        await eventually(lambda: len(served._tasks) == 1)  # pyright: ignore[reportPrivateUsage]
        gate.opened.set()
        await eventually(lambda: server.connection_count == 0)


async def test_a_reset_is_told_also_to_the_one_who_is_just_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader is gone then, whatever becomes of the command."""
    async with serving() as server, reading(address(server.port)) as reader:
        await reader.answer("First?")
        session = reader.story.session
        gate = Gate(monkeypatch, server.hub, "forget")
        gate.error = StoreError()
        await reader.send(type="forget", session=session, id="f")
        await gate.reached()
        reset(server.hub, session)
        assert await reader.rest() == 1013
        gate.opened.set()
        await eventually(lambda: server.connection_count == 0)


async def far_behind(server: Server, reader: Reader) -> str:
    """Have the beginning of a session in the store only; its name."""
    await reader.answer("Much?")
    session = reader.story.session
    assert session is not None
    topic = await server.hub.open(ANONYMOUS, session)
    topic.log.trim(keep=0, until=50_000)
    assert topic.log.start > 0
    reader.story = Story(session=session)
    return session


async def test_a_session_that_is_forgotten_during_a_catch_up_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has it no more, and whoever reads is told by the topic."""
    async with serving(ScriptedUpstream(["x" * 60_000])) as server, reading(address(server.port)) as reader:
        session = await far_behind(server, reader)
        gate = Gate(monkeypatch, server.hub, "read")
        gate.error = SessionNotFound()
        await reader.send(type="attach", session=session, after=0)
        await gate.reached()
        gate.opened.set()
        await reader.send(type="forget", session=session, id="f")
        error = await reader.until("error")
        assert (error["code"], error["id"]) == ("session_not_found", "f")
        assert gate.calls == 1


async def test_a_log_that_cannot_be_read_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is being closed, and may wait for others of its commands."""
    async with serving(ScriptedUpstream(["x" * 60_000])) as server, reading(address(server.port)) as reader:
        session = await far_behind(server, reader)
        turns = Gate(monkeypatch, server.hub, "turns")
        read = Gate(monkeypatch, server.hub, "read")
        read.error = StoreError()
        read.opened.set()
        await reader.send(type="attach", session=session, after=0)
        await reader.send(type="history", session=session, id="h")
        assert await reader.rest() == 1013
        await turns.reached()
        calls = read.calls
        await asyncio.sleep(0.05)
        turns.opened.set()
        await eventually(lambda: server.connection_count == 0)
        assert calls == read.calls == 1
